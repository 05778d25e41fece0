"""Callers that come, wait, leave, or are told that nobody answers."""

from cluster.core.operations import ReadReply, Write
from cluster.core.values import Level
from cluster.errors import InternalError, Overloaded, Timeout
from tests.client.fakes import address_of
from tests.client.world import World, cluster

NAMES = ("n1", "n2", "n3")


def three(**options):
    return World(cluster(*NAMES), [address_of("n1")], **options)


def asked(world):
    return {name: len(messages) for name, messages in world.asked(Write).items()}


def test_a_cancelled_operation_leaves_nothing_behind():
    world = three()
    world.hold_replies = {address_of(name) for name in NAMES}
    operations = [world.set(b"key%d" % number) for number in range(10)]
    for operation in operations:
        world.core.forget(operation)
    world.release()
    statistics = world.core.statistics()
    assert statistics.in_flight == 0
    assert statistics.late_replies == 10
    assert all(link.outstanding == 0 for link in statistics.links)
    assert world.completed == []


def test_a_cancelled_operation_that_was_not_sent_is_not_sent():
    world = three()
    world.hold_writes = {address_of(name) for name in NAMES}
    operation = world.set(b"k")
    world.core.forget(operation)
    world.hold_writes = set()
    world.settle()
    assert sum(asked(world).values()) == 0


def test_operations_in_flight_are_bounded():
    world = three(in_flight_max=5)
    world.hold_replies = {address_of(name) for name in NAMES}
    operations = [world.set(b"k%d" % number) for number in range(6)]
    assert [operation.done for operation in operations] == [False] * 5 + [True]
    assert isinstance(operations[5].outcomes[0], Overloaded)
    world.release()
    world.hold_replies = set()
    assert world.core.statistics().in_flight == 0
    assert type(world.set(b"k").outcomes[0]) is bytes


def test_closing_fails_what_waits():
    world = three()
    world.hold_replies = {address_of(name) for name in NAMES}
    operations = [world.set(b"a"), world.get(b"b")]
    world.core.close("the client is closed")
    world.settle()
    assert isinstance(operations[0].outcomes[0], Timeout)
    assert all(operation.done for operation in operations)


def test_a_sent_read_without_answer_is_a_timeout_that_names_node_and_level():
    world = World(cluster("n1"), [address_of("n1")])
    world.hold_replies = {address_of("n1")}
    read = world.get(b"k", level=Level.ALL, timeout=0.5)
    world.advance(0.5)
    assert isinstance(read.outcomes[0], Timeout)
    assert "b'k' at ALL" in str(read.outcomes[0])
    assert "n1" in str(read.outcomes[0])
    assert "unknown" not in str(read.outcomes[0])


def test_nodes_are_told_what_is_settled():
    world = World(cluster("n1"), [address_of("n1")])
    node = world.nodes[address_of("n1")]
    for number in range(300):
        world.set(b"k%d" % number)
    assert 256 <= node.settled <= 300
    world.hold_replies = {address_of("n1")}
    world.set(b"waits", timeout=100.0)
    waiting = node.requests[-1].request_id
    world.hold_replies = set()
    for number in range(600):
        world.set(b"k%d" % number)
    assert node.settled == waiting


def test_nothing_grows_while_callers_come_and_go_without_a_node():
    world = World([], ["a:1"])
    for _ in range(50):
        for number in range(20):
            world.set(b"k%d" % number, timeout=0.1)
        world.advance(0.2)
    flights = world.core._flights
    assert flights.active == 0
    assert len(flights._waiting) < 100
    assert len(flights._deadlines) < 200
    assert not flights.requests._parts


def test_a_read_reply_of_wrong_kind_is_no_answer():
    world = World(cluster("n1"), [address_of("n1")])
    node = world.nodes[address_of("n1")]
    node.script = lambda m: ReadReply(m.request_id, [None], [], 1, 1)
    write = world.set(b"k")
    assert isinstance(write.outcomes[0], InternalError)
