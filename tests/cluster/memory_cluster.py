"""A whole cluster in one process: nodes and clients on a simulated network, under virtual time.

Everything is the real thing but clock, randomness and network. One seed decides all three, so that
a test sees the same run every time.
"""

import hashlib
import random
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from loguru import logger

from actors.testing import VirtualClock
from cluster.assembly import Node
from cluster.client import Cache, Consistency, connect
from cluster.config import Config
from cluster.environment import SimulatedEnvironment, random_stream
from cluster.errors import ClusterError, NodeFailed
from cluster.net.memory import MemoryNetwork

ONE, QUORUM, ALL = Consistency.ONE, Consistency.QUORUM, Consistency.ALL
LEVELS = (ONE, QUORUM, ALL)
PORT = 7946
WALL_START_MS = 1_700_000_000_000
PATIENCE_S = 30.0
"""Virtual seconds that a condition may take."""


@attrs.define(eq=False)
class Life:
    """One life of a node.

    Attributes:
        host: where it lives; its address is `host:7946`.
        failure: what ended it, if it was not stopped or killed.
    """

    node: Node
    host: str
    scope: trio.CancelScope
    ended: trio.Event
    failure: BaseException | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{PORT}"

    def crash(self, actor: str, error: Exception | None = None) -> None:
        """Let an actor fail as if its own code had raised."""
        system = self.node.system
        cell = system._registry.find(actor, f"/{system.name}/")
        assert cell.current is not None, f"{actor} does not run"
        cell.current.crash(error or RuntimeError("planted"))

    def counter(self, name: str, **labels: str) -> float:
        """The sum over all series of a metric that have these labels."""
        family = next(each for each in self.node.registry.families() if each.name == name)
        return sum(
            series.value
            for values, series in family.series.items()
            if labels.items() <= dict(zip(family.label_names, values, strict=True)).items()
        )


class MemoryCluster:
    """Nodes by name; the hosts of their first lives have the same names."""

    def __init__(self, nursery: trio.Nursery, seed: int) -> None:
        self.seed = seed
        self.lives: dict[str, Life] = {}
        self.past: list[Life] = []
        self.results: list[str] = []
        """What clients were answered, in order; see `note`."""
        self.log: list[str] = []
        """Log lines of all nodes: `n1 warning text`."""
        self.carried = hashlib.blake2b()
        """Of every frame that was delivered: when, from, to, bytes."""
        self._nursery = nursery
        self._clients = 0
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, VirtualClock), "a memory cluster lives in virtual time"
        self._clock = clock
        rng = random_stream(seed, "network")
        self.network = MemoryNetwork(clock, rng, on_frame=self._on_frame)

    def logged(self, *parts: str) -> bool:
        """Whether some log line has all these parts."""
        return any(all(part in line for part in parts) for line in self.log)

    def write_log(self, message: Any) -> None:
        """Keep a line; a sink of loguru."""
        record = message.record
        level = record["level"].name.lower()
        self.log.append(f"{record['extra'].get('node', '')} {level} {record['message']}")

    def _on_frame(self, at: float, source: str, target: str, frame: bytes) -> None:
        self.carried.update(f"{at!r} {source} {target} ".encode() + frame)

    def __getitem__(self, name: str) -> Life:
        return self.lives[name]

    @property
    def names(self) -> list[str]:
        return list(self.lives)

    # ------------------------------------------------------------------ nodes

    async def start(
        self,
        name: str,
        *,
        host: str = "",
        seeds: tuple[str, ...] = (),
        skew_ms: int = 0,
        above: int = 0,
        **options,
    ) -> Life:
        """Start a node, in a boot later than `above`; returns once it listens."""
        host = host or name
        number = 1 + sum(life.node.config.node_id == name for life in self.past)
        config = Config(
            node_id=name,
            bind=f"{host}:{PORT}",
            seeds=tuple(f"{seed}:{PORT}" for seed in seeds),
            http=None,
            **({"virtual_nodes": 256} | options),
        )
        world = SimulatedEnvironment(
            self._seed_of(f"{name}/{number}"),
            self.network.transport(host),
            self._clock,
            WALL_START_MS,
            skew_ms,
        )
        life = Life(Node(config, world, above=above), host, trio.CancelScope(), trio.Event())
        self.lives[name] = life
        await self._nursery.start(self._live, life)
        return life

    async def _live(self, life: Life, task_status=trio.TASK_STATUS_IGNORED) -> None:
        with life.scope:
            try:
                await life.node.run(task_status=task_status)
            except NodeFailed as error:
                life.failure = error
        life.ended.set()

    def kill(self, name: str) -> Life:
        """SIGKILL: the network is gone first, so that nothing of the cleanup gets out."""
        life = self.lives.pop(name)
        self.past.append(life)
        self.network.kill(life.host)
        life.scope.cancel()
        return life

    async def stop(self, name: str) -> Life:
        """SIGTERM: returns when the node has ended."""
        life = self.lives.pop(name)
        self.past.append(life)
        await life.node.stop()
        await life.ended.wait()
        self.network.kill(life.host)
        return life

    async def serving(self, *names: str) -> None:
        """Wait until these nodes, or all, can reach a quorum for every key."""
        with trio.fail_after(PATIENCE_S):
            for name in names or self.names:
                await self.lives[name].node.serving.wait()

    async def wait_reachable(self, name: str, *others: str) -> None:
        """Wait until a node reaches exactly these others."""
        wanted = sorted({*others, name})
        with trio.fail_after(PATIENCE_S):
            while await self.reachable(name) != wanted:  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.05)

    async def reachable(self, name: str) -> list[str]:
        body = await self.ask(name, "members")
        return [each["id"] for each in body["members"] if each["state"] == "alive"]

    async def ask(self, name: str, topic: str, **arguments: Any) -> Any:
        """A control question, asked inside the node."""
        return await self.lives[name].node.face.answer(topic, arguments, 2.0)

    async def held(self, key: str) -> dict[str, str | None]:
        """Every node's own copy of a key: its stamp."""
        copies = {name: await self.ask(name, "record", key=key) for name in self.names}
        return {name: None if copy is None else copy["stamp"] for name, copy in copies.items()}

    # ------------------------------------------------------------------ clients

    @asynccontextmanager
    async def client(self, *names: str, host: str = "", **options: Any):
        """A client that has these nodes, or all, as seeds."""
        self._clients += 1
        host = host or f"client-{self._clients}"
        world = SimulatedEnvironment(
            self._seed_of(host), self.network.transport(host), self._clock, WALL_START_MS
        )
        seeds = [self.lives[name].address for name in names or self.names]
        async with connect(*seeds, environment=world, **options) as cache:
            yield cache

    @asynccontextmanager
    async def only(self, name: str, **options: Any):
        """A client that can talk to one node only, so that this node coordinates."""
        host = f"client-{self._clients + 1}"
        rest = [each for each in self.names if each != name]
        faults = self.network.partition(host, [self.lives[each].host for each in rest])
        try:
            async with self.client(name, host=host, **options) as cache:
                yield cache
        finally:
            for fault in faults:
                fault.stop()

    async def note(
        self, what: str, cache: Cache, call: str, *arguments: Any, **options: Any
    ) -> Any:
        """Do an operation and keep its outcome in `results`; an error is returned, not raised."""
        try:
            outcome = await getattr(cache, call)(*arguments, **options)
        except ClusterError as error:
            outcome = error
        self.results.append(f"{trio.current_time()!r} {what} {call} {arguments!r} {outcome!r}")
        return outcome

    def trace(self) -> bytes:
        """Everything that happened: trace rings of all lives, frames, results of operations."""
        lives = [*self.past, *self.lives.values()]
        rings = [repr(life.node.system.trace.raw()) for life in lives]
        return "\n".join([*rings, self.carried.hexdigest(), *self.results]).encode()

    def _seed_of(self, name: str) -> int:
        return random_stream(self.seed, name).getrandbits(64)


@asynccontextmanager
async def empty_cluster(seed: int = 1):
    """A network without nodes; whatever is started on it ends with the block."""
    async with trio.open_nursery() as nursery:
        cluster = MemoryCluster(nursery, seed)
        handler = logger.add(cluster.write_log, format="{message}")
        try:
            yield cluster
        finally:
            logger.remove(handler)
        nursery.cancel_scope.cancel("the test is over")


@asynccontextmanager
async def memory_cluster(nodes: int = 3, *, seed: int = 1, **options: Any):
    """Nodes n1, n2, ... that have founded a ring together and reach each other."""
    async with empty_cluster(seed) as cluster:
        names = [f"n{number}" for number in range(1, nodes + 1)]
        for name in names:
            seeds = () if name == "n1" else ("n1",)
            await cluster.start(name, seeds=seeds, bootstrap_expect=nodes, **options)
        await cluster.serving()
        for name in names:
            await cluster.wait_reachable(name, *names)
        yield cluster


def generator(seed: int, name: str = "test") -> random.Random:
    """Randomness of a test."""
    return random_stream(seed, name)
