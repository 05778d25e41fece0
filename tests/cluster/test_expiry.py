"""Values that have expired are let go by themselves, and nothing wakes up for it otherwise."""

import trio

from actors.testing import virtual
from tests.cluster.memory_cluster import ALL, memory_cluster

KEYS = [f"key-{number}" for number in range(200)]


async def held(cluster):
    """(records with a value that expires, records whose value is gone), per node."""
    stats = [(await cluster.ask(name, "stats"))["replicator"] for name in cluster.names]
    return [(each["records_expiring"], each["records_gone"]) for each in stats]


def wake_ups(cluster):
    """How often each replicator has looked for what expires."""
    return [
        len(cluster[name].node.system.trace.where(kind="timer", type="_Expire"))
        for name in cluster.names
    ]


@virtual()
async def test_every_copy_lets_go_of_its_value_soon_after_the_end():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("long", 1, ttl=3600, consistency=ALL)
        await trio.sleep(60)
        await cache.set_many(dict.fromkeys(KEYS, "value"), ttl=20, consistency=ALL)
        assert await held(cluster) == [(201, 0)] * 3
        await trio.sleep(19)
        assert await held(cluster) == [(201, 0)] * 3
        await trio.sleep(10)
        assert await held(cluster) == [(1, 200)] * 3, "though it slept for the long one"


@virtual()
async def test_a_record_that_is_overwritten_for_good_is_kept():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set_many(dict.fromkeys(KEYS, "old"), ttl=5, consistency=ALL)
        await cache.set_many(dict.fromkeys(KEYS, "new"), consistency=ALL)
        await trio.sleep(60)
        assert await held(cluster) == [(0, 0)] * 3
        assert await cache.get_many(KEYS) == dict.fromkeys(KEYS, "new")


@virtual()
async def test_nobody_wakes_up_while_nothing_expires():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set_many(dict.fromkeys(KEYS, "value"), consistency=ALL)
        await trio.sleep(600)
        assert wake_ups(cluster) == [0, 0, 0]
        await cache.set("key", 1, ttl=10, consistency=ALL)
        await trio.sleep(30)
        after = wake_ups(cluster)
        assert all(1 <= count <= 30 for count in after)
        await trio.sleep(600)
        assert wake_ups(cluster) == after
