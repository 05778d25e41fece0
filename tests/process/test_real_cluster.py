"""Three real processes over websockets: levels, the loss of a node, the JSON codec."""

import json

import pytest
import trio

from cluster.client import Consistency, connect
from cluster.errors import Timeout, Unavailable
from cluster.launch import launch_cluster

pytestmark = pytest.mark.process

ONE, QUORUM, ALL = Consistency.ONE, Consistency.QUORUM, Consistency.ALL
PATIENCE_S = 10.0


async def members_alive(cache, node):
    body = await cache.control("members", node=node)
    return [each["id"] for each in body["members"] if each["state"] == "alive"]


async def wait_alive(cache, node, wanted):
    with trio.fail_after(PATIENCE_S):
        while await members_alive(cache, node) != wanted:  # noqa: ASYNC110 - a process
            await trio.sleep(0.02)


async def through_every_node(cluster, level, values, **options):
    """Write one value through each node, then read all of them through each."""
    for node in cluster.nodes:
        async with connect(node.ws, consistency=level, **options) as cache:
            for key, value in values.items():
                await cache.set(f"{node.id}/{level.name}/{key}", value)
    for node in cluster.nodes:
        async with connect(node.ws, consistency=level, **options) as cache:
            for writer in cluster.nodes:
                for key, value in values.items():
                    assert await cache.get(f"{writer.id}/{level.name}/{key}") == value


async def test_writes_through_each_node_are_read_through_each(local_cluster):
    values = {"bytes": b"\x00\xff", "text": "grüße", "number": -1.5, "nested": {"a": [None, True]}}
    for level in (QUORUM, ALL):
        await through_every_node(local_cluster, level, values)
    async with connect(*local_cluster.addresses) as cache:
        items = {f"many-{number}": "x" * 100 for number in range(5_000)}
        await cache.set_many(items, timeout=20)
        assert await cache.get_many(items, timeout=20) == items
        await cache.set("big", b"x" * (1 << 20), consistency=ALL)
        assert await cache.get("big", consistency=ALL) == b"x" * (1 << 20)
        await cache.delete("big", consistency=ALL)
        assert await cache.get("big", consistency=ONE) is None


async def test_one_node_killed_quorum_goes_on_and_all_refuses(local_cluster):
    first, second, third = local_cluster.nodes
    async with connect(first.ws, second.ws) as cache:
        items = {f"key-{number}": number for number in range(500)}
        await cache.set_many(items)
        await third.kill()
        # A write that had left for the dead node would rightly end as a Timeout: whether it took
        # effect is unknown. By the time the others have noticed, so has this client.
        for node in ("n1", "n2"):
            await wait_alive(cache, node, ["n1", "n2"])
        await cache.set("key-0", "during", timeout=5)
        assert await cache.get("key-0", timeout=5) == "during"
        for node in (first, second):
            async with connect(node.ws) as one:
                await one.set("key-1", node.id)
                assert await one.get("key-1") == node.id
                assert await one.get("key-1", consistency=ONE) == node.id
                for level in (ALL,):
                    with pytest.raises(Unavailable, match="3 of 3 owners and 2 can be reached"):
                        await one.set("key-1", "never", consistency=level)
                    with pytest.raises(Unavailable):
                        await one.get("absent", consistency=level)
        assert await cache.get("key-1") == "n2"
        await third.restart()
        for node in ("n1", "n2", "n3"):
            await wait_alive(cache, node, ["n1", "n2", "n3"])
        await cache.set("key-1", "after", consistency=ALL)
        assert len(await cache.get_many(items)) == 500


async def test_a_client_in_use_hardly_notices_the_death_of_a_node(local_cluster):
    outcomes = {}

    async def writer(cache, name):
        for number in range(100):
            key = f"{name}-{number}"
            try:
                await cache.set(key, number, timeout=5)
                outcomes[key] = {number}
            except Timeout:
                outcomes[key] = {number, None}
            await trio.sleep(0.002)

    async with connect(*local_cluster.addresses) as cache:
        async with trio.open_nursery() as nursery:
            for name in "abcdef":
                nursery.start_soon(writer, cache, name)
            await trio.sleep(0.1)
            await local_cluster.node("n2").kill()
        assert len(outcomes) == 600
        for key, allowed in outcomes.items():
            assert await cache.get(key) in allowed


async def test_the_json_codec_works_end_to_end(tmp_path):
    options = ("--codec", "json", "--log-format", "json")
    async with launch_cluster(3, options=options, log_dir=tmp_path) as cluster:
        values = {"bytes": b"\x00\xff", "text": "grüße", "number": 7, "nested": {"$b64": ["x"]}}
        for codec in ("json", "msgpack"):
            await through_every_node(cluster, ALL, values, codec=codec)
        async with connect(*cluster.addresses, codec="json") as cache:
            items = {f"key-{number}": "x" * 1000 for number in range(3000)}
            await cache.set_many(items, timeout=20)
            assert await cache.get_many(items, timeout=20) == items
            await cache.set("big", b"x" * (1 << 20), consistency=ALL, timeout=10)
            assert await cache.get("big", consistency=ALL, timeout=10) == b"x" * (1 << 20)
        for node in cluster.nodes:
            for line in node.log_path.read_text().splitlines():
                assert json.loads(line)["node"] == node.id
