"""Actors that crash: data and service stay, except where the promises rest on the actor."""

import pytest
import trio

from actors import introspection
from actors.testing import virtual
from cluster.errors import NodeFailed, Timeout, Unavailable
from tests.cluster.memory_cluster import ALL, LEVELS, PATIENCE_S, empty_cluster, memory_cluster


def crashes(life):
    """How often each actor has crashed so far."""
    tree = life.node.system.introspect()
    return {each.path: each.crashes for each in introspection.actors(tree) if each.crashes}


async def settled(cluster):
    """Everyone reaches everyone, and every level works through every node."""
    for name in cluster.names:
        await cluster.wait_reachable(name, *cluster.names)
    for name in cluster.names:
        async with cluster.only(name) as one:
            assert await one.get("key", consistency=ALL) == "before"
            for level in LEVELS:
                await one.set(f"after-{name}", level.name, consistency=level)
                assert await one.get(f"after-{name}", consistency=level) == level.name


@virtual()
@pytest.mark.parametrize("actor", ["pulse", "ring_keeper", "peers", "front_door", "peers/link-1"])
async def test_the_crash_of_an_actor_leaves_data_and_service_intact(actor):
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", "before", consistency=ALL)
        life, boot = cluster["n1"], cluster["n1"].node.boot
        life.crash(actor)
        await trio.sleep(1)
        assert crashes(life) == {f"/n1/{actor}": 1}
        await settled(cluster)
        assert life.node.boot == boot
        assert life.failure is None
        assert not life.ended.is_set()
        assert (await cluster.ask("n1", "ring"))["epoch"] == 1
        assert cluster.logged("n1 error", f"/n1/{actor} crashed")


@virtual()
@pytest.mark.parametrize("actor", ["ring_keeper", "peers", "front_door"])
async def test_the_same_crash_in_all_nodes_at_once(actor):
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", "before", consistency=ALL)
        for name in cluster.names:
            cluster[name].crash(actor)
        await trio.sleep(1)
        await settled(cluster)
        assert await cache.get("key", consistency=ALL) == "before"


@virtual()
@pytest.mark.parametrize("actor", ["ring_keeper", "peers", "front_door"])
async def test_a_crash_before_the_ring_is_founded_delays_it_only(actor):
    async with empty_cluster() as cluster:
        await cluster.start("n1", bootstrap_expect=3)
        await cluster.start("n2", seeds=("n1",), bootstrap_expect=3)
        await cluster.wait_reachable("n1", "n2")
        cluster["n1"].crash(actor)
        await trio.sleep(1)
        await cluster.start("n3", seeds=("n1",), bootstrap_expect=3)
        await cluster.serving()


@virtual()
async def test_a_client_hardly_notices_that_the_front_door_crashed():
    async with memory_cluster(1) as cluster, cluster.client() as cache:
        await cache.set("key", "before")
        cluster["n1"].crash("front_door")
        assert await cache.get("key", timeout=5) == "before"


@virtual()
async def test_a_link_that_crashes_while_its_peer_is_gone_is_known_to_be_down():
    async with memory_cluster(3) as cluster:
        cluster.network.partition("n1", "n3")
        members = (await cluster.ask("n1", "members"))["members"]
        assert [each["state"] for each in members] == ["alive"] * 3, "nothing tells it so far"
        for link in ("peers/link-1", "peers/link-2"):
            cluster["n1"].crash(link)
        await trio.sleep(10)
        assert await cluster.reachable("n1") == ["n1", "n2"]
        async with cluster.only("n1") as one:
            with pytest.raises(Unavailable):
                await one.set("key", 1, consistency=ALL)
            await one.set("key", 1)


@virtual()
async def test_a_crash_of_the_replicator_ends_the_node_with_a_clear_reason():
    async with memory_cluster(3) as cluster, cluster.client("n2", "n3") as cache:
        await cache.set("key", "before", consistency=ALL)
        life = cluster["n1"]
        life.crash("replicator")
        with trio.fail_after(PATIENCE_S):
            await life.ended.wait()
        assert isinstance(life.failure, NodeFailed)
        assert str(life.failure).startswith("/n1/replicator ended after 0 restarts")
        assert str(life.failure).endswith("RuntimeError: planted")
        assert cluster.logged("n1 error", "/n1/replicator crashed")
        del cluster.lives["n1"]
        cluster.network.kill("n1")
        await cluster.wait_reachable("n2", "n3")
        await cache.set("key", "after")
        assert await cache.get("key") == "after"
        with pytest.raises(Unavailable):
            await cache.get("key", consistency=ALL)
        await cluster.start("n1", seeds=("n2",), bootstrap_expect=3)
        await cluster.serving("n1")
        assert cluster["n1"].node.boot > life.node.boot


@virtual()
async def test_requests_in_flight_when_the_replicator_crashes_are_never_acknowledged():
    async with memory_cluster(1) as cluster, cluster.client() as cache:
        outcomes = []

        async def write(number):
            try:
                outcomes.append(await cache.set(f"key-{number}", number, timeout=1))
            except (Timeout, Unavailable) as error:
                outcomes.append(error)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(write, number)
            cluster["n1"].crash("replicator")
        assert len(outcomes) == 20
        assert all(isinstance(each, Timeout | Unavailable) for each in outcomes)


@virtual()
async def test_crash_after_crash_of_a_face_ends_the_node_in_the_end():
    async with memory_cluster(1) as cluster:
        life = cluster["n1"]
        with trio.fail_after(PATIENCE_S):
            for _ in range(100):
                if life.ended.is_set():
                    break
                if life.node.system._registry.find("front_door", "/n1/").current is not None:
                    life.crash("front_door")
                await trio.sleep(0.05)
        assert life.ended.is_set()
        assert isinstance(life.failure, NodeFailed)
        assert str(life.failure).startswith("/n1/front_door ended after 3 restarts")
        assert str(life.failure).endswith("RuntimeError: planted")
