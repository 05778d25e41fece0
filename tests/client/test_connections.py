"""Seeds, dialling, the ring, and what is known of nodes."""

from itertools import pairwise

import attrs
import pytest

from cluster.client._core import CLOSE_AFTER_S, SILENT_AFTER_S
from cluster.client._links import DIAL_BACKOFF_MAX_S
from cluster.core.operations import Read, ReadReply, Write
from cluster.core.values import VIRTUAL_NODES_MIN
from cluster.errors import Timeout, Unavailable
from cluster.wire.messages import FrameHeader, ProtocolFailure, RingState
from tests.client.fakes import FakeNode, address_of, ring_of
from tests.client.world import World, cluster, key_of


def up(world):
    return {link.node_id for link in world.core.statistics().links if link.state == "up"}


def test_finds_every_node_from_any_seed():
    world = World(cluster("n1", "n2", "n3"), [address_of("n2")])
    assert up(world) == {"n1", "n2", "n3"}
    assert world.core.view.epoch == 1


def test_a_seed_under_another_name_gets_no_second_connection():
    nodes = cluster("n1", "n2", "n3")
    world = World([], ["alias:1"])
    world.nodes = {"alias:1": nodes[0], **{address_of(n.node_id): n for n in nodes}}
    world.advance(DIAL_BACKOFF_MAX_S)
    assert up(world) == {"n1", "n2", "n3"}
    assert world.connected == {"alias:1", address_of("n2"), address_of("n3")}


def test_two_seeds_of_one_node_end_with_one_connection():
    node = FakeNode("n1", 101, ring_of("n1"))
    world = World([], ["a:1", "b:1"])
    world.nodes = {"a:1": node, "b:1": node}
    world.advance(DIAL_BACKOFF_MAX_S)
    assert len(world.connected) == 1
    assert world.get(b"k").outcomes == [None]


def test_seeds_are_dialled_for_ever_with_backoff():
    world = World([], ["a:1", "b:1"])
    world.advance(600.0)
    for address in ("a:1", "b:1"):
        times = [at for at, dialled in world.dialled if dialled == address]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert 600 / DIAL_BACKOFF_MAX_S < len(times) < 600
        assert max(gaps) <= DIAL_BACKOFF_MAX_S + 0.001


def test_seeds_are_dialled_again_when_all_nodes_are_lost():
    nodes = cluster("n1", "n2", "n3")
    world = World(nodes, [address_of("n1")])
    moved = FakeNode("m1", 201, ring_of("m1"))
    for node in nodes:
        world.cut(address_of(node.node_id))
    world.nodes = {address_of("n1"): moved}
    world.nodes[address_of("m1")] = moved
    world.mend(address_of("n1"))
    assert up(world) == {"m1"}
    assert world.core.view.member("m1") is not None, "the ring of another cluster is taken over"


def test_known_members_are_redialled_but_seeds_not_while_a_node_is_connected():
    world = World(cluster("n1", "n2"), ["gone:1", address_of("n1")])
    assert up(world) == {"n1", "n2"}
    world.dialled.clear()
    world.cut(address_of("n2"))
    world.advance(60.0)
    assert {address for _, address in world.dialled} == {address_of("n2")}


def test_a_newer_ring_is_taken_over_and_announced():
    nodes = cluster("n1")
    world = World(nodes, [address_of("n1")])
    assert world.core.view.epoch == 1
    newer = ring_of("n1", "n2", epoch=2)
    nodes[0].ring = newer
    joined = attrs.evolve(nodes[0], node_id="n2", boot=102)
    world.nodes[address_of("n2")] = joined
    world.get(b"k")
    assert world.core.view.epoch == 2
    assert up(world) == {"n1", "n2"}
    world.get(b"k")
    header = (nodes[0].headers + joined.headers)[-1]
    assert (header.epoch, header.digest) == (newer.epoch, newer.digest)


@pytest.mark.parametrize(
    ("ring", "conflicts"),
    [(ring_of("n1", "x", epoch=5), 1), (ring_of("n1", "n2", epoch=4), 0)],
    ids=["conflict", "older"],
)
def test_another_or_an_older_ring_is_not_taken_over(ring, conflicts):
    node = FakeNode("n1", 101, ring_of("n1", epoch=5))
    world = World([node], [address_of("n1")])
    known = world.core.view
    state = RingState(list(ring.as_wire()))
    world.core.received(address_of("n1"), node.header(), [state], world.now)
    world.settle()
    assert world.core.view is known
    assert world.core.statistics().ring_conflicts == conflicts


def test_a_malformed_ring_ends_the_connection_and_nothing_else():
    nodes = cluster("n1", "n2")
    world = World(nodes, [address_of("n1")])
    known = world.core.view
    world.core.received(address_of("n1"), nodes[0].header(), [RingState([1, 2])], world.now)
    world.settle()
    assert "bad ring" in world.closed[0][1]
    assert world.core.view is known
    assert world.get(b"k").outcomes == [None]


def test_a_node_that_reports_a_protocol_failure_is_left():
    nodes = cluster("n1", "n2")
    world = World(nodes, [address_of("n1")])
    message = ProtocolFailure("that was no frame")
    world.core.received(address_of("n1"), nodes[0].header(), [message], world.now)
    world.settle()
    assert world.closed == [(address_of("n1"), "node n1 says: that was no frame")]


def test_an_answer_that_does_not_fit_ends_the_connection():
    nodes = cluster("n1", "n2")
    nodes[0].script = lambda m: ReadReply(m.request_id, [None, None], [], 1, 1)
    world = World(nodes, [address_of("n1")])
    operations = [world.get(b"key%d" % number) for number in range(20)]
    assert all(operation.outcomes == [None] for operation in operations), "n2 answers"
    assert any("does not fit" in reason for _, reason in world.closed)


def test_works_before_the_cluster_has_a_ring():
    world = World([FakeNode("n1", 101)], [address_of("n1")])
    assert world.get(b"k").outcomes == [None]
    assert world.nodes[address_of("n1")].headers[0] == FrameHeader(0, 0, 0)


def test_the_highest_clock_goes_along():
    node = cluster("n1")[0]
    world = World([node], [address_of("n1")])
    world.set(b"k")
    seen = world.core.session.clock
    assert seen > 0
    world.core.received(address_of("n1"), FrameHeader(seen - 5, 0, 0), [], world.now)
    world.get(b"k")
    assert node.headers[-1].clock == seen


def test_without_any_node_an_operation_is_unavailable_at_its_deadline_and_says_why():
    world = World([], ["a:1", "b:1"])
    operation = world.set(b"k", timeout=2.0)
    world.advance(1.99)
    assert not operation.done
    world.advance(0.02)
    error = operation.outcomes[0]
    assert isinstance(error, Unavailable)
    assert "a:1: connection refused" in str(error)
    assert "b:1: connection refused" in str(error)


def test_operations_wait_for_the_first_node():
    world = World([], [address_of("n1")])
    operations = [world.set(b"k", timeout=20.0), world.get(b"k", timeout=20.0)]
    world.nodes = {address_of("n1"): cluster("n1")[0]}
    world.advance(DIAL_BACKOFF_MAX_S)
    assert all(operation.done for operation in operations)
    assert type(operations[0].outcomes[0]) is bytes


def test_a_silent_node_is_asked_last_and_its_reads_are_asked_of_others():
    nodes = cluster("n1", "n2", "n3")
    world = World(nodes, [address_of("n1")])
    world.hold_replies = {address_of("n1")}
    reads = [world.get(b"key%d" % number) for number in range(90)]
    write = next(op for number in range(30) if not (op := world.set(b"key%d" % number)).done)
    waiting = [operation for operation in reads if not operation.done]
    assert waiting
    world.advance(SILENT_AFTER_S)
    answered = [operation for operation in waiting if operation.done]
    assert 10 <= len(answered) <= 20, "as many as the retry budget allows"
    assert len(waiting) > len(answered)
    assert not write.done
    before = len(nodes[0].requests)
    for number in range(30):
        assert world.get(b"key%d" % number).done
    assert len(nodes[0].requests) == before
    world.release()
    assert write.done
    late = world.core.statistics().late_replies
    assert late == len(answered)
    for number in range(30):
        world.get(b"key%d" % number)
    assert len(nodes[0].requests) > before, "it has spoken: it is asked again"


def test_what_a_silent_node_was_not_sent_is_asked_of_others():
    nodes = cluster("n1", "n2", "n3")
    world = World(nodes, [address_of("n1")])
    key = key_of(world.core.view, "n1")
    world.hold_replies = {address_of("n1")}
    sent = world.set(key)
    world.hold_writes = {address_of("n1")}
    unsent = [world.set(key) for _ in range(30)]
    world.advance(SILENT_AFTER_S)
    assert all(write.done for write in unsent)
    assert not sent.done
    assert world.core.statistics().retries_refused == 0


def test_a_connection_that_stays_silent_is_closed_and_dialled_anew():
    nodes = cluster("n1", "n2", "n3")
    world = World(nodes, [address_of("n1")])
    world.hold_replies = {address_of("n1")}
    operations = [world.set(b"key%d" % number, timeout=1.5) for number in range(30)]
    world.dialled.clear()
    world.advance(CLOSE_AFTER_S + 1.0)
    assert [address for address, _ in world.closed] == [address_of("n1")]
    assert [address for _, address in world.dialled] == [address_of("n1")]
    lost = [op.outcomes[0] for op in operations if type(op.outcomes[0]) is not bytes]
    assert lost
    assert all(isinstance(error, Timeout) for error in lost)


def test_an_idle_client_needs_no_timer():
    world = World(cluster("n1", "n2", "n3"), [address_of("n1")])
    world.get(b"k")
    world.advance(10.0)
    assert world.core.wake_at == float("inf")


def test_a_node_outside_the_ring_is_left_once_a_member_is_connected():
    members = cluster("n1", "n2")
    outsider = attrs.evolve(members[0], node_id="x", boot=300)
    world = World([*members, outsider], [address_of("x")])
    assert up(world) == {"n1", "n2"}
    assert world.closed == [(address_of("x"), "node x is not a member of the ring")]


def test_the_fake_cluster_is_what_the_tests_believe():
    nodes = cluster("n1", "n2", "n3")
    world = World(nodes, [address_of("n1")])
    assert len(world.core.view.table.rows) == VIRTUAL_NODES_MIN
    world.set(b"k")
    world.get(b"k")
    assert sum(map(len, world.asked(Write).values())) == 1
    assert sum(map(len, world.asked(Read).values())) == 1
