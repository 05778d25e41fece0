"""Seeded trouble on whole clusters: no acknowledged QUORUM write is lost, no read goes backwards.

Every key has one writer that writes rising numbers, so that each read can be judged by itself. A
write that timed out may take effect at any later time, or never.
"""

import random

import attrs
import pytest
import trio

from actors import introspection
from actors.testing import run_virtual
from cluster.errors import ClusterError
from tests.cluster.memory_cluster import ALL, QUORUM, generator, memory_cluster

KEYS = 4
TROUBLE_S = 8.0
OPERATIONS_MIN = 60
"""A run with fewer that succeeded has shown nothing."""


@attrs.define
class Key:
    """What is known of one key: numbers written, 0 for absent."""

    name: str
    acked: int = 0
    unknown: set[int] = attrs.field(factory=set)
    read: int = 0
    attempted: int = 0
    successes: int = 0

    def floor(self):
        """No read that begins now may answer less, unless it is of an unknown write."""
        return max(self.acked, self.read)

    def judge(self, floor, value):
        assert value <= self.attempted, f"{self.name}: {value} was never written"
        assert value >= floor or value in self.unknown, f"{self.name}: {value} after {floor}"
        if value not in self.unknown:
            self.read = max(self.read, value)
        self.successes += 1


async def write(cluster, key, rng, stop):
    async with cluster.client(timeout=0.4) as cache:
        while not stop.is_set():
            key.attempted += 1
            number = key.attempted
            try:
                await cache.set(key.name, number, consistency=rng.choice((QUORUM, QUORUM, ALL)))
                key.acked = max(key.acked, number)
                key.successes += 1
            except ClusterError as error:
                if error.executed is None:
                    key.unknown.add(number)
            await trio.sleep(rng.random() * 0.05)


async def read(cluster, keys, rng, stop):
    async with cluster.client(timeout=0.4) as cache:
        while not stop.is_set():
            key = rng.choice(keys)
            floor = key.floor()
            try:
                key.judge(floor, await cache.get(key.name, 0))
            except ClusterError:
                await trio.sleep(0.05)
            await trio.sleep(rng.random() * 0.02)


def strike(network, rng, some, rest):
    """One fault between some nodes and the rest, or among all."""
    names = [*some, *rest]
    match rng.randrange(4):
        case 0:
            return network.partition(some, rest)
        case 1:
            return (network.cut(some, rest),)
        case 2:
            return (network.drop(names, names, rng.uniform(0.05, 0.3)),)
        case _:
            return (network.delay(some, rest, 0.0, rng.uniform(0.01, 0.3)),)


async def trouble(cluster, rng: random.Random, stop):
    """Faults that come and go and overlap; nobody loses memory."""
    network, names = cluster.network, cluster.names
    crashed = []
    end = trio.current_time() + TROUBLE_S
    while trio.current_time() < end:
        some = rng.sample(names, rng.randrange(1, len(names)))
        rest = [name for name in names if name not in some]
        faults = strike(network, rng, some, rest)
        if rng.random() < 0.3 and some[0] not in crashed:
            crashed.append(some[0])  # once each: more would be over the limit of restarts
            cluster[some[0]].crash(rng.choice(("ring_keeper", "peers", "front_door")))
        await trio.sleep(rng.uniform(0.1, 0.6))
        for fault in faults:
            if rng.random() < 0.8:
                fault.stop()
        if rng.random() < 0.3:
            network.heal()
    network.heal()
    stop.set()


async def scenario(seed, nodes, replication_factor):
    rng = generator(seed, "random faults")
    options = {"replication_factor": replication_factor}
    async with memory_cluster(nodes, seed=seed, **options) as cluster:
        keys = [Key(f"key-{number}") for number in range(KEYS)]
        stop = trio.Event()
        for name in cluster.names:
            cluster[name].node.environment.skew_ms = rng.randrange(-200, 200)
        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(write, cluster, key, generator(seed, key.name), stop)
            for number in range(3):
                nursery.start_soon(read, cluster, keys, generator(seed, f"reader-{number}"), stop)
            await trouble(cluster, rng, stop)
        await trio.sleep(10)
        async with cluster.client(timeout=5) as cache:
            for key in keys:
                key.judge(key.floor(), await cache.get(key.name, 0, consistency=ALL))
                await cache.set(key.name, "healed", consistency=ALL)
            await trio.sleep(3)
            for key in keys:
                assert len({*(await cluster.held(key.name)).values()} - {None}) == 1
        assert sum(key.successes for key in keys) > OPERATIONS_MIN
        for name in cluster.names:
            assert not cluster[name].ended.is_set()
            tree = introspection.actors(cluster[name].node.system.introspect())
            assert {each.last_error for each in tree} <= {"", "RuntimeError('planted')"}


@pytest.mark.parametrize(
    ("seed", "nodes", "replication_factor"), [(1, 3, 3), (2, 3, 3), (3, 5, 3), (4, 5, 5), (5, 4, 3)]
)
def test_quorum_holds_under_trouble_that_overlaps(seed, nodes, replication_factor):
    run_virtual(scenario, seed, nodes, replication_factor, seed=seed)
