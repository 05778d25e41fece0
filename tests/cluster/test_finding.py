"""How nodes find each other: partial seed lists, moves, restarts, strangers."""

import pytest
import trio

from actors.testing import virtual
from tests.cluster.memory_cluster import ALL, QUORUM, empty_cluster, memory_cluster


@virtual()
async def test_a_chain_of_seeds_is_enough_for_one_ring():
    async with empty_cluster() as cluster:
        await cluster.start("n1", bootstrap_expect=4)
        await cluster.start("n2", seeds=("n1",), bootstrap_expect=4)
        await cluster.start("n3", seeds=("n2",), bootstrap_expect=4)
        await cluster.start("n4", seeds=("n3",), bootstrap_expect=4)
        await cluster.serving()
        rings = [await cluster.ask(name, "ring") for name in cluster.names]
        assert len({ring["digest"] for ring in rings}) == 1
        for name in cluster.names:
            await cluster.wait_reachable(name, *cluster.names)


@virtual()
async def test_seeds_may_be_up_later_than_those_who_ask_for_them():
    async with empty_cluster() as cluster:
        everyone = ("n1", "n2", "n3")
        for name in everyone:
            cluster.network.transport(name)
            cluster.network.kill(name)
        for name in reversed(everyone):
            await cluster.start(name, seeds=everyone, bootstrap_expect=3)
            await trio.sleep(20)
        await cluster.serving()


@virtual()
@pytest.mark.parametrize("seed", range(6))
async def test_founding_survives_lost_introductions(seed):
    everyone = ("n1", "n2", "n3")
    async with empty_cluster(seed) as cluster:
        cluster.network.drop(everyone, everyone, 0.25)
        for name in everyone:
            seeds = () if name == "n1" else ("n1",)
            await cluster.start(name, seeds=seeds, bootstrap_expect=3)
        await cluster.serving()
        for name in everyone:
            await cluster.wait_reachable(name, *everyone)


@virtual()
async def test_a_seed_list_may_name_the_node_itself():
    async with empty_cluster() as cluster:
        everyone = ("n1", "n2", "n3")
        for name in everyone:
            await cluster.start(name, seeds=everyone, bootstrap_expect=3)
        await cluster.serving()
        for name in everyone:
            await cluster.wait_reachable(name, *everyone)
        before = cluster.network.frames_carried
        await trio.sleep(60)
        assert cluster.network.frames_carried == before, "it stopped dialling itself"


@virtual()
async def test_a_restarted_node_at_another_address_takes_its_place_again():
    async with memory_cluster(3) as cluster, cluster.client("n1", "n2") as cache:
        await cache.set("key", "before", consistency=ALL)
        old = cluster.kill("n3")
        await cluster.wait_reachable("n1", "n2")
        new = await cluster.start("n3", host="elsewhere", seeds=("n1",), bootstrap_expect=3)
        assert new.node.boot > old.node.boot
        for name in cluster.names:
            await cluster.wait_reachable(name, *cluster.names)
        members = (await cluster.ask("n1", "members"))["members"]
        assert {each["id"]: each["address"] for each in members}["n3"] == new.address
        await cache.set("key", "after", consistency=ALL)
        assert len(set((await cluster.held("key")).values())) == 1
        async with cluster.client("n1") as fresh:
            cluster.kill("n2")
            await trio.sleep(1)
            await fresh.set("key", "after", consistency=QUORUM)
        async with cluster.only("n3") as one:
            assert await one.get("key", consistency=QUORUM) == "after"


@virtual()
async def test_a_node_restarted_at_its_address_without_seeds_is_found_by_the_others():
    async with memory_cluster(3) as cluster, cluster.client("n2") as cache:
        await cache.set("key", "before", consistency=ALL)
        cluster.kill("n1")
        await cluster.wait_reachable("n2", "n3")
        await cluster.start("n1", bootstrap_expect=3)
        await cluster.serving()
        for name in cluster.names:
            await cluster.wait_reachable(name, *cluster.names)
        await cache.set("key", "after", consistency=ALL)
        async with cluster.only("n1") as one:
            assert await one.get("key") == "after"


@virtual()
async def test_a_node_that_only_joins_learns_the_ring_and_coordinates():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", "value", consistency=ALL)
        await cluster.start("n4", seeds=("n2",))
        await cluster.serving("n4")
        await cluster.wait_reachable("n4", *cluster.names)
        assert (await cluster.ask("n4", "ring"))["epoch"] == 1
        async with cluster.only("n4") as one:
            assert await one.get("key") == "value"
            await one.set("key", "by a stranger")
        assert await cache.get("key") == "by a stranger"
        assert (await cluster.ask("n4", "status"))["records"] == 0
        assert "owns nothing" in (await cluster.ask("n4", "status"))["reason"]


@virtual()
async def test_clusters_of_other_names_and_shapes_are_refused_on_both_sides():
    async with memory_cluster(3) as cluster:
        await cluster.start("x1", seeds=("n1",), bootstrap_expect=4, cluster_name="other")
        await cluster.start("x2", seeds=("n1",), bootstrap_expect=4, virtual_nodes=512)
        await cluster.start("x3", seeds=("n1",), bootstrap_expect=4, replication_factor=2)
        await trio.sleep(10)
        for name in ("x1", "x2", "x3"):
            assert await cluster.reachable(name) == [name]
        assert await cluster.reachable("n1") == ["n1", "n2", "n3"]
        for name, reason in (
            ("x1", "cluster 'default', not 'other'"),
            ("x2", "256 virtual nodes, not 512"),
            ("x3", "replication factor 3, not 2"),
        ):
            told = [line for line in cluster.log if line.startswith(name) and reason in line]
            assert len(told) == 1, "once, not at every attempt"
            assert cluster.logged(f"refused {name}", reason)


@virtual()
async def test_a_second_node_of_the_same_name_is_refused():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", "value", consistency=ALL)
        first = cluster["n3"]
        double = await cluster.start("n3", host="double", seeds=("n3",), bootstrap_expect=3)
        await trio.sleep(10)
        assert await double.node.face.answer("status", {}, 2.0)
        assert cluster.logged("n3 warning", "node id n3 is taken by the node at n3:7946")
        cluster.lives["n3"] = first
        assert await cluster.reachable("n1") == ["n1", "n2", "n3"]
        assert await cache.get("key", consistency=ALL) == "value"
        cluster.lives["n3 double"] = double


@virtual()
async def test_wall_clocks_that_differ_within_the_limit_do_not_matter():
    async with empty_cluster() as cluster:
        skews = {"n1": -200, "n2": 0, "n3": 200}
        for name, skew_ms in skews.items():
            seeds = () if name == "n1" else ("n1",)
            await cluster.start(name, seeds=seeds, bootstrap_expect=3, skew_ms=skew_ms)
        await cluster.serving()
        stamps = []
        for turn in range(30):
            async with cluster.only(f"n{3 - turn % 3}") as one:
                stamps.append(await one.set("key", turn))
                assert await one.get("key") == turn
        assert stamps == sorted(stamps), "each write comes after the one before it"
