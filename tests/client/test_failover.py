"""What is repeated where: the rules that keep a write from being seen twice."""

import pytest

from cluster.client._budget import RETRIES_AT_START
from cluster.client._flights import TRIED_MAX
from cluster.client._stranded import RESEND_WITHIN_S
from cluster.core.operations import (
    Failure,
    FailureCode,
    Read,
    ReadReply,
    Refused,
    Write,
    WriteReply,
)
from cluster.errors import (
    ClockSkew,
    Draining,
    InternalError,
    InvalidValue,
    Overloaded,
    Timeout,
    Unavailable,
)
from tests.client.fakes import address_of
from tests.client.world import World, cluster, key_of

NAMES = ("n1", "n2", "n3")


def three(**options):
    nodes = cluster(*NAMES)
    return World(nodes, [address_of("n1")], **options)


def refuse(code, *, retry_after_ms=0, times=10**9):
    left = [times]

    def script(message):
        if left[0] == 0 or not isinstance(message, Read | Write):
            return NotImplemented
        left[0] -= 1
        return Refused(message.request_id, code, f"no: {code.name}", retry_after_ms)

    return script


def asked(world, kind=Write):
    return {name: len(messages) for name, messages in world.asked(kind).items()}


# --------------------------------------------------------------------------- lost connections


def test_a_sent_write_is_repeated_to_the_same_boot_with_the_same_id():
    world = three()
    key = key_of(world.core.view, "n2")
    world.hold_replies = {address_of("n2")}
    write = world.set(key, timeout=20.0)
    world.cut(address_of("n2"))
    assert not write.done
    assert asked(world) == {"n1": 0, "n2": 1, "n3": 0}
    world.hold_replies = set()
    world.mend(address_of("n2"))
    assert type(write.outcomes[0]) is bytes
    first, second = world.asked(Write)["n2"]
    assert first == second
    assert world.core.statistics().resent_writes == 1


def test_a_repeat_whose_connection_breaks_again_is_repeated_again():
    world = three()
    key = key_of(world.core.view, "n2")
    world.hold_replies = {address_of("n2")}
    write = world.set(key, timeout=60.0)
    for _ in range(3):
        world.cut(address_of("n2"))
        world.mend(address_of("n2"))
    world.release()
    assert write.done
    assert asked(world) == {"n1": 0, "n2": 4, "n3": 0}


def test_a_sent_write_fails_as_unknown_when_the_node_comes_back_with_another_boot():
    world = three()
    key = key_of(world.core.view, "n2")
    world.hold_replies = {address_of("n2")}
    write = world.set(key, timeout=20.0)
    world.cut(address_of("n2"))
    world.nodes[address_of("n2")].boot += 1
    world.mend(address_of("n2"))
    error = write.outcomes[0]
    assert isinstance(error, Timeout)
    assert error.executed is None
    assert "n2 restarted" in str(error)
    assert repr(key) in str(error)
    assert asked(world) == {"n1": 0, "n2": 1, "n3": 0}


def test_a_sent_write_ends_as_unknown_at_its_deadline_and_is_not_repeated_after():
    world = three()
    key = key_of(world.core.view, "n2")
    world.hold_replies = {address_of("n2")}
    write = world.set(key, timeout=2.0)
    world.cut(address_of("n2"))
    world.advance(2.0)
    assert isinstance(write.outcomes[0], Timeout)
    assert "unknown" in str(write.outcomes[0])
    world.mend(address_of("n2"))
    assert asked(world) == {"n1": 0, "n2": 1, "n3": 0}


def test_a_node_away_for_long_may_have_forgotten_what_it_did_and_gets_no_repeat():
    world = three()
    key = key_of(world.core.view, "n2")
    world.hold_replies = {address_of("n2")}
    write = world.set(key, timeout=100.0)
    world.cut(address_of("n2"))
    world.advance(RESEND_WITHIN_S + 1.0)
    world.mend(address_of("n2"))
    assert isinstance(write.outcomes[0], Timeout)
    assert asked(world) == {"n1": 0, "n2": 1, "n3": 0}


def test_an_unsent_write_goes_to_another_node():
    world = three()
    key = key_of(world.core.view, "n2")
    world.hold_writes = {address_of("n2")}
    write = world.set(key)
    assert not write.done
    world.cut(address_of("n2"))
    assert type(write.outcomes[0]) is bytes
    assert asked(world)["n2"] == 0


def test_a_sent_read_goes_to_another_node_at_once():
    world = three()
    key = key_of(world.core.view, "n2")
    world.hold_replies = {address_of("n2")}
    read = world.get(key)
    assert not read.done
    world.cut(address_of("n2"))
    assert read.outcomes == [None]


def test_the_next_owner_is_asked_while_the_primary_is_away():
    names = tuple(f"n{number}" for number in range(1, 7))
    world = World(cluster(*names), [address_of("n1")])
    key = key_of(world.core.view, "n4")
    owners = world.core.view.owners_of(key)
    for owner in owners:
        assert world.set(key).done
        assert asked(world)[owner] == 1
        world.cut(address_of(owner))
    assert world.set(key).done, "any node coordinates when no owner is connected"
    world.mend(address_of("n4"))
    world.set(key)
    assert asked(world)["n4"] == 2


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "code", [FailureCode.UNAVAILABLE, FailureCode.DRAINING, FailureCode.NOT_OWNER]
)
def test_a_write_that_was_certainly_not_executed_goes_to_another_node(code):
    world = three()
    key = key_of(world.core.view, "n2")
    world.nodes[address_of("n2")].script = refuse(code)
    write = world.set(key)
    assert type(write.outcomes[0]) is bytes
    counts = asked(world)
    assert counts["n2"] == 1
    assert sum(counts.values()) == 2
    ids = [message.request_id for messages in world.asked(Write).values() for message in messages]
    assert len(set(ids)) == 2
    if code is not FailureCode.NOT_OWNER:
        assert world.set(key).done
        assert asked(world)["n2"] == 1, "it is asked last for a while"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (FailureCode.TIMEOUT, Timeout),
        (FailureCode.INTERNAL, InternalError),
        (FailureCode.CLOCK_SKEW, ClockSkew),
        (FailureCode.INVALID, InvalidValue),
    ],
)
def test_a_write_of_unknown_or_hopeless_outcome_is_not_repeated(code, kind):
    world = three()
    for node in world.nodes.values():
        node.script = refuse(code)
    write = world.set(b"k")
    assert type(write.outcomes[0]) is kind
    assert sum(asked(world).values()) == 1


def test_a_read_goes_on_when_a_node_failed_inside():
    world = three()
    key = key_of(world.core.view, "n2")
    world.nodes[address_of("n2")].script = refuse(FailureCode.INTERNAL)
    assert world.get(key).outcomes == [None]


def test_unavailable_everywhere_is_told_at_once():
    world = three()
    for node in world.nodes.values():
        node.script = refuse(FailureCode.UNAVAILABLE)
    write = world.set(b"k")
    assert isinstance(write.outcomes[0], Unavailable)
    assert asked(world) == {"n1": 1, "n2": 1, "n3": 1}


def test_no_more_than_a_few_nodes_are_asked():
    names = tuple(f"n{number}" for number in range(1, 10))
    world = World(cluster(*names), [address_of("n1")])
    for node in world.nodes.values():
        node.script = refuse(FailureCode.UNAVAILABLE)
    assert isinstance(world.set(b"k").outcomes[0], Unavailable)
    assert sum(asked(world).values()) == TRIED_MAX


@pytest.mark.parametrize("code", [FailureCode.DRAINING, FailureCode.NOT_OWNER])
def test_what_passes_soon_is_waited_for(code):
    world = three()
    for node in world.nodes.values():
        node.script = refuse(code, times=1)
    write = world.set(b"k")
    assert not write.done
    world.advance(1.0)
    assert type(write.outcomes[0]) is bytes


def test_draining_to_the_end_is_told():
    world = three()
    for node in world.nodes.values():
        node.script = refuse(FailureCode.DRAINING)
    write = world.set(b"k", timeout=2.0)
    world.advance(2.0)
    error = write.outcomes[0]
    assert isinstance(error, Draining)
    assert "DRAINING" in str(error)


def test_an_overloaded_node_is_asked_again_after_it_said():
    world = three()
    for node in world.nodes.values():
        node.script = refuse(FailureCode.OVERLOADED, retry_after_ms=300, times=1)
    write = world.set(b"k")
    world.advance(0.29)
    assert sum(asked(world).values()) == 1
    world.advance(1.5)
    assert type(write.outcomes[0]) is bytes


def test_no_retry_is_begun_that_cannot_end_in_time():
    world = three()
    for node in world.nodes.values():
        node.script = refuse(FailureCode.OVERLOADED, retry_after_ms=3000)
    write = world.set(b"k", timeout=2.0)
    error = write.outcomes[0]
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 3.0


def test_retries_stay_within_the_budget():
    world = three()
    for node in world.nodes.values():
        node.script = refuse(FailureCode.OVERLOADED, retry_after_ms=10)
    writes = [world.set(b"key%d" % number, timeout=5.0) for number in range(200)]
    refused_at_once = [write for write in writes if write.done]
    assert len(refused_at_once) == 200 - RETRIES_AT_START
    world.advance(5.0)
    assert all(isinstance(write.outcomes[0], Overloaded) for write in writes)
    assert sum(asked(world).values()) <= 200 + RETRIES_AT_START + 10


def test_successes_earn_retries():
    world = three()
    for number in range(400):
        world.set(b"key%d" % number)
    for node in world.nodes.values():
        node.script = refuse(FailureCode.OVERLOADED, retry_after_ms=10)
    writes = [world.set(b"key%d" % number, timeout=5.0) for number in range(200)]
    refused_at_once = sum(write.done for write in writes)
    assert refused_at_once == 200 - RETRIES_AT_START - 40


# --------------------------------------------------------------------------- batches


def test_only_the_failed_keys_of_a_batch_are_repeated():
    world = three()

    def script(message):
        if not isinstance(message, Write) or len(message.keys) == 1:
            return NotImplemented
        stamp = bytes(7) + b"\x07" + bytes(8)
        failures = [
            Failure(1, FailureCode.UNAVAILABLE, "too few"),
            Failure(2, FailureCode.VALUE_TOO_LARGE, "too large"),
        ]
        return WriteReply(message.request_id, stamp, [(3, bytes(15) + b"\x09")], failures, 3, 2)

    for node in world.nodes.values():
        node.script = script
    write = world.set(b"a", b"b", b"c", b"d")
    assert [type(outcome).__name__ for outcome in write.outcomes] == [
        "bytes", "bytes", "ValueTooLarge", "bytes",
    ]  # fmt: skip
    assert write.outcomes[3] == bytes(15) + b"\x09"
    sent = [m for messages in world.asked(Write).values() for m in messages]
    assert sorted(len(message.keys) for message in sent) == [1, 4]
    again = next(message for message in sent if len(message.keys) == 1)
    assert (again.keys, again.bodies) == ([b"b"], [b"\x01b"])


def test_a_batch_that_loses_one_of_its_nodes_keeps_what_the_others_did():
    names = tuple(f"n{number}" for number in range(1, 7))
    world = World(cluster(*names, replication_factor=1), [address_of("n1")])
    world.hold_replies = {address_of("n2")}
    write = world.set(*(b"key%d" % number for number in range(60)), timeout=2.0)
    assert 0 < write.open < 60
    world.cut(address_of("n2"))
    world.advance(2.0)
    lost = [outcome for outcome in write.outcomes if isinstance(outcome, Timeout)]
    assert len(lost) == len(world.asked(Write)["n2"][0].keys)
    assert all(type(o) is bytes for o in write.outcomes if not isinstance(o, Timeout))


def test_keys_that_did_not_fit_into_an_answer_are_asked_for_at_once():
    world = three()

    def script(message):
        if not isinstance(message, Read):
            return NotImplemented
        records = [world.nodes[address_of("n1")].table[key] for key in message.keys[:2]]
        missing = range(2, len(message.keys))
        failures = [Failure(i, FailureCode.OVERLOADED, "the reply is full") for i in missing]
        return ReadReply(message.request_id, records + [None for _ in missing], failures, 3, 2)

    keys = [b"key%d" % number for number in range(101)]
    world.set(*keys)
    for node in world.nodes.values():
        node.script = script
    read = world.get(*keys)
    assert read.done
    assert all(type(record) is bytes for record in read.outcomes)
    assert sum(asked(world, Read).values()) == 51
    assert world.core.statistics().retried_keys == 0
