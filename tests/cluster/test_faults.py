"""Partitions, loss, latency and killed nodes: levels hold or say that they do not."""

import pytest
import trio

from actors.testing import virtual
from cluster.errors import Timeout, Unavailable
from tests.cluster.memory_cluster import ALL, LEVELS, ONE, QUORUM, generator, memory_cluster

REFUSED = (Unavailable, Timeout)


async def refuses(cache, level):
    """Neither "not found" nor success, for a key that is there."""
    with pytest.raises(REFUSED):
        await cache.get("key", consistency=level)
    with pytest.raises(REFUSED):
        await cache.set("other", "lost", consistency=level)
    with pytest.raises(REFUSED):
        await cache.delete("other", consistency=level)


@virtual()
@pytest.mark.parametrize(("nodes", "minority"), [(3, ["n1"]), (5, ["n1", "n2"])])
async def test_the_minority_refuses_and_the_majority_goes_on(nodes, minority):
    options = {"replication_factor": nodes}
    async with memory_cluster(nodes, **options) as cluster:
        majority = [name for name in cluster.names if name not in minority]
        async with cluster.client() as cache:
            await cache.set("key", "before", consistency=ALL)
        cluster.network.partition(minority, majority)
        async with cluster.only("n1") as left, cluster.only(majority[0]) as right:
            await refuses(left, QUORUM)
            await refuses(left, ALL)
            await refuses(right, ALL)
            assert await left.get("key", consistency=ONE) == "before"
            await left.set("one", "side", consistency=ONE)
            await right.set("key", "after", consistency=QUORUM)
            assert await right.get("key", consistency=QUORUM) == "after"
            cluster.network.heal()
            await trio.sleep(2)
            for level in (QUORUM, ALL):
                assert await left.get("key", consistency=level) == "after"
                await left.set("again", level.name, consistency=level)
                assert await right.get("again", consistency=level) == level.name


@virtual()
@pytest.mark.parametrize("direction", ["out", "in"])
async def test_a_node_cut_off_in_one_direction_promises_nothing(direction):
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", "before", consistency=ALL)
        way = ("n1", ["n2", "n3"]) if direction == "out" else (["n2", "n3"], "n1")
        cluster.network.cut(*way)
        async with cluster.only("n1") as left, cluster.only("n2") as right:
            await refuses(left, QUORUM)
            await right.set("key", "after")
            assert await right.get("key") == "after"
            cluster.network.heal()
            await trio.sleep(2)
            assert await left.get("key") == "after"


@virtual()
async def test_operations_succeed_on_a_lossy_slow_network():
    async with memory_cluster(3) as cluster, cluster.client("n1") as cache:
        hosts = cluster.names
        cluster.network.drop(hosts, hosts, 0.1)
        cluster.network.delay(hosts, hosts, 0.005, 0.05)
        rng = generator(5)
        written = {}
        for number in range(60):
            key = f"key-{rng.randrange(20)}"
            if rng.random() < 0.5:
                await cache.set(key, number, timeout=5)
                written[key] = number
            elif rng.random() < 0.3:
                await cache.delete(key, timeout=5)
                written.pop(key, None)
            else:
                assert await cache.get(key, timeout=5) == written.get(key)
        assert cluster.network.frames_lost > 10
        for name in hosts:
            async with cluster.only(name) as one:
                assert await one.get_many(written, timeout=5) == written
        stats = [(await cluster.ask(name, "stats"))["replicator"] for name in hosts]
        assert sum(each["resends"] for each in stats) > 10


@virtual()
async def test_a_lossy_way_between_client_and_node_leads_to_an_answer_or_a_timeout():
    async with memory_cluster(3) as cluster, cluster.client(host="client") as cache:
        cluster.network.drop("client", cluster.names, 0.1)
        cluster.network.drop(cluster.names, "client", 0.1)
        acknowledged = {}
        for number in range(40):
            key, value = f"key-{number % 10}", f"value-{number}"
            try:
                await cache.set(key, value, timeout=1)
                acknowledged[key] = [value]
            except Timeout:
                acknowledged.setdefault(key, []).append(value)
        cluster.network.heal()
        async with cluster.client() as other:
            for key, values in acknowledged.items():
                assert await other.get(key) in values


@virtual()
async def test_one_node_killed_of_three():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", "before", consistency=ALL)
        cluster.kill("n3")
        await cluster.wait_reachable("n1", "n2")
        await cluster.wait_reachable("n2", "n1")
        for name in cluster.names:
            async with cluster.only(name) as one:
                await one.set("key", name, consistency=QUORUM)
                for level in (ONE, QUORUM):
                    assert await one.get("key", consistency=level) == name
                with pytest.raises(Unavailable, match="3 of 3 owners and 2 can be reached"):
                    await one.get("key", consistency=ALL)
                with pytest.raises(Unavailable, match="3 of 3 owners and 2 can be reached"):
                    await one.set("key", "never", consistency=ALL)
                assert await one.get("key") == name


@virtual()
async def test_two_nodes_killed_of_three():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", "value", consistency=ALL)
        cluster.kill("n2")
        cluster.kill("n3")
        await cluster.wait_reachable("n1")
        for level in (QUORUM, ALL):
            with pytest.raises(Unavailable):
                await cache.get("key", consistency=level)
            with pytest.raises(Unavailable):
                await cache.get("absent", consistency=level)
            with pytest.raises(Unavailable):
                await cache.set("key", "never", consistency=level)
        assert await cache.get("key", consistency=ONE) == "value"


@virtual()
async def test_a_client_in_flight_survives_the_death_of_a_node():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        outcomes = {}

        async def writer(name):
            for number in range(40):
                key = f"{name}-{number}"
                try:
                    await cache.set(key, number, timeout=3)
                    outcomes[key] = {number}
                except Timeout:
                    outcomes[key] = {number, None}
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            for name in "abcd":
                nursery.start_soon(writer, name)
            await trio.sleep(0.15)
            cluster.kill("n2")
        assert sum(len(each) == 1 for each in outcomes.values()) > 120
        for key, allowed in outcomes.items():
            assert await cache.get(key) in allowed


@virtual()
async def test_a_client_finds_the_cluster_again_after_losing_all_nodes():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", "before")
        cluster.network.partition(["client-1"], cluster.names)
        with pytest.raises(REFUSED):
            await cache.get("key")
        await trio.sleep(60)
        cluster.network.heal()
        await trio.sleep(10)
        assert await cache.get("key") == "before"


@virtual()
async def test_a_client_learns_nodes_beyond_its_seed():
    async with memory_cluster(5) as cluster, cluster.client("n1") as cache:
        await cache.set("key", "value", consistency=ALL)
        await trio.sleep(1)
        cluster.kill("n1")
        for level in LEVELS[:2]:
            assert await cache.get("key", consistency=level) == "value"


@virtual()
async def test_a_stopped_node_refuses_new_requests_and_loses_none():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        done, failed = [], []

        async def writer(name):
            for number in range(50):
                try:
                    await cache.set(f"{name}-{number}", number)
                    done.append(f"{name}-{number}")
                except Timeout:
                    failed.append(f"{name}-{number}")
                await trio.sleep(0.005)

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(writer, name)
            await trio.sleep(0.1)
            life = await cluster.stop("n1")
        assert life.failure is None
        assert not failed
        assert len(done) == 150
        assert len(await cache.get_many(done)) == 150
