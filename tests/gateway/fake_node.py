"""A node without a cluster: the actors that the faces ask, answering from plain data."""

import random
from contextlib import asynccontextmanager

import attrs
import trio

from actors import ActorSystem, Behaviour, ChildSpec, SupervisorSpec
from cluster.config import Config
from cluster.core.metrics import Registry
from cluster.core.ring import RingMember, RingView
from cluster.core.table import RecordTable
from cluster.gateway.control import ControlFace
from cluster.services.local import (
    GetMembers,
    GetRecord,
    GetReplicatorStatistics,
    GetRing,
    MemberStatus,
    RecordPage,
    RingStatus,
    ScanKeys,
)

WALL_MS = 1_700_000_000_000


@attrs.define
class World:
    """What the fake actors answer; change it and ask again."""

    ring: RingStatus
    members: tuple
    table: RecordTable
    wall_ms: int = WALL_MS
    mute: bool = False
    broken: bool = False


class RingKeeper(Behaviour):
    def __init__(self, world):
        self.world = world

    def receive(self, ctx, message):
        assert isinstance(message, GetRing)
        if self.world.mute:
            ctx.take_reply()
        elif self.world.broken:
            raise RuntimeError("planted")
        else:
            ctx.reply(self.world.ring)


class Peers(Behaviour):
    def __init__(self, world):
        self.world = world

    def receive(self, ctx, message):
        assert isinstance(message, GetMembers)
        ctx.reply(self.world.members)


class Replicator(Behaviour):
    def __init__(self, world):
        self.world = world

    def receive(self, ctx, message):
        table = self.world.table
        match message:
            case GetRecord():
                ctx.reply(table.get(message.key))
            case ScanKeys():
                try:
                    page = table.scan(message.cursor, message.limit, message.prefix)
                except ValueError as error:
                    ctx.fail(error)
                else:
                    ctx.reply(RecordPage([key for key, _ in page.records], page.cursor))
            case GetReplicatorStatistics():
                ctx.reply({"records": len(table), "records_bytes": 7, "requests": 3})


@attrs.frozen
class FakeEnvironment:
    world: World

    def now(self):
        return trio.current_time()

    def wall_ms(self):
        return self.world.wall_ms


@attrs.frozen
class FakeNode:
    world: World
    system: ActorSystem
    control: ControlFace
    registry: Registry
    config: Config


def ring_view(*ids, epoch=1):
    members = tuple(RingMember(each, f"{each}.example:7946") for each in ids)
    return RingView(epoch=epoch, members=members, virtual_nodes=256, replication_factor=3)


def member(node_id, state="alive", boot=5):
    return MemberStatus(node_id, f"{node_id}.example:7946", state, boot, "", 1.0, 0)


@asynccontextmanager
async def fake_node(children=lambda _: ()):
    """A running fake node n1; `children` gives specs of further actors, from a list that will hold
    it."""
    world = World(
        ring=RingStatus(view=ring_view("n1", "n2", "n3"), expected=3, known=3, conflict=""),
        members=(member("n1"), member("n2"), member("n3", "unreachable")),
        table=RecordTable(256),
    )
    config = Config(node_id="n1", request_timeout_s=0.5)
    registry = Registry()
    specs = [
        ChildSpec("ring_keeper", lambda: RingKeeper(world)),
        ChildSpec("peers", lambda: Peers(world)),
        ChildSpec("replicator", lambda: Replicator(world)),
    ]
    made = []
    root = SupervisorSpec("", (*specs, *children(made)))
    system = ActorSystem("n1", root, rng=random.Random(1))
    control = ControlFace(
        config, system, FakeEnvironment(world), registry, http_address="127.0.0.1:8946"
    )
    node = FakeNode(world, system, control, registry, config)
    made.append(node)
    async with trio.open_nursery() as nursery:
        await nursery.start(system.run)
        yield node
        system.stop()
