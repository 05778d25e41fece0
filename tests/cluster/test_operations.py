"""What clients do, on whole clusters without faults."""

import pytest
import trio

from actors.testing import virtual
from cluster.errors import BatchError, InvalidKey, InvalidValue, Unavailable, ValueTooLarge
from tests.cluster.memory_cluster import ALL, LEVELS, ONE, QUORUM, empty_cluster, memory_cluster


@virtual()
async def test_founders_agree_on_one_ring():
    async with memory_cluster(3) as cluster:
        rings = [await cluster.ask(name, "ring") for name in cluster.names]
        assert {ring["epoch"] for ring in rings} == {1}
        assert len({ring["digest"] for ring in rings}) == 1
        for name in cluster.names:
            status = await cluster.ask(name, "status")
            assert status["ready"]
            assert (status["members"], status["members_alive"]) == (3, 3)


@virtual()
async def test_nobody_serves_before_all_founders_have_met():
    async with empty_cluster() as cluster:
        await cluster.start("n1", bootstrap_expect=3)
        await cluster.start("n2", seeds=("n1",), bootstrap_expect=3)
        await cluster.wait_reachable("n1", "n2")
        async with cluster.client() as cache:
            for level in LEVELS:
                with pytest.raises(Unavailable, match="no ring yet"):
                    await cache.set("key", 1, consistency=level)
                with pytest.raises(Unavailable, match="no ring yet"):
                    await cache.get("key", consistency=level)
            assert not cluster["n1"].node.serving.is_set()
            await cluster.start("n3", seeds=("n1",), bootstrap_expect=3)
            await cluster.serving()
            await cache.set("key", 1, consistency=ALL)
            assert await cache.get("key", consistency=ALL) == 1


@virtual()
@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
async def test_every_node_coordinates_at_every_level(nodes):
    async with memory_cluster(nodes) as cluster:
        written = {}
        for name in cluster.names:
            async with cluster.only(name) as cache:
                for level in LEVELS:
                    key = f"{name}/{level.name}"
                    written[key] = f"by {name}"
                    await cache.set(key, written[key], consistency=level)
        await trio.sleep(1)
        for name in cluster.names:
            async with cluster.only(name) as cache:
                for level in LEVELS:
                    for key, value in written.items():
                        assert await cache.get(key, consistency=level) == value
                    assert await cache.get_many(written, consistency=level) == written
                    assert await cache.get("absent", "nothing", consistency=level) == "nothing"


@virtual()
async def test_a_key_is_held_by_its_owners_and_nobody_else():
    async with memory_cluster(5) as cluster, cluster.client() as cache:
        for number in range(50):
            key = f"key-{number}"
            stamp = await cache.set(key, number, consistency=ALL)
            owners = (await cluster.ask("n1", "ring", key=key))["owners"]
            assert len(owners) == 3
            held = await cluster.held(key)
            assert held == {name: str(stamp) if name in owners else None for name in cluster.names}


@virtual()
async def test_overwrite_delete_and_recreate_through_changing_coordinators():
    async with memory_cluster(3) as cluster:
        stamps = []
        for turn in range(12):
            async with cluster.only(f"n{turn % 3 + 1}") as cache:
                if turn % 4 == 3:
                    stamps.append(await cache.delete("key"))
                    assert await cache.get("key") is None
                else:
                    stamps.append(await cache.set("key", turn))
                    assert await cache.get("key") == turn
        assert stamps == sorted(stamps)
        assert len(set(stamps)) == len(stamps)


@virtual()
async def test_expiry_is_the_same_on_all_nodes_and_reads_do_not_extend_it():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", "value", ttl=10, consistency=ALL)
        entries = []
        for name in cluster.names:
            async with cluster.only(name) as one:
                entries.append(await one.get_entry("key"))
        assert len({(entry.stamp, entry.expires_at) for entry in entries}) == 1
        await trio.sleep(9)
        for level in LEVELS:
            assert await cache.get("key", consistency=level) == "value"
        await trio.sleep(1)
        for name in cluster.names:
            async with cluster.only(name) as one:
                for level in LEVELS:
                    assert await one.get("key", consistency=level) is None
        await trio.sleep(1)
        sizes = [await cluster.ask(name, "status") for name in cluster.names]
        assert len({size["bytes"] for size in sizes}) == 1, "the value is gone everywhere"


@virtual()
async def test_touch_prolongs_on_all_owners_and_never_shortens():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        stamp = await cache.set("key", "value", ttl=5)
        assert await cache.touch("key", 20, consistency=ALL)
        assert await cache.touch("key", 1, consistency=ALL)
        assert not await cache.touch("absent", 20)
        await trio.sleep(15)
        for name in cluster.names:
            async with cluster.only(name) as one:
                entry = await one.get_entry("key", consistency=ONE)
                assert (entry.value, entry.stamp) == ("value", stamp)
        await trio.sleep(6)
        assert await cache.get("key") is None


@virtual()
async def test_batches_span_owners():
    async with memory_cluster(5) as cluster, cluster.client() as cache:
        items = {f"key-{number}": number for number in range(500)}
        stamps = await cache.set_many(items)
        assert list(stamps) == list(items)
        assert await cache.get_many([*items, "absent"]) == items
        gone = list(items)[::2]
        await cache.delete_many(gone)
        assert await cache.get_many(items) == {k: n for k, n in items.items() if n % 2}


@virtual()
async def test_what_is_refused_is_refused_with_a_clear_line_and_changes_nothing():
    options = {"value_max_bytes": 1000, "frame_max_bytes": 1 << 16}
    async with memory_cluster(3, **options) as cluster, cluster.client() as cache:
        with pytest.raises(InvalidKey):
            await cache.set("", 1)
        with pytest.raises(InvalidKey):
            await cache.set("k" * 1025, 1)
        with pytest.raises(ValueTooLarge, match="at most 1000"):
            await cache.set("key", b"x" * 1001)
        with pytest.raises(InvalidValue):
            await cache.set("key", 1, ttl=-1)
        await cache.set("key", b"x" * 1000)
        assert await cache.get("key") == b"x" * 1000
        assert [(await cluster.ask(name, "status"))["records"] for name in cluster.names] == [1] * 3


@virtual()
async def test_equal_copies_are_read_without_a_single_write():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set_many({f"key-{number}": number for number in range(20)}, consistency=ALL)
        before = [(await cluster.ask(n, "stats"))["replicator"] for n in cluster.names]
        for number in range(20):
            for level in LEVELS:
                assert await cache.get(f"key-{number}", consistency=level) == number
        after = [(await cluster.ask(n, "stats"))["replicator"] for n in cluster.names]
        for name in ("replica_writes", "write_backs", "read_repairs", "restamps", "resends"):
            assert [each[name] for each in after] == [each[name] for each in before], name


@virtual()
async def test_answers_name_level_and_who_answered():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", 1, consistency=ALL)
        for level, least in ((ONE, 1), (QUORUM, 2), (ALL, 3)):
            entry = await cache.get_entry("key", consistency=level)
            assert (entry.level, entry.asked, entry.epoch) == (level, 3, 1)
            assert least <= entry.answered <= 3


@virtual()
async def test_many_clients_write_one_key_and_all_nodes_end_up_equal():
    async with memory_cluster(3) as cluster:
        stamps = []

        async def writer(number):
            async with cluster.only(f"n{number % 3 + 1}") as cache:
                stamps.extend([await cache.set("key", [number, turn]) for turn in range(10)])

        for number in range(3):
            await writer(number)
        async with (
            trio.open_nursery() as nursery,
            cluster.client("n1") as a,
            cluster.client("n2") as b,
        ):

            async def hammer(cache, name):
                stamps.extend([await cache.set("key", [name, turn]) for turn in range(30)])

            nursery.start_soon(hammer, a, "a")
            await hammer(b, "b")
        await trio.sleep(3)
        assert set((await cluster.held("key")).values()) == {str(max(stamps))}
        assert len(set(stamps)) == len(stamps)


@virtual()
async def test_a_batch_tells_which_keys_failed():
    async with memory_cluster(5) as cluster, cluster.client("n1") as cache:
        cluster.kill("n4")
        cluster.kill("n5")
        await cluster.wait_reachable("n1", "n2", "n3")
        items = {f"key-{number}": number for number in range(60)}
        with pytest.raises(BatchError) as raised:
            await cache.set_many(items)
        error = raised.value
        assert {*error.results, *error.errors} == {*items}
        assert error.results
        assert error.errors
        for key, reason in error.errors.items():
            assert isinstance(reason, Unavailable)
            owners = (await cluster.ask("n1", "ring", key=key))["owners"]
            assert len({"n4", "n5"} & {*owners}) == 2
        assert await cache.get_many(error.results) == {key: items[key] for key in error.results}
