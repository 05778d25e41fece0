"""A refused repeat says nothing of the first copy: the write is never asked of another node."""

import pytest

from cluster.client._stranded import RESEND_WITHIN_S
from cluster.core.operations import FailureCode, Refused, Write
from cluster.errors import Timeout, Unavailable
from tests.client.fakes import FakeNode, address_of
from tests.client.world import World, cluster, key_of

NODE = address_of("n2")
PASSING = [
    FailureCode.OVERLOADED,
    FailureCode.UNAVAILABLE,
    FailureCode.NOT_OWNER,
    FailureCode.CLOCK_SKEW,
]


def refuse(code, *, times=10**9, retry_after_ms=0):
    left = [times]

    def script(message):
        if not isinstance(message, Write) or not left[0]:
            return NotImplemented
        left[0] -= 1
        return Refused(message.request_id, code, f"no: {code.name}", retry_after_ms)

    return script


def stranded(script, *, timeout=20.0, callers=1, nodes=("n1", "n2", "n3")):
    """Writes that n2 has done, their answer lost; n2 is back and answers by the script."""
    world = World(cluster(*nodes), [address_of(nodes[0])])
    world.hold_replies = world.hold_writes = {NODE}
    key = key_of(world.core.view, "n2")
    keys = [key, *(b"%s-%d" % (key, number) for number in range(1, callers))]
    writes = [world.set(name, timeout=timeout) for name in keys]
    world.hold_writes = set()
    world.settle()
    assert not any(write.done for write in writes)
    world.cut(NODE)
    world.hold_replies = set()
    world.nodes[NODE].script = script
    world.mend(NODE)
    return world, writes


def ids(world):
    return {name: [m.request_id for m in sent] for name, sent in world.asked(Write).items()}


@pytest.mark.parametrize("callers", [1, 3])
@pytest.mark.parametrize("code", PASSING)
def test_a_refused_repeat_is_repeated_to_the_same_node_under_the_same_id(code, callers):
    world, writes = stranded(refuse(code, times=3, retry_after_ms=50), callers=callers)
    world.advance(6.0)
    assert all(type(write.outcomes[0]) is bytes for write in writes)
    asked = ids(world)
    assert (asked["n1"], asked["n3"]) == ([], [])
    assert len(asked["n2"]) == 5
    assert len(set(asked["n2"])) == 1
    assert world.core.statistics().retried_keys == 0
    assert world.core.wake_at == float("inf")


@pytest.mark.parametrize("callers", [1, 3])
def test_a_repeat_refused_by_a_node_that_drains_is_unknown_at_once(callers):
    world, writes = stranded(refuse(FailureCode.DRAINING), callers=callers)
    for write in writes:
        error = write.outcomes[0]
        assert isinstance(error, Timeout)
        assert "n2 gave no answer and refused the repeat (no: DRAINING)" in str(error)
        assert "unknown" in str(error)
    asked = ids(world)
    assert [len(asked[name]) for name in ("n1", "n2", "n3")] == [0, 2, 0]
    assert len(world.core._requests.bundles) == 0
    world.nodes[NODE].script = refuse(FailureCode.OVERLOADED)
    assert world.set(writes[0].keys[0]).done
    assert len(ids(world)["n2"]) == 2, "it is asked last"


def test_a_wait_beyond_the_deadline_is_not_begun():
    script = refuse(FailureCode.OVERLOADED, retry_after_ms=30_000)
    _, (write,) = stranded(script, timeout=10.0)
    assert isinstance(write.outcomes[0], Timeout)


def test_repeats_end_while_the_node_still_recognises_them():
    script = refuse(FailureCode.OVERLOADED, retry_after_ms=3_000)
    world, (write,) = stranded(script, timeout=100.0)
    world.advance(RESEND_WITHIN_S)
    assert isinstance(write.outcomes[0], Timeout)
    assert 5 <= len(ids(world)["n2"]) <= 12


def test_an_answer_to_the_first_copy_ends_the_repeats():
    script = refuse(FailureCode.OVERLOADED, retry_after_ms=500)
    world, writes = stranded(script, callers=2)
    node = world.nodes[NODE]
    reply = node.answer(node.requests[-1])
    world.core.received(NODE, node.header(), [reply], world.now)
    assert all(type(write.outcomes[0]) is bytes for write in writes)
    world.advance(5.0)
    assert len(ids(world)["n2"]) == 2
    assert [link.outstanding for link in world.core.statistics().links] == [0, 0, 0]


def test_a_connection_that_breaks_while_a_repeat_is_put_off_is_no_harm():
    script = refuse(FailureCode.OVERLOADED, times=1, retry_after_ms=5_000)
    world, writes = stranded(script, callers=2)
    world.cut(NODE)
    world.mend(NODE)
    assert all(type(write.outcomes[0]) is bytes for write in writes)
    world.advance(10.0)
    assert len(ids(world)["n2"]) == 3
    assert len(set(ids(world)["n2"])) == 1


def test_a_caller_who_leaves_is_not_repeated_for():
    script = refuse(FailureCode.OVERLOADED, retry_after_ms=500)
    world, writes = stranded(script, callers=2)
    for write in writes:
        world.core.forget(write)
    world.advance(5.0)
    assert len(ids(world)["n2"]) == 2
    assert len(world.core._requests.bundles) == 0


def test_a_first_copy_that_is_refused_was_certainly_not_done():
    world = World(cluster("n1", "n2", "n3"), [address_of("n1")])
    for node in world.nodes.values():
        node.script = refuse(FailureCode.UNAVAILABLE)
    assert isinstance(world.set(b"k").outcomes[0], Unavailable)


def test_what_is_put_off_is_not_sent_to_another_node_at_the_same_address():
    script = refuse(FailureCode.OVERLOADED, retry_after_ms=4_000)
    world, (write,) = stranded(script, nodes=("n2",))
    world.cut(NODE)
    world.nodes[NODE] = other = FakeNode("n9", 900, world.core.view)
    world.mend(NODE)
    world.advance(10.0)
    assert not write.done
    assert [m for m in other.requests if isinstance(m, Write)] == []
