"""An idle cluster is silent: no frames, no repairs, nothing that grows."""

import trio

from actors import introspection
from actors.testing import virtual
from tests.cluster.memory_cluster import ALL, memory_cluster

QUIET_S = 600

FLAT = ("rounds", "resends", "write_backs", "read_repairs", "replica_writes", "replica_reads")


async def counted(cluster):
    stats = [(await cluster.ask(name, "stats"))["replicator"] for name in cluster.names]
    frames = [cluster[name].counter("hypercache_dist_frames_total") for name in cluster.names]
    return frames, [[each[name] for name in FLAT] for each in stats]


@virtual()
async def test_nothing_is_sent_in_ten_minutes_without_requests():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set_many({f"key-{number}": number for number in range(100)}, consistency=ALL)
        assert len(await cache.get_many([f"key-{number}" for number in range(100)])) == 100
        await trio.sleep(30)
        before, carried = await counted(cluster), cluster.network.frames_carried
        await trio.sleep(QUIET_S)
        assert cluster.network.frames_carried == carried
        assert await counted(cluster) == before


@virtual()
async def test_requests_that_are_over_leave_nothing_behind():
    async with memory_cluster(3) as cluster:
        async with cluster.client() as cache:
            for number in range(50):
                await cache.set(f"key-{number}", number, ttl=5)
        cluster.network.partition("n1", ["n2", "n3"])
        async with cluster.only("n1") as one:
            for number in range(5):
                await cluster.note("n1", one, "set", f"key-{number}", 1, timeout=0.5)
        cluster.network.heal()
        await trio.sleep(10)
        async with cluster.client() as cache:
            await cache.set("last", 1)
        await trio.sleep(90)
        async with cluster.client() as cache:
            await cache.set("laster", 1)
        await trio.sleep(70)
        for name in cluster.names:
            stats = (await cluster.ask(name, "stats"))["replicator"]
            for gauge in ("requests_pending", "rounds_write", "rounds_read"):
                assert stats[gauge] == 0, (name, gauge)
            assert stats["sessions"] <= 3, "sessions that left are forgotten when others leave"
            assert cluster[name].counter("hypercache_dist_connections", kind="client") == 0
            assert cluster[name].counter("hypercache_dist_connections", kind="peer") == 2
            tree = list(introspection.actors(cluster[name].node.system.introspect()))
            assert not [each.path for each in tree if "session-" in each.path]
            assert all(each.queue_len == 0 for each in tree)
