"""Every topic of the control face, and every refusal, against real actors with plain answers."""

import attrs
import pytest
import trio
import trio.testing

from cluster.core import record as records
from cluster.core.clock import stamp
from cluster.errors import InternalError, InvalidKey, InvalidValue, Timeout
from cluster.options import release
from cluster.services.local import RingStatus
from tests.gateway.fake_node import WALL_MS, fake_node, member, ring_view

STAMP = stamp(WALL_MS << 16, 9)


def put(node, key, value=b"v", flags=records.BYTES, expiry_ms=0):
    node.world.table.apply(key, records.make(STAMP, bytes([flags]) + value, expiry_ms))


async def test_status():
    async with fake_node() as node:
        put(node, b"k")
        body = await node.control.answer("status", {}, 1)
        assert body["uptime_s"] >= 0
        del body["uptime_s"]
        view = node.world.ring.view
        assert body == {
            "node": "n1",
            "boot": 5,
            "address": "n1.example:7946",
            "http": "127.0.0.1:8946",
            "cluster": "default",
            "release": release(),
            "protocol": 1,
            "ready": True,
            "reason": "",
            "ring": {"epoch": 1, "digest": f"{view.digest:016x}", "phase": "stable"},
            "members": 3,
            "members_alive": 2,
            "records": 1,
            "bytes": 7,
            "wall_ms": WALL_MS,
            "clock_offset_max_ms": 500,
        }


async def test_members():
    async with fake_node() as node:
        node.world.members = (member("n1"),)
        assert await node.control.answer("members", {}, 1) == {
            "members": [
                {
                    "id": "n1",
                    "address": "n1.example:7946",
                    "state": "alive",
                    "incarnation": [5, 0],
                    "zone": "",
                    "weight": 1.0,
                    "warming": 0,
                }
            ]
        }


async def test_ring():
    async with fake_node() as node:
        body = await node.control.answer("ring", {}, 1)
        assert (body["epoch"], body["phase"], body["change"]) == (1, "stable", None)
        assert "owners" not in body
        assert [each["id"] for each in body["nodes"]] == ["n1", "n2", "n3"]
        assert [each["copies"] for each in body["nodes"]] == [256] * 3
        assert sum(each["primaries"] for each in body["nodes"]) == 256
        view = node.world.ring.view
        for arguments in ({"key": "user:1"}, {"key_b64": "dXNlcjox"}):
            body = await node.control.answer("ring", arguments, 1)
            assert body["owners"] == list(view.owners_of(b"user:1"))
            assert body["partition"] == view.partition_of(b"user:1")


async def test_no_ring():
    async with fake_node() as node:
        node.world.ring = RingStatus(view=None, expected=3, known=2, conflict="")
        body = await node.control.answer("ring", {"key": "k"}, 1)
        assert body == {
            "epoch": 0,
            "digest": "",
            "phase": "none",
            "nodes": [],
            "change": None,
            "partition": None,
            "owners": [],
        }
        assert "2 members known, 3 expected" in await node.control.readiness(1)
        status = await node.control.answer("status", {}, 1)
        assert status["ready"] is False
        node.world.ring = attrs.evolve(node.world.ring, expected=0)
        assert "looking for a cluster" in await node.control.readiness(1)


async def test_not_ready_for_other_reasons():
    async with fake_node() as node:
        assert await node.control.readiness(1) == ""
        node.world.ring = attrs.evolve(node.world.ring, conflict="two rings of epoch 1")
        assert "two rings of epoch 1" in await node.control.readiness(1)
        assert (await node.control.answer("ring", {}, 1))["conflict"] == "two rings of epoch 1"
        node.world.ring = RingStatus(ring_view("n2", "n3"), 3, 3, "")
        assert "owns nothing" in await node.control.readiness(1)


async def test_record():
    async with fake_node() as node:
        put(node, b"k", b"\xff", expiry_ms=WALL_MS + 1)
        assert await node.control.answer("record", {"key": "k"}, 1) == {
            "value": {"b64": "/w=="},
            "encoding": "bytes",
            "stamp": f"{WALL_MS << 16:016x}-{9:016x}",
            "expires_at_ms": WALL_MS + 1,
        }
        node.world.wall_ms = WALL_MS + 2
        assert await node.control.answer("record", {"key": "k"}, 1) is None
        assert await node.control.answer("record", {"key": "absent"}, 1) is None
        node.world.table.apply(b"deleted", records.tombstone(STAMP))
        assert await node.control.answer("record", {"key": "deleted"}, 1) is None


async def test_keys_are_paged():
    async with fake_node() as node:
        wanted = {f"k{number}" for number in range(25)}
        for key in wanted:
            put(node, key.encode())
        found, cursor, pages = [], "", 0
        while cursor is not None:
            body = await node.control.answer("keys", {"cursor": cursor, "limit": 10}, 1)
            assert len(body["keys"]) <= 10
            found += body["keys"]
            cursor, pages = body["cursor"], pages + 1
        assert sorted(found) == sorted(wanted)
        assert pages >= 3


async def test_keys_by_prefix_and_pattern():
    async with fake_node() as node:
        for key in (b"user:1", b"user:22", b"job:1", b"\xff\x00:1"):
            put(node, key)

        async def keys(**arguments):
            body = await node.control.answer("keys", arguments, 1)
            assert body["cursor"] is None
            return sorted(map(str, body["keys"]))

        assert await keys(prefix="user:") == ["user:1", "user:22"]
        assert await keys(match="*:1", prefix="user:") == ["user:1"]
        assert await keys(match="user:??") == ["user:22"]
        assert await keys(match="[!uj]*") == ["{'b64': '/wA6MQ=='}"]
        assert await keys(prefix_b64="/w==") == ["{'b64': '/wA6MQ=='}"]
        assert await keys(limit="2", prefix="nothing") == []


async def test_a_rare_pattern_does_not_scan_without_end():
    async with fake_node() as node:
        for number in range(300):
            put(node, f"k{number}".encode())
        body = await node.control.answer("keys", {"match": "none", "limit": 1}, 1)
        assert body["keys"] == []
        assert body["cursor"]


async def test_stats_and_latency():
    async with fake_node() as node:
        assert await node.control.answer("latency", {}, 1) == {}
        family = node.registry.histogram("hypercache_dist_operation_seconds", "Time.", ("op", "x"))
        family.labels("get", "a").observe(0.001)
        family.labels("get", "b").observe(0.002)
        body = await node.control.answer("latency", {}, 1)
        assert set(body) == {"get"}
        assert sum(body["get"]["counts"]) == 2
        assert len(body["get"]["bounds_s"]) == len(body["get"]["counts"]) - 1
        assert 0 < body["get"]["p50_s"] <= body["get"]["p95_s"] <= body["get"]["p99_s"] < 0.003
        stats = await node.control.answer("stats", {}, 1)
        assert "hypercache_dist_operation_seconds" in stats["metrics"]
        assert stats["replicator"]["requests"] == 3


async def test_config_actors_and_trace():
    async with fake_node() as node:
        assert await node.control.answer("config", {}, 1) == node.config.as_json()
        body = await node.control.answer("actors", {}, 1)
        paths = [each["path"] for each in body["children"]]
        assert paths == ["/n1/ring_keeper", "/n1/peers", "/n1/replicator"]
        assert body["children"][0]["state"] == "running"
        node.system.ref("peers").tell("wrong", chain=0xABC)
        await trio.testing.wait_all_tasks_blocked()
        body = await node.control.answer("trace", {"chain": "0xabc"}, 1)
        assert body["chain"] == "abc"
        assert {each["chain_id"] for each in body["records"]} == {"abc"}
        assert body["records"][0]["kind"] == "send"


@pytest.mark.parametrize(
    ("topic", "arguments", "error", "part"),
    [
        ("nonsense", {}, InvalidValue, "known: status, members"),
        ("status", {"key": "k"}, InvalidValue, "unknown argument 'key'; known: none"),
        ("ring", {"key": ""}, InvalidKey, "1 to 1024"),
        ("ring", {"key": "k" * 1025}, InvalidKey, "1 to 1024"),
        ("ring", {"key": 5}, InvalidValue, "key is text"),
        ("ring", {"key": "k", "key_b64": "aw=="}, InvalidValue, "not both"),
        ("record", {}, InvalidKey, "needs key="),
        ("record", {"key_b64": "?"}, InvalidValue, "no base64"),
        ("keys", {"limit": 0}, InvalidValue, "1 to 1000"),
        ("keys", {"limit": 1001}, InvalidValue, "1 to 1000"),
        ("keys", {"limit": "many"}, InvalidValue, "1 to 1000"),
        ("keys", {"limit": True}, InvalidValue, "1 to 1000"),
        ("keys", {"cursor": "zz.zz"}, InvalidValue, "cursor"),
        ("keys", {"prefix": "x" * 9000}, InvalidValue, "8192"),
        ("trace", {}, InvalidValue, "hexadecimal"),
        ("trace", {"chain": "xyz"}, InvalidValue, "hexadecimal"),
    ],
)
async def test_refusals(topic, arguments, error, part):
    async with fake_node() as node:
        with pytest.raises(error) as caught:
            await node.control.answer(topic, arguments, 1)
        assert part in str(caught.value)


async def test_an_actor_that_does_not_answer_is_a_timeout():
    async with fake_node() as node:
        node.world.mute = True
        with pytest.raises(Timeout):
            await node.control.answer("ring", {}, 0.05)


async def test_an_actor_that_crashes_is_an_internal_error():
    async with fake_node() as node:
        node.world.broken = True
        with pytest.raises(InternalError, match="planted"):
            await node.control.answer("ring", {}, 1)
        node.world.broken = False
        assert await node.control.readiness(1) == ""
