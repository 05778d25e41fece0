"""A front door on a simulated network, with probes in place of the actors behind it."""

import random
from contextlib import asynccontextmanager

import attrs
import trio

from actors import ActorSystem, ChildSpec, MailboxSpec, Overflow, SupervisorSpec
from actors.testing import Probe
from cluster.core.membership import MemberEntry
from cluster.core.metrics import Registry
from cluster.core.operations import (
    ReplicaRead,
    ReplicaWrite,
    Write,
)
from cluster.core.ring import RingMember, RingView
from cluster.environment import SimulatedEnvironment
from cluster.gateway.front_door import FrontDoor, FrontDoorOptions
from cluster.net.greeting import greet
from cluster.net.memory import MemoryNetwork
from cluster.wire.codec import Codec, FrameLimits
from cluster.wire.handshake import LocalNode, client_hello
from cluster.wire.messages import (
    FrameHeader,
)

NOBODY = FrameHeader(0, 0, 0)
CODEC = Codec("msgpack")
ENTRY = MemberEntry("n2", "peer:1", 5, "", 1.0)


def local(address, node_id="n1", boot=1):
    return LocalNode(
        cluster="test",
        node_id=node_id,
        boot=boot,
        virtual_nodes=256,
        replication_factor=3,
        value_max=1000,
        frame_max=1 << 16,
        address=address,
    )


def ring(epoch=1):
    return RingView(epoch, tuple(RingMember(f"n{i}", f"h{i}:1") for i in (1, 2, 3)), 256, 3)


class World:
    """A front door between a network and probes."""

    def __init__(self):
        clock = trio.lowlevel.current_clock()
        self.network = MemoryNetwork(clock, random.Random(1), latency_s=(0.001, 0.001))
        self.replicator, self.peers, self.ring_keeper, self.link = (Probe() for _ in range(4))
        self.registry = Registry()
        self.log = []
        self.bound = []
        environment = SimulatedEnvironment(
            1, self.network.transport("n1"), clock, 1_700_000_000_000
        )
        options = FrontDoorOptions(
            bind=lambda: self.bound[-1] if self.bound else "n1:7946",
            local=local,
            limits=FrameLimits(frame_bytes_max=1 << 16),
            environment=environment,
            registry=self.registry,
            answer=self.answer,
            replicator=lambda: self.system.ref("replicator"),
            peers=lambda: self.system.ref("peers"),
            ring_keeper=lambda: self.system.ref("ring_keeper"),
            on_bound=self.bound.append,
            log=lambda level, text: self.log.append((level, text)),
        )
        narrow = MailboxSpec(capacity=2, overflow=Overflow.REJECT)
        children = (
            self.ring_keeper.spec("ring_keeper"),
            self.peers.spec("peers"),
            self.link.spec("link"),
            self.replicator.spec("replicator", narrow),
            ChildSpec("front_door", lambda: FrontDoor(options)),
        )
        root = SupervisorSpec("", children)
        self.system = ActorSystem("n1", root, rng=random.Random(2))
        self.door = self.system.ref("front_door")

    async def answer(self, topic, arguments, _timeout_s):
        return {"topic": topic, **arguments}

    @asynccontextmanager
    async def dial(self, host, hello):
        transport = self.network.transport(host)
        async with transport.dial("n1:7946", timeout_s=1) as connection:
            yield Caller(connection, await greet(connection, hello, CODEC))
        self.network.kill(host)

    def gauge(self, kind):
        family = next(f for f in self.registry.families() if f.name.endswith("_connections"))
        return family.series[(kind,)].value

    def told(self, probe, kind):
        return [message for message in probe.messages if isinstance(message, kind)]


@attrs.frozen
class Caller:
    connection: object
    welcome: object

    async def send(self, *messages, header=NOBODY):
        await self.connection.send(CODEC.encode(header, messages, trio.current_time()))

    async def receive(self):
        return CODEC.decode(await self.connection.receive(), trio.current_time()).messages


@asynccontextmanager
async def front_door():
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.system.run)
        await trio.sleep(0.1)
        yield world
        world.system.stop()


def client(world, session=70, host="client"):
    return world.dial(host, client_hello(session))


def peer(world, boot=5, host="peer"):
    return world.dial(host, local("peer:1", "n2", boot).hello())


def write(request_id, key=b"k"):
    return Write(request_id, 2, trio.current_time() + 1, [key], [b"\x01v"])


def replica_write(round_id):
    return ReplicaWrite(round_id, trio.current_time() + 1, [b"k"], [bytes(17)], [])


def replica_read(round_id):
    return ReplicaRead(round_id, trio.current_time() + 1, [b"k"], [], [])
