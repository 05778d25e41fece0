"""Bundles on their way: repeats, refusals, cancelled callers and what is left behind."""

import pytest

from cluster.client._core import SETTLED_EVERY
from cluster.client._operation import ControlOperation
from cluster.core.operations import (
    Failure,
    FailureCode,
    Read,
    ReadReply,
    Refused,
    Settled,
    Write,
    WriteReply,
)
from cluster.core.values import Level
from cluster.errors import InternalError, InvalidValue, Overloaded, Timeout, ValueTooLarge
from tests.client.fakes import address_of, stamp_at
from tests.client.world import World, cluster, key_of

HOME = address_of("n1")


def one(**options):
    return World(cluster("n1"), [HOME], **options)


def together(world, ask, *keys, address=HOME, **options):
    """Ask for each key by itself, so that all leave in one frame."""
    world.hold_writes = {address}
    operations = [ask(key, **options) for key in keys]
    world.hold_writes = set()
    world.settle()
    return operations


def sent(world, kind=Write, node="n1"):
    return world.asked(kind)[node]


def assert_nothing_is_left(world):
    statistics = world.core.statistics()
    assert statistics.in_flight == 0
    assert [link.outstanding for link in statistics.links] == [0] * len(statistics.links)
    assert len(world.core._requests.bundles) == 0
    assert not world.core._requests._parts


def test_what_leaves_together_is_one_request_and_each_caller_gets_its_own():
    world = one()
    writes = together(world, world.set, b"a", b"b", b"c")
    (request,) = sent(world)
    assert request.keys == [b"a", b"b", b"c"]
    assert all(type(write.outcomes[0]) is bytes for write in writes)
    reads = together(world, world.get, b"c", b"x", b"a")
    assert len(sent(world, Read)) == 1
    records = [read.outcomes[0] for read in reads]
    assert [record and record[-1:] for record in records] == [b"c", None, b"a"]
    assert world.core.statistics().completed == 6
    assert_nothing_is_left(world)


def test_bundling_can_be_turned_off():
    world = one(bundle=False)
    together(world, world.set, b"a", b"b")
    assert [request.keys for request in sent(world)] == [[b"a"], [b"b"]]


def test_questions_of_the_control_protocol_leave_by_themselves():
    world = one()

    def ask(topic):
        return world.submit(ControlOperation(Level.ONE, world.now + 2, [b"-"], topic, {}, None))

    operations = together(world, ask, "status", "ring")
    assert [operation.outcomes[0][0] for operation in operations] == ["status", "ring"]


def test_requests_on_their_way_are_counted_one_by_one():
    world = one()
    world.hold_replies = {HOME}
    together(world, world.set, b"a", b"b", b"c")
    (link,) = world.core.statistics().links
    assert (link.waiting, link.outstanding) == (0, 3)
    world.release()
    assert_nothing_is_left(world)


# --------------------------------------------------------------------------- repeats


def test_a_bundle_is_repeated_to_the_same_boot_as_it_was_though_a_caller_has_left():
    world = one()
    world.hold_replies = {HOME}
    writes = together(world, world.set, b"a", b"b", b"c", timeout=20.0)
    world.core.forget(writes[0])
    world.cut(HOME)
    world.hold_replies = set()
    world.mend(HOME)
    first, second = sent(world)
    assert first == second
    assert [write.done for write in writes] == [True] * 3
    assert world.core.statistics().resent_writes == 2
    assert_nothing_is_left(world)


def test_another_boot_gets_no_bundle_of_the_one_before():
    world = one()
    world.hold_replies = {HOME}
    writes = together(world, world.set, b"a", b"b", timeout=20.0)
    world.cut(HOME)
    world.nodes[HOME].boot += 1
    world.hold_replies = set()
    world.mend(HOME)
    assert all(isinstance(write.outcomes[0], Timeout) for write in writes)
    assert len(sent(world)) == 1
    assert_nothing_is_left(world)


def test_reads_of_a_lost_connection_leave_anew():
    world = one()
    world.hold_replies = {HOME}
    reads = together(world, world.get, b"a", b"b", timeout=20.0)
    world.cut(HOME)
    world.hold_replies = set()
    world.mend(HOME)
    assert [read.outcomes for read in reads] == [[None], [None]]
    first, second = sent(world, Read)
    assert first.request_id != second.request_id
    assert_nothing_is_left(world)


def test_a_node_is_never_told_to_forget_an_open_bundle():
    world = one()
    world.hold_replies = {HOME}
    first, second = together(world, world.set, b"a", b"b", timeout=60.0)
    (bundle,) = sent(world)
    world.held.clear()
    world.hold_replies = set()
    world.core.forget(first)
    for number in range(SETTLED_EVERY + 5):
        world.set(b"key%d" % number)
    (settled,) = sent(world, Settled)
    assert settled.below <= second.request_ids[0] < bundle.request_id
    world.core.forget(second)
    for number in range(SETTLED_EVERY + 5):
        world.set(b"key%d" % number)
    assert sent(world, Settled)[-1].below > bundle.request_id


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("code", "kind"),
    [(FailureCode.VALUE_TOO_LARGE, ValueTooLarge), (FailureCode.INVALID, InvalidValue)],
)
def test_one_bad_member_does_not_fail_the_others(code, kind):
    world = one()

    def script(message):
        if isinstance(message, Write) and b"bad" in message.keys:
            return Refused(message.request_id, code, "no")
        return NotImplemented

    world.nodes[HOME].script = script
    writes = together(world, world.set, b"a", b"bad", b"c")
    assert [type(write.outcomes[0]) for write in writes] == [bytes, kind, bytes]
    assert [request.keys for request in sent(world)] == [
        [b"a", b"bad", b"c"], [b"a"], [b"bad"], [b"c"],
    ]  # fmt: skip
    ids = [request.request_id for request in sent(world)]
    assert len(set(ids)) == 4
    assert world.core.statistics().retried_keys == 0
    assert_nothing_is_left(world)


def test_members_asked_again_alone_may_go_elsewhere_when_the_connection_ends():
    world = World(cluster("n1", "n2"), [HOME])
    keys = [key_of(world.core.view, "n1"), b"other"]
    world.nodes[HOME].script = lambda m: Refused(m.request_id, FailureCode.INVALID, "no")
    world.hold_replies = {HOME}
    writes = together(world, world.set, *keys)
    world.hold_writes = {HOME}
    world.release()
    world.cut(HOME)
    assert all(type(write.outcomes[0]) is bytes for write in writes)
    assert_nothing_is_left(world)


def test_a_bundle_that_cannot_be_encoded_is_taken_apart():
    world = one()
    world.hold_writes = {HOME}
    writes = [world.set(b"a"), world.set(b"b")]
    (bundle,) = world.core.flush(HOME, world.now).messages
    world.core.unsendable(bundle.request_id, "too large")
    first, second = world.core.flush(HOME, world.now).messages
    assert [first.keys, second.keys] == [[b"a"], [b"b"]]
    world.core.unsendable(first.request_id, "too large")
    assert isinstance(writes[0].outcomes[0], InvalidValue)
    assert not writes[1].done
    (link,) = world.core.statistics().links
    assert link.outstanding == 1


def test_a_bundle_refused_for_certain_sets_its_members_free():
    world = World(cluster("n1", "n2"), [HOME])
    world.nodes[HOME].script = lambda m: Refused(m.request_id, FailureCode.DRAINING, "going")
    key = key_of(world.core.view, "n1")
    writes = together(world, world.set, key, b"other")
    assert all(type(write.outcomes[0]) is bytes for write in writes)
    assert sum(len(request.keys) for request in sent(world, node="n2")) == 2
    assert_nothing_is_left(world)


def test_a_read_left_out_of_a_full_reply_is_asked_again_alone():
    world = one()
    together(world, world.set, b"a", b"b", b"c")

    def script(message):
        if not isinstance(message, Read) or len(message.keys) == 1:
            return NotImplemented
        records = [world.nodes[HOME].table[message.keys[0]], None, None]
        full = [Failure(i, FailureCode.OVERLOADED, "the reply is full") for i in (1, 2)]
        return ReadReply(message.request_id, records, full, 3, 2)

    world.nodes[HOME].script = script
    reads = together(world, world.get, b"a", b"b", b"c")
    assert [read.outcomes[0][-1:] for read in reads] == [b"a", b"b", b"c"]
    assert [request.keys for request in sent(world, Read)] == [[b"a", b"b", b"c"], [b"b"], [b"c"]]
    statistics = world.core.statistics()
    assert (statistics.retried_keys, statistics.moved_keys) == (0, 0)


def test_reads_that_are_all_overloaded_are_put_off():
    world = one()
    world.nodes[HOME].script = lambda m: ReadReply(
        m.request_id,
        [None] * len(m.keys),
        [Failure(i, FailureCode.OVERLOADED, "busy") for i in range(len(m.keys))],
        3,
        0,
    )
    reads = together(world, world.get, b"a", b"b", timeout=0.5)
    assert not any(read.done for read in reads)
    assert len(sent(world, Read)) == 1
    world.advance(1.0)
    assert all(isinstance(read.outcomes[0], Overloaded) for read in reads)


def test_one_failed_key_is_the_failure_of_its_caller_only():
    world = one()
    world.nodes[HOME].script = lambda m: WriteReply(
        m.request_id, stamp_at(9), [], [Failure(1, FailureCode.TIMEOUT, "late")], 3, 1
    )
    writes = together(world, world.set, b"a", b"b", b"c")
    assert [type(write.outcomes[0]) for write in writes] == [bytes, Timeout, bytes]


@pytest.mark.parametrize(
    "answer",
    [
        lambda m: ReadReply(m.request_id, [None], [], 1, 1),
        lambda m: WriteReply(m.request_id, b"short", [], [], 1, 1),
        lambda m: WriteReply(m.request_id, stamp_at(9), [(7, stamp_at(9))], [], 1, 1),
    ],
)
def test_an_answer_that_does_not_fit_a_bundle_ends_the_connection(answer):
    world = one()
    world.nodes[HOME].script = lambda m: answer(m) if isinstance(m, Write) else NotImplemented
    writes = together(world, world.set, b"a", b"b")
    assert all(isinstance(write.outcomes[0], InternalError) for write in writes)
    assert "fit" in world.closed[0][1]
    assert_nothing_is_left(world)


# --------------------------------------------------------------------------- left behind


def test_callers_who_leave_leave_nothing_behind():
    world = one()
    world.hold_replies = {HOME}
    operations = together(world, world.set, b"a", b"b") + together(world, world.get, b"a", b"b")
    for operation in operations:
        world.core.forget(operation)
    assert_nothing_is_left(world)
    world.release()
    assert world.core.statistics().late_replies == 2
    world.hold_replies = set()
    assert world.set(b"a").done


def test_members_that_time_out_leave_nothing_behind():
    world = one()
    world.hold_replies = {HOME}
    writes = together(world, world.set, b"a", b"b", timeout=0.5)
    reads = together(world, world.get, b"a", b"b", timeout=0.5)
    world.advance(1.0)
    assert all(isinstance(each.outcomes[0], Timeout) for each in writes + reads)
    assert_nothing_is_left(world)


def test_an_answer_reaches_those_who_still_wait():
    world = one()
    world.hold_replies = {HOME}
    first, second = together(world, world.set, b"a", b"b")
    world.core.forget(first)
    world.release()
    assert type(second.outcomes[0]) is bytes
    assert world.core.statistics().completed == 1
    assert_nothing_is_left(world)
