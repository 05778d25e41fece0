"""The link to one peer, on a simulated network."""

import random
from contextlib import asynccontextmanager

import pytest
import trio

from actors import ActorSystem, ChildSpec, SupervisorSpec
from actors.testing import Probe, virtual
from cluster.core.metrics import Registry
from cluster.core.operations import ReplicaWrite
from cluster.environment import SimulatedEnvironment
from cluster.errors import ConnectionLost
from cluster.net.greeting import welcome
from cluster.net.memory import MemoryNetwork
from cluster.services.link import REDIAL_MAX_S, Link, LinkOptions, weigh
from cluster.services.local import LinkDown, LinkIsMyself, LinkUp, Outgoing
from cluster.services.traffic import Traffic
from cluster.wire.codec import Codec, FrameLimits
from cluster.wire.handshake import LocalNode, Reject, judge
from cluster.wire.messages import FrameHeader, MembersUpdate, RingRequest

LIMITS = FrameLimits(frame_bytes_max=4096)
PEER = "n2:1"


def local(node_id="n2", boot=7, cluster="test"):
    return LocalNode(
        cluster=cluster,
        node_id=node_id,
        boot=boot,
        virtual_nodes=256,
        replication_factor=3,
        value_max=1000,
        frame_max=4096,
        address=f"{node_id}:1",
    )


class World:
    """A link of n1, a probe in place of its peers, and the host n2 that it dials."""

    def __init__(self):
        clock = trio.lowlevel.current_clock()
        self.network = MemoryNetwork(clock, random.Random(1), latency_s=(0.001, 0.001))
        self.peers, self.log, self.frames = Probe(), [], []
        self.dials = 0
        self.outdated = []
        self.answer = judge
        self.there = self.network.transport("n2")
        registry = Registry()
        self.traffic = Traffic(registry, "peer")
        options = LinkOptions(
            SimulatedEnvironment(1, self.network.transport("n1"), clock, 0),
            local("n1", 5).hello(),
            Codec("msgpack", LIMITS),
            self.traffic,
            lambda level, text: self.log.append((level, text)),
            lambda boot, reason: self.outdated.append((boot, reason)),
        )
        link = ChildSpec("link", lambda: Link(PEER, self.system.ref("peers"), options))
        root = SupervisorSpec("", (self.peers.spec("peers"), link))
        self.system = ActorSystem("n1", root, rng=random.Random(2))
        self.link = self.system.ref("link")

    async def serve(self, connection):
        self.dials += 1
        _, _, codec = await welcome(connection, lambda hello: self.answer(hello, local()), LIMITS)
        while True:
            self.frames.append(codec.decode(await connection.receive(), 0.0))

    def send(self, *messages, urgent=False, clock=1):
        self.link.tell(Outgoing(FrameHeader(clock, 1, 2), list(messages), urgent))

    def told(self, kind):
        return [message for message in self.peers.messages if isinstance(message, kind)]


@asynccontextmanager
async def linked(*, listening=True, answer=judge):
    world = World()
    world.answer = answer
    async with trio.open_nursery() as nursery:
        if listening:
            await nursery.start(world.there.serve, PEER, world.serve)
        await nursery.start(world.system.run)
        yield world, nursery
        world.system.stop()
        nursery.cancel_scope.cancel()


def write(number, size=100):
    return ReplicaWrite(number, 1.0, [b"k"], [bytes(size)], [])


@virtual()
async def test_it_dials_greets_and_says_who_is_there():
    async with linked() as (world, _):
        up = await world.peers.wait_for(lambda m: isinstance(m, LinkUp))
        assert up == LinkUp(PEER, world.link, "n2", 7)


@virtual()
async def test_what_waits_leaves_in_one_frame_members_messages_first():
    async with linked() as (world, _):
        await world.peers.wait_count(1)
        world.send(write(1), write(2))
        world.send(write(3), clock=2)
        world.send(RingRequest(), urgent=True, clock=0)
        await trio.sleep(0.1)
        [frame] = world.frames
        assert frame.header == FrameHeader(2, 1, 2)
        assert frame.messages[0] == RingRequest()
        assert [each.round_id for each in frame.messages[1:]] == [1, 2, 3]


@virtual()
async def test_more_than_a_frame_holds_leaves_in_several_in_order():
    async with linked() as (world, _):
        await world.peers.wait_count(1)
        world.send(*[write(number, 1000) for number in range(10)])
        await trio.sleep(0.1)
        assert len(world.frames) == 4
        sent = [each.round_id for frame in world.frames for each in frame.messages]
        assert sent == list(range(10))


@virtual()
async def test_a_message_larger_than_a_frame_is_dropped_and_the_link_stays():
    async with linked() as (world, _):
        await world.peers.wait_count(1)
        world.send(write(1), write(2, 5000), write(3))
        await trio.sleep(0.1)
        assert [each.round_id for each in world.frames[0].messages] == [1, 3]
        assert world.traffic.dropped.value == 1
        [(level, text)] = world.log
        assert level == "error"
        assert "a ReplicaWrite for n2:1 is dropped" in text
        assert world.told(LinkDown) == []


@virtual()
async def test_without_a_connection_messages_are_dropped_and_counted():
    async with linked(listening=False) as (world, _):
        await trio.sleep(1)
        world.send(write(1), write(2))
        await trio.sleep(0.1)
        assert world.traffic.dropped.value == 2


@virtual()
async def test_it_dials_until_somebody_is_there_at_most_so_often():
    async with linked(listening=False) as (world, nursery):
        await trio.sleep(60)
        assert world.peers.messages == [], "nothing was up, so nothing is down"
        await nursery.start(world.there.serve, PEER, world.serve)
        await world.peers.wait_for(lambda m: isinstance(m, LinkUp), timeout_s=2 * REDIAL_MAX_S)


@virtual()
async def test_the_end_of_the_connection_is_told_and_it_dials_again():
    async with linked() as (world, _):
        await world.peers.wait_count(1)
        world.network.kill("n2")
        down = await world.peers.wait_for(lambda m: isinstance(m, LinkDown))
        assert down.address == PEER
        assert "the other side is gone" in down.reason


@virtual()
async def test_a_refusal_is_logged_once_however_often_it_is_repeated():
    def refuse(hello, mine):
        return Reject("not today")

    async with linked(answer=refuse) as (world, _):
        await trio.sleep(20)
        assert world.dials > 5
        [(level, text)] = world.log
        assert (level, "not today" in text) == ("warning", True)
        assert world.peers.messages == []
        world.answer = judge
        await world.peers.wait_for(lambda m: isinstance(m, LinkUp))


@virtual()
async def test_a_node_that_turns_out_to_be_this_one_is_dialled_no_more():
    def myself(hello, mine):
        return Reject("that is me", myself=True)

    async with linked(answer=myself) as (world, _):
        assert await world.peers.wait_count(1) == [LinkIsMyself(PEER)]
        await trio.sleep(60)
        assert world.dials == 1


@virtual()
async def test_a_peer_that_knows_a_later_boot_of_this_node_is_told_of():
    def later(hello, mine):
        return judge(hello, mine, known_boot=hello.boot + 1)

    async with linked(answer=later) as (world, _):
        await trio.sleep(0.5)
        boot, reason = world.outdated[0]
        assert boot == 6
        assert "knows node n1 in boot 0000000000000006, later than its 0000000000000005" in reason
        assert world.peers.messages == []


@virtual()
async def test_what_it_says_of_itself_is_not_lost_to_a_full_mailbox():
    async with linked() as (world, _):
        await world.peers.wait_count(1)
        world.system.suspend("peers")
        await trio.sleep(0.1)
        while world.system.ref("peers").tell("filler"):
            pass
        world.network.kill("n2")
        await trio.sleep(0.1)
        world.system.resume("peers")
        await world.peers.wait_for(lambda m: isinstance(m, LinkDown))


@virtual()
async def test_after_a_crash_it_says_that_it_was_down():
    async with linked() as (world, _):
        await world.peers.wait_count(1)
        world.system._registry.find("link", "/n1/").current.crash(RuntimeError("planted"))
        await world.peers.wait_count(3)
        assert [type(each) for each in world.peers.messages] == [LinkUp, LinkDown, LinkUp]


@virtual()
async def test_a_frame_on_our_link_is_ignored_with_a_warning():
    async with linked() as (world, _):
        await world.peers.wait_count(1)
        [there] = world.there._ends.values()
        await there.send(Codec("msgpack").encode(FrameHeader(0, 0, 0), [RingRequest()], 0.0))
        await trio.sleep(0.1)
        assert world.log == [("warning", "n2:1 sent a frame on our link: ignored")]
        world.send(write(1))
        await trio.sleep(0.1)
        assert len(world.frames) == 1


@virtual()
async def test_stopping_it_closes_the_connection():
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.there.serve, PEER, world.serve)
        async with trio.open_nursery() as inner:
            await inner.start(world.system.run)
            await world.peers.wait_count(1)
            [there] = world.there._ends.values()
            world.system.stop()
        with pytest.raises(ConnectionLost):
            await there.receive()
        nursery.cancel_scope.cancel()


def test_the_weight_of_a_message_is_that_of_its_records():
    header = FrameHeader(0, 0, 0)
    assert weigh(Outgoing(header, [write(1, 500), write(2, 20)])) == 520
    assert weigh(Outgoing(header, [MembersUpdate([])])) == 0
    assert weigh(object()) == 0
