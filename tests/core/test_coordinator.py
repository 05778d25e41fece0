"""The coordinator against real replicas: levels, restamps, write-back, repeats, deadlines."""

import pytest

from cluster.core import record as rec
from cluster.core.clock import stamp
from cluster.core.operations import (
    FailureCode,
    Read,
    ReadReply,
    Refused,
    ReplicaRead,
    ReplicaReadReply,
    ReplicaWrite,
    ReplicaWriteReply,
    Settled,
    TouchReply,
    Write,
    WriteReply,
)
from cluster.core.values import Level
from tests.core.coordination import CLIENT, START_MS, Cluster


def value_of(reply):
    assert isinstance(reply, ReadReply), reply
    (record,) = reply.records
    return None if record is None or rec.is_tombstone(record) else rec.value_of(record)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_what_is_written_is_read_at_every_level_through_every_node(nodes, level):
    cluster = Cluster(nodes)
    for number, writer in enumerate(cluster.nodes):
        key = b"key-%d" % number
        written = cluster.write(writer, {key: writer.encode()}, level)
        cluster.run()
        assert isinstance(cluster.reply(written), WriteReply)
        for reader in cluster.nodes:
            read = cluster.read(reader, [key], level)
            cluster.run()
            assert value_of(cluster.reply(read)) == writer.encode()


def test_a_batch_is_written_under_one_stamp_and_read_back_in_order():
    cluster = Cluster(5)
    items = {b"k%d" % i: b"v%d" % i for i in range(300)}
    written = cluster.write("n1", items)
    cluster.run()
    reply = cluster.reply(written)
    assert (reply.restamped, reply.failures) == ([], [])
    read = cluster.read("n2", [*items, b"absent"])
    cluster.run()
    records = cluster.reply(read).records
    assert [rec.value_of(r) for r in records[:-1]] == list(items.values())
    assert {rec.stamp_of(r) for r in records[:-1]} == {reply.stamp}
    assert records[-1] is None


def test_every_owner_gets_the_record_also_after_the_client_was_answered():
    cluster = Cluster(3)
    cluster.write("n1", {b"k": b"v"}, Level.ONE)
    cluster.run()
    assert len(set(cluster.held(b"k").values())) == 1
    assert cluster.nodes["n1"].coordinator.gauges()["rounds_write"] == 0


def test_a_delete_is_a_tombstone_on_every_owner_and_reads_as_absent():
    cluster = Cluster(3)
    cluster.write("n1", {b"k": b"v"})
    cluster.run()
    cluster.delete("n2", [b"k"])
    cluster.run()
    assert all(rec.is_tombstone(record) for record in cluster.held(b"k").values())
    read = cluster.read("n3", [b"k"])
    cluster.run()
    assert value_of(cluster.reply(read)) is None


def test_agreeing_replicas_cause_no_write():
    cluster = Cluster(3)
    cluster.write("n1", {b"k": b"v"})
    cluster.run()
    cluster.sent.clear()
    cluster.read("n2", [b"k"])
    cluster.run()
    assert {type(message) for _, _, message in cluster.sent} == {ReplicaRead, ReplicaReadReply}
    (answer,) = [m for _, _, m in cluster.sent if isinstance(m, ReplicaReadReply)]
    assert answer.records == [], "what is equal is not sent"


def test_a_read_brings_the_newest_to_a_write_quorum_before_it_answers():
    cluster = Cluster(3)
    only_n1 = rec.make(stamp(START_MS << 16, 1), b"\x01new")
    cluster.nodes["n1"].table.apply(b"k", only_n1)
    read = cluster.read("n1", [b"k"])
    cluster.run(0.0025)
    assert cluster.reply(read) is None, "one holder is no write quorum"
    cluster.run()
    assert value_of(cluster.reply(read)) == b"new"
    assert list(cluster.held(b"k").values()).count(only_n1) == 3
    assert cluster.nodes["n1"].coordinator.counters.write_backs == 1


def test_a_stale_owner_that_was_asked_is_repaired_in_the_background():
    cluster = Cluster(3)
    newest = rec.make(stamp(START_MS << 16, 1), b"\x01new")
    for node in ("n1", "n2"):
        cluster.nodes[node].table.apply(b"k", newest)
    read = cluster.read("n1", [b"k"], Level.ALL)
    cluster.run()
    assert value_of(cluster.reply(read)) == b"new"
    assert cluster.held(b"k")["n3"] == newest
    counters = cluster.nodes["n1"].coordinator.counters
    assert (counters.read_repairs, counters.write_backs) == (1, 0)


def test_a_read_at_one_that_finds_only_its_own_copy_writes_nothing_back():
    cluster = Cluster(3)
    cluster.nodes["n1"].table.apply(b"k", rec.make(stamp(START_MS << 16, 1), b"\x01v"))
    read = cluster.read("n1", [b"k"], Level.ONE)
    cluster.run()
    assert value_of(cluster.reply(read)) == b"v"
    assert not cluster.sent


# --------------------------------------------------------------------------- restamp


def ahead(cluster, node, ms=300):
    """A record that a node holds, stamped ahead of every clock."""
    record = rec.make(stamp((cluster.wall_ms(cluster.nodes[node]) + ms) << 16, 99), b"\x01old")
    cluster.nodes[node].table.apply(b"k", record)
    return record


def test_a_write_below_a_complete_one_is_stamped_above_it_and_wins():
    cluster = Cluster(3)
    higher = ahead(cluster, "n2")
    cluster.nodes["n3"].table.apply(b"k", higher)
    written = cluster.write("n1", {b"k": b"mine", b"other": b"x"})
    cluster.run()
    reply = cluster.reply(written)
    ((index, restamped),) = reply.restamped
    assert index == 0
    assert restamped > rec.stamp_of(higher) > reply.stamp
    for record in cluster.held(b"k").values():
        assert (rec.value_of(record), rec.stamp_of(record)) == (b"mine", restamped)
    assert {rec.stamp_of(r) for r in cluster.held(b"other").values()} == {reply.stamp}
    assert cluster.nodes["n1"].coordinator.counters.restamps == 1


def test_a_write_that_is_done_is_never_restamped():
    cluster = Cluster(3)
    ahead(cluster, "n3")
    cluster.cut = {("n1", "n3")}
    written = cluster.write("n1", {b"k": b"mine"})
    cluster.run(0.1)
    done = cluster.reply(written)
    assert done.restamped == []
    cluster.cut = set()
    cluster.run()
    assert cluster.nodes["n1"].coordinator.counters.restamps == 0


def test_acks_of_the_older_stamp_are_void_after_a_restamp():
    cluster = Cluster(3)
    ahead(cluster, "n2")
    # n2 answers first with a higher stamp; the restamped write reaches nobody, so the late ack
    # of n3 for the older stamp must not complete the request.
    node = cluster.nodes["n1"]
    deadline = cluster.now + 1.0
    write = Write(1, Level.QUORUM, deadline, [b"k"], [b"\x01mine"])
    node.coordinator.submit(CLIENT, [write], cluster.now, cluster.wall_ms(node))
    node.coordinator.flush(cluster.now, cluster.wall_ms(node))
    first = node.coordinator.take_output().sends["n3"][0]
    higher = cluster.nodes["n2"].replica.write(first, 0.0, cluster.wall_ms(node), same_ring=True)
    wall_ms = cluster.wall_ms(node)
    node.coordinator.on_reply("n2", higher, cluster.now, wall_ms)
    again = node.coordinator.take_output().sends["n3"][0]
    assert again.round_id != first.round_id
    late = ReplicaWriteReply(first.round_id, cluster.nodes["n3"].boot, [])
    node.coordinator.on_reply("n3", late, cluster.now, wall_ms)
    assert node.coordinator.take_output() is None, "an ack of the older stamp completed the write"
    acked = ReplicaWriteReply(again.round_id, cluster.nodes["n3"].boot, [])
    node.coordinator.on_reply("n3", acked, cluster.now, wall_ms)
    assert isinstance(node.coordinator.take_output().replies[CLIENT][0], WriteReply)


def test_an_owner_with_a_stamp_too_far_ahead_counts_for_nothing_and_the_others_suffice():
    cluster = Cluster(3)
    ahead(cluster, "n2", ms=60_000)
    written = cluster.write("n1", {b"k": b"mine"})
    cluster.run()
    assert isinstance(cluster.reply(written), WriteReply)
    assert cluster.nodes["n1"].coordinator.counters.stamps_skewed >= 1
    read = cluster.read("n1", [b"k"])
    cluster.run()
    assert value_of(cluster.reply(read)) == b"mine"


def test_a_quorum_with_stamps_too_far_ahead_is_a_timeout():
    cluster = Cluster(3)
    for node in ("n2", "n3"):
        ahead(cluster, node, ms=60_000)
    written = cluster.write("n1", {b"k": b"mine"})
    cluster.run()
    assert cluster.reply(written).code is FailureCode.TIMEOUT


def test_a_replica_that_refuses_is_named_with_its_reason():
    cluster = Cluster(3)
    cluster.nodes["n1"].skew_ms = 60_000
    written = cluster.write("n1", {b"k": b"mine"})
    cluster.run()
    assert "n2 refused: CLOCK_SKEW, n3 refused: CLOCK_SKEW" in cluster.reply(written).message


# --------------------------------------------------------------------------- boots


def test_an_ack_of_a_boot_that_is_gone_does_not_count():
    cluster = Cluster(3)
    cluster.cut = {("n1", "n3")}
    node = cluster.nodes["n1"]
    written = cluster.write("n1", {b"k": b"v"}, Level.ALL)
    cluster.run(0.1)
    assert cluster.reply(written) is None
    cluster.cut = {("n1", "n2")}
    reborn = cluster.start("n2", boot=50)
    node.coordinator.learn_boot("n2", 50)
    cluster.run(0.5)
    assert cluster.reply(written) is None, "n3 acked, but n2 has forgotten what it acked"
    cluster.cut = set()
    cluster.run(1.0)
    assert isinstance(cluster.reply(written), WriteReply)
    assert reborn.table.get(b"k") is not None
    assert node.coordinator.counters.answers_void >= 1


def test_an_answer_of_an_older_boot_than_is_known_is_void():
    cluster = Cluster(3)
    node = cluster.nodes["n1"]
    node.coordinator.learn_boot("n2", 50)
    cluster.cut = {("n1", "n3")}
    written = cluster.write("n1", {b"k": b"v"}, timeout_s=1.0)
    cluster.run()
    reply = cluster.reply(written)
    assert isinstance(reply, Refused)
    assert reply.code is FailureCode.TIMEOUT


# --------------------------------------------------------------------------- failures


def down(cluster, node, *others):
    for other in others:
        cluster.nodes[node].coordinator.peer_down(other, cluster.now, START_MS)


def test_too_few_reachable_owners_are_told_at_once_and_nothing_is_written():
    cluster = Cluster(3)
    down(cluster, "n1", "n2", "n3")
    written = cluster.write("n1", {b"k": b"v"})
    read = cluster.read("n1", [b"k"])
    for request in (written, read):
        reply = cluster.reply(request)
        assert isinstance(reply, Refused)
        assert reply.code is FailureCode.UNAVAILABLE
        assert "QUORUM needs 2 of 3 owners and 1 can be reached" in reply.message
    assert cluster.held(b"k") == {"n1": None, "n2": None, "n3": None}


def test_with_one_owner_down_quorum_goes_on_and_all_refuses():
    cluster = Cluster(3)
    for node in ("n1", "n2"):
        down(cluster, node, "n3")
    cluster.cut = {("n1", "n3"), ("n2", "n3")}
    written, refused = cluster.write("n1", {b"k": b"v"}), cluster.write("n1", {b"k": b"w"}, 3)
    read = cluster.read("n2", [b"k"])
    cluster.run()
    assert isinstance(cluster.reply(written), WriteReply)
    assert cluster.reply(refused).code is FailureCode.UNAVAILABLE
    assert value_of(cluster.reply(read)) == b"v"


def test_a_write_that_reached_too_few_in_time_is_a_timeout_that_says_so():
    cluster = Cluster(3)
    cluster.cut = {("n1", "n2"), ("n1", "n3")}
    written = cluster.write("n1", {b"k": b"v"}, timeout_s=1.0)
    cluster.run(0.99)
    assert cluster.reply(written) is None
    cluster.run(0.5)
    reply = cluster.reply(written)
    assert isinstance(reply, Refused)
    assert reply.code is FailureCode.TIMEOUT
    assert "1 of 2 needed owners answered" in reply.message
    assert "may or may not" in reply.message
    assert cluster.nodes["n1"].coordinator.gauges()["rounds_write"] == 0


def test_requests_of_one_round_time_out_each_at_its_own_deadline():
    cluster = Cluster(3)
    cluster.cut = {("n1", "n2"), ("n1", "n3")}
    soon, late = cluster.now + 0.3, cluster.now + 1.5
    requests = [
        Write(1001, 2, soon, [b"a"], [b"\x01x"]),
        Write(1002, 2, late, [b"b"], [b"\x01y"]),
    ]
    cluster.submit("n1", *requests)
    cluster.run(0.35)
    assert cluster.reply(1001).code is FailureCode.TIMEOUT
    assert cluster.reply(1002) is None
    cluster.cut = set()
    cluster.run()
    assert isinstance(cluster.reply(1002), WriteReply)


def test_messages_that_were_lost_are_sent_again_within_the_deadline():
    cluster = Cluster(3)
    cluster.drop = 1.0
    written = cluster.write("n1", {b"k": b"v"})
    read = cluster.read("n1", [b"q"])
    cluster.run(0.1)
    cluster.drop = 0.0
    cluster.run()
    assert isinstance(cluster.reply(written), WriteReply)
    assert value_of(cluster.reply(read)) is None
    assert cluster.nodes["n1"].coordinator.counters.resends >= 2


def test_a_slow_owner_is_replaced_by_another_in_a_read():
    cluster = Cluster(3)
    for slow in ("n2", "n3"):
        cluster.cut = {("n1", slow)}
        read = cluster.read("n1", [b"k"])
        cluster.run(1.0)
        assert value_of(cluster.reply(read)) is None


def test_a_read_is_given_up_as_soon_as_too_few_owners_are_left():
    cluster = Cluster(3)
    cluster.cut = {("n1", "n2"), ("n1", "n3")}
    read = cluster.read("n1", [b"k"])
    down(cluster, "n1", "n2", "n3")
    cluster.pump(cluster.nodes["n1"])
    assert cluster.reply(read).code is FailureCode.UNAVAILABLE


def test_an_expired_request_is_not_begun():
    cluster = Cluster(3)
    cluster.submit("n1", Write(5, 2, cluster.now, [b"k"], [b"\x01v"]))
    assert cluster.reply(5).code is FailureCode.TIMEOUT
    assert cluster.held(b"k")["n1"] is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"level": 0}, FailureCode.INVALID),
        ({"level": 4}, FailureCode.INVALID),
        ({"keys": []}, FailureCode.INVALID),
        ({"keys": [b"k"] * 2, "bodies": [b"\x01v"] * 2}, FailureCode.INVALID),
        ({"keys": [b"%d" % i for i in range(1025)]}, FailureCode.INVALID),
        ({"keys": [b""]}, FailureCode.INVALID),
        ({"keys": [b"k" * 1025]}, FailureCode.INVALID),
        ({"bodies": []}, FailureCode.INVALID),
        ({"bodies": [b""]}, FailureCode.INVALID),
        ({"bodies": [b"\x00"]}, FailureCode.INVALID),
        ({"bodies": [b"\x81x"]}, FailureCode.INVALID),
        ({"bodies": [b"\x01" + b"x" * 1001]}, FailureCode.VALUE_TOO_LARGE),
        ({"ttl_ms": -1}, FailureCode.INVALID),
        ({"ttl_ms": 1 << 60}, FailureCode.INVALID),
    ],
)
def test_a_bad_request_is_refused_and_changes_nothing(change, code):
    cluster = Cluster(3)
    good = {"level": 2, "deadline": cluster.now + 1, "keys": [b"k"], "bodies": [b"\x01v"]}
    cluster.submit("n1", Write(request_id=9, **{**good, **change}))
    reply = cluster.reply(9)
    assert isinstance(reply, Refused)
    assert reply.code is code
    assert len(cluster.nodes["n1"].table) == 0
    assert cluster.nodes["n1"].coordinator.pending == 0


def test_different_failures_are_told_key_by_key():
    cluster = Cluster(5)
    n1 = cluster.nodes["n1"]
    keys = [b"k%d" % i for i in range(200)]
    for other in ("n4", "n5"):
        down(cluster, "n1", other)
    route = n1.coordinator._x.routes.route
    group = {key: cluster.view.group_of(cluster.view.partition_of(key)) for key in keys}
    few = next(key for key in keys if route(group[key]).reachable < 2)
    enough = next(key for key in keys if route(group[key]).reachable >= 2)
    cluster.cut = {("n1", "n2"), ("n1", "n3")}
    written = cluster.write("n1", {few: b"x", enough: b"y"}, timeout_s=0.5)
    cluster.run()
    reply = cluster.reply(written)
    assert isinstance(reply, WriteReply)
    codes = {failure.index: failure.code for failure in reply.failures}
    assert codes == {0: FailureCode.UNAVAILABLE, 1: FailureCode.TIMEOUT}


@pytest.mark.parametrize("kind", ["write", "read"])
def test_many_deadlines_in_one_round_do_not_make_it_repeat_faster(kind):
    cluster = Cluster(3)
    cluster.drop = 1.0
    start = cluster.now + 0.5
    ids = range(1, 1501)
    if kind == "write":
        requests = [Write(i, 2, start + i / 1000, [b"%d" % i], [b"\x01v"]) for i in ids]
    else:
        requests = [Read(i, 2, start + i / 1000, [b"%d" % i]) for i in ids]
    cluster.submit("n1", *requests)
    cluster.run(5.0)
    assert {cluster.reply(i).code for i in ids} == {FailureCode.TIMEOUT}
    assert cluster.nodes["n1"].coordinator.counters.resends < 20


def test_a_record_that_is_none_or_from_the_future_is_not_believed():
    future = stamp((START_MS + 10_000_000) << 16, 9) + b"\x01v"
    for bad in (b"short", future):
        cluster = Cluster(3)
        node = cluster.nodes["n1"]
        read = cluster.read("n1", [b"k"])
        ((target, asked),) = [(t, m) for _, t, m in cluster.sent if isinstance(m, ReplicaRead)]
        reply = ReplicaReadReply(asked.round_id, cluster.nodes[target].boot, 1, [0], [bad])
        node.coordinator.on_reply(target, reply, cluster.now, cluster.wall_ms(node))
        cluster.pump(node)
        cluster.run()
        assert value_of(cluster.reply(read)) is None
        assert node.table.get(b"k") is None


def test_a_repeated_piece_of_an_answer_is_not_taken_for_the_next_one():
    cluster = Cluster(5)
    many = [b"k%d" % i for i in range(400)]
    keys = [key for key in many if "n1" not in cluster.view.owners_of(key)]
    group = cluster.view.group_of(cluster.view.partition_of(keys[0]))
    same = [k for k in keys if cluster.view.group_of(cluster.view.partition_of(k)) == group]
    cluster.write("n1", {key: key * 150 for key in same})
    cluster.run()
    cluster.duplicate = 1.0
    cluster.delay_s = (0.001, 0.3)
    read = cluster.read("n1", same, timeout_s=20.0)
    cluster.run(20.0)
    reply = cluster.reply(read)
    for key, record in zip(same, reply.records, strict=True):
        assert record is None or rec.value_of(record) == key * 150
    assert sum(record is not None for record in reply.records) > 5


def test_rounds_that_are_done_do_not_pile_up_for_an_owner_that_is_away():
    cluster = Cluster(3)
    down(cluster, "n1", "n3")
    for _ in range(50):
        cluster.write("n1", {b"k": b"v"}, timeout_s=60.0)
    cluster.run(0.1)
    node = cluster.nodes["n1"].coordinator
    assert node.gauges()["rounds_write"] == 0
    assert node.counters.rounds_let_go == 50
    cluster.meet(cluster.nodes["n3"])
    cluster.cut = {("n1", "n3")}
    for _ in range(50):
        cluster.write("n1", {b"k": b"v"}, timeout_s=60.0)
    cluster.run(0.1)
    assert node.gauges()["rounds_write"] == 50
    down(cluster, "n1", "n3")
    assert node.gauges()["rounds_write"] == 0


# --------------------------------------------------------------------------- repeats


def test_a_repeated_write_is_done_once_and_answered_again():
    cluster = Cluster(3)
    cluster.write("n1", {b"k": b"v"}, rid=77)
    cluster.run()
    first = cluster.reply(77)
    cluster.replies.clear()
    cluster.write("n1", {b"k": b"v"}, rid=77)
    assert cluster.reply(77) == first
    counters = cluster.nodes["n1"].coordinator.counters
    assert (counters.requests_repeated, counters.rounds) == (1, 1)


def test_a_repeat_while_the_first_is_under_way_is_answered_once():
    cluster = Cluster(3)
    cluster.write("n1", {b"k": b"v"}, rid=77)
    cluster.write("n1", {b"k": b"v"}, rid=77)
    cluster.run()
    assert isinstance(cluster.reply(77), WriteReply)


def test_settled_outcomes_are_forgotten_and_late_copies_of_them_ignored():
    cluster = Cluster(3)
    for request_id in (1, 2, 3):
        cluster.write("n1", {b"k": b"v"}, rid=request_id)
    cluster.run()
    node = cluster.nodes["n1"]
    node.coordinator.submit(CLIENT, [Settled(3)], cluster.now, START_MS)
    cluster.replies.clear()
    cluster.write("n1", {b"k": b"v"}, rid=3)
    assert node.coordinator.counters.requests_repeated == 1
    cluster.replies.clear()
    rounds = node.coordinator.counters.rounds
    cluster.write("n1", {b"k": b"late"}, rid=2)
    cluster.run()
    assert node.coordinator.counters.requests_repeated == 2
    assert node.coordinator.counters.rounds == rounds, "a late copy is not done again"
    assert cluster.reply(2) is None


# --------------------------------------------------------------------------- expiry and touch


def test_expiry_is_the_same_moment_on_every_owner_and_reads_as_absent_after_it():
    cluster = Cluster(3)
    cluster.write("n1", {b"k": b"v"}, ttl_ms=3_000)
    cluster.run(2.0)
    read = cluster.read("n2", [b"k"])
    cluster.run(0.5)
    assert value_of(cluster.reply(read)) == b"v"
    assert len({rec.expiry_of(record) for record in cluster.held(b"k").values()}) == 1
    cluster.run(1.0)
    read = cluster.read("n3", [b"k"])
    cluster.run(0.5)
    (record,) = cluster.reply(read).records
    assert not rec.is_visible(record, 0)
    assert rec.value_of(record) == b""


def test_touch_raises_the_expiry_and_keeps_the_stamp():
    cluster = Cluster(3)
    written = cluster.write("n1", {b"k": b"v", b"forever": b"f"}, ttl_ms=1_000)
    cluster.run(0.5)
    touched = cluster.touch("n2", [b"k", b"absent", b"forever"], ttl_ms=10_000)
    cluster.run(0.2)
    reply, at = cluster.reply(touched), cluster.reply(written).stamp
    assert isinstance(reply, TouchReply)
    assert reply.stamps == [at, b"", at]
    cluster.run(4.0)
    read = cluster.read("n3", [b"k"])
    cluster.run(0.5)
    assert value_of(cluster.reply(read)) == b"v"


def test_touch_never_shortens():
    cluster = Cluster(3)
    cluster.write("n1", {b"k": b"v"}, ttl_ms=60_000)
    cluster.run(0.5)
    before = cluster.held(b"k")
    cluster.touch("n1", [b"k"], ttl_ms=1_000)
    cluster.run(0.5)
    assert cluster.held(b"k") == before


def test_a_set_at_the_same_time_as_a_touch_always_wins():
    for seed in range(30):
        cluster = Cluster(3, seed)
        cluster.write("n1", {b"k": b"old"})
        cluster.run()
        cluster.delay_s = (0.001, 0.05)
        cluster.touch("n1", [b"k"], ttl_ms=60_000)
        cluster.run(cluster.rng.uniform(0.0, 0.1))
        written = cluster.write("n2", {b"k": b"new"})
        cluster.run()
        assert isinstance(cluster.reply(written), WriteReply)
        read = cluster.read("n3", [b"k"])
        cluster.run()
        assert value_of(cluster.reply(read)) == b"new", f"seed {seed}"


# --------------------------------------------------------------------------- limits


def test_a_reply_larger_than_a_frame_is_cut_and_the_rest_can_be_asked_for_again():
    cluster = Cluster(3)
    items = {b"k%d" % i: b"x" * 900 for i in range(40)}
    cluster.write("n1", items)
    cluster.run()
    read = cluster.read("n1", list(items))
    cluster.run()
    reply = cluster.reply(read)
    got = sum(record is not None for record in reply.records)
    assert 0 < got < 40
    assert len(reply.failures) == 40 - got
    assert {failure.code for failure in reply.failures} == {FailureCode.OVERLOADED}


def test_a_replica_that_cannot_answer_all_at_once_is_asked_for_the_rest():
    cluster = Cluster(5)
    items = {b"k%d" % i: b"x" * 900 for i in range(12)}
    keys = [key for key in items if "n1" not in cluster.view.owners_of(key)]
    assert keys, "some key is not owned by n1"
    many = {b"k%d" % i: b"x" * 900 for i in range(400)}
    group = cluster.view.table.groups[cluster.view.partition_of(keys[0])]
    same = [k for k in many if cluster.view.table.groups[cluster.view.partition_of(k)] == group]
    assert len(same) > 12, "more than one reply holds"
    cluster.write("n1", dict.fromkeys(same, b"x" * 900))
    cluster.run()
    cluster.sent.clear()
    read = cluster.read("n1", same)
    cluster.run()
    assert len(cluster.reply(read).records) == len(same)
    asked = [m for source, _, m in cluster.sent if isinstance(m, ReplicaRead) and source == "n1"]
    assert len(asked) > 2, "each owner was asked more than once"
    assert cluster.nodes["n1"].coordinator.counters.answers_invalid == 0


def test_requests_of_one_batch_with_the_same_owners_share_one_round():
    cluster = Cluster(3)
    deadline = cluster.now + 1
    writes = [Write(i, 2, deadline, [b"k%d" % i], [b"\x01v"]) for i in range(1, 33)]
    cluster.submit("n1", *writes)
    sent = [m for _, _, m in cluster.sent if isinstance(m, ReplicaWrite)]
    assert len(sent) == 2
    assert all(len(m.keys) == 32 and len(m.chains) == 32 for m in sent)
    cluster.run()
    assert all(isinstance(cluster.reply(i), WriteReply) for i in range(1, 33))
