"""Bad input against a real node: it ends its own connection, with a reason, and nothing else."""

import random
import socket
import struct

import msgpack
import pytest
import trio
import trio_websocket

from cluster.client import Consistency, connect
from cluster.core.operations import WriteReply
from cluster.wire.handshake import Reject, client_hello
from cluster.wire.messages import ProtocolFailure, RingState
from tests.process.raw import (
    CODEC,
    NOBODY,
    ending,
    frame,
    greeted,
    peer_hello,
    reset,
    resident_bytes,
    wait_gauge,
    wait_logged,
    websocket,
)

pytestmark = pytest.mark.process

GROWTH_BYTES_MAX = 8 << 20
PROTOCOL_ERROR, UNSUPPORTED, REFUSED, TOO_BIG = 1002, 1003, 1008, 1009
DEEP = 2_000


def write_row(keys, bodies, *, request_id=1, level=1, budget_ms=1000, ttl_ms=0):
    return [1, request_id, level, budget_ms, keys, bodies, ttl_ms]


BAD_FRAMES = {
    "no msgpack": (b"\x95\xc1\xc1\xc1\xc1\xc1", PROTOCOL_ERROR, "no msgpack"),
    "cut off": (frame(write_row([b"k"], [b"\x01v"]))[:-3], PROTOCOL_ERROR, "ends early"),
    "something behind": (frame() + b"\x00", PROTOCOL_ERROR, "1 bytes after the frame"),
    "empty": (b"", PROTOCOL_ERROR, "ends early"),
    "no frame": (msgpack.packb({"a": 1}), PROTOCOL_ERROR, "a frame is a list of 5 fields"),
    "other version": (frame(version=9), PROTOCOL_ERROR, "protocol version 9"),
    "unknown tag": (frame([200, 1]), PROTOCOL_ERROR, "unknown message type 200"),
    "no tag": (frame([]), PROTOCOL_ERROR, "begins with its tag"),
    "message of a peer": (
        frame([22, 1, 1, [], 0]),
        PROTOCOL_ERROR,
        "a client sends no ReplicaWriteReply",
    ),
    "int for bytes": (frame(write_row([1 << 30], [b"\x01v"])), PROTOCOL_ERROR, "expected bytes"),
    "int for list": (frame(write_row(1 << 30, [b"\x01v"])), PROTOCOL_ERROR, "Write.keys"),
    "str for bytes": (frame(write_row(["k"], [b"\x01v"])), PROTOCOL_ERROR, "expected bytes"),
    "bool for int": (
        frame(write_row([b"k"], [b"\x01v"], request_id=True)),
        PROTOCOL_ERROR,
        "Write.request_id",
    ),
    "too few bodies": (frame(write_row([b"k", b"l"], [b"\x01v"])), PROTOCOL_ERROR, "1 items for 2"),
    "negative budget": (
        frame(write_row([b"k"], [b"\x01v"], budget_ms=-1)),
        PROTOCOL_ERROR,
        "budget of 0 to",
    ),
    "announced list": (
        b"\x95\x01\x00\x00\x00\xdd\xff\xff\xff\xff",
        PROTOCOL_ERROR,
        "ends early",
    ),
    "announced bytes": (
        b"\x95\x01\x00\x00\x00\x91\xc6\xff\xff\xff\xff",
        PROTOCOL_ERROR,
        "ends early",
    ),
    "list of lists of lists": (b"\x91" * DEEP + b"\x00", PROTOCOL_ERROR, "nested too deep"),
    "lists announced in lists": (
        b"\xdd\x00\x01\x86\xa0" * 500,
        PROTOCOL_ERROR,
        "ends early",
    ),
    "text": ('["hello"]', UNSUPPORTED, "frames are binary"),
    "larger than a frame": (
        b"\x95" * ((4 << 20) + 1),
        TOO_BIG,
        "maximum message size: 4194304 bytes",
    ),
}


async def end_of(address, data):
    async with greeted(address) as opened:
        await opened.send_message(data)
        return await ending(opened)


async def test_each_bad_frame_ends_its_connection_and_nothing_else(local_cluster):
    node = local_cluster.nodes[0]
    async with connect(*local_cluster.addresses) as cache:
        await cache.set_many({f"key-{number}": number for number in range(100)})
        links = cache.statistics().links
        before = resident_bytes(node.pid)
        for name, (data, code, reason) in BAD_FRAMES.items():
            got = await end_of(node.ws, data)
            assert got[0] == code, (name, got)
            assert reason in got[1], (name, got)
            assert await cache.get("key-1") == 1
        growth = resident_bytes(node.pid) - before
        assert growth < GROWTH_BYTES_MAX
        for _, _, reason in BAD_FRAMES.values():
            await wait_logged(node, reason)
        assert "Traceback" not in node.log_path.read_text()
        assert cache.statistics().links == links
        assert len(await cache.get_many(f"key-{number}" for number in range(100))) == 100
        name = "hypercache_dist_protocol_errors_total"
        await wait_gauge(cache, "n1", name, len(BAD_FRAMES), kind="client")
        await wait_gauge(cache, "n1", "hypercache_dist_connections", 1, kind="client")


async def test_random_frames_never_harm_a_node(local_cluster):
    rng = random.Random(20)
    node = local_cluster.nodes[0]
    good = frame(write_row([b"key", b"other"], [b"\x01a", b"\x01b"]))
    async with connect(*local_cluster.addresses) as cache:
        await cache.set("safe", "value")
        before = resident_bytes(node.pid)
        for turn in range(150):
            if turn % 2:
                data = rng.randbytes(rng.randrange(1, 200))
            else:
                spoilt = bytearray(good)
                for _ in range(rng.randrange(1, 4)):
                    spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
                data = bytes(spoilt)
            async with greeted(node.ws) as opened:
                try:
                    await opened.send_message(data)
                    await opened.send_message(frame([200]))
                    code, reason, _ = await ending(opened)
                except trio_websocket.ConnectionClosed as closed:
                    code, reason = closed.reason.code, closed.reason.reason
            assert code == PROTOCOL_ERROR, (turn, data)
            assert reason, (turn, data)
        assert resident_bytes(node.pid) - before < GROWTH_BYTES_MAX
        assert await cache.get("safe") == "value"
        assert "Traceback" not in node.log_path.read_text()
        await wait_gauge(cache, "n1", "hypercache_dist_connections", 1, kind="client")


HANDSHAKES = {
    "a request before Hello": (frame(write_row([b"k"], [b"\x01v"])), "Write before Hello"),
    "two messages": (
        CODEC.encode(NOBODY, [client_hello(1), client_hello(2)], 0.0),
        "2 messages in a frame of the handshake",
    ),
    "noise": (b"GET / HTTP/1.1", "neither a msgpack nor a JSON frame"),
    "json noise": (b'[1,2,"', "no JSON"),
}

REFUSED_HELLOS = {
    "client of another cluster": (client_hello(1, "other"), "of cluster 'default', not 'other'"),
    "peer of another cluster": (peer_hello(cluster="other"), "of cluster 'default', not 'other'"),
    "other partitions": (peer_hello(virtual_nodes=512), "has 1024 virtual nodes, not 512"),
    "other copies": (peer_hello(replication_factor=2), "has replication factor 3, not 2"),
    "newer protocol": (
        peer_hello(version_min=8, version_max=9),
        "no common protocol version: 8 to 9 there",
    ),
    "bad node id": (peer_hello(id="no good"), "a node id has 1 to 64 letters"),
    "its own name": (peer_hello(id="n1"), "node id n1 is taken by the node at"),
    "no address": (peer_hello(address=""), "gives no address"),
    "no role": (peer_hello(role="boss"), "role is 'peer' or 'client'"),
}


async def test_bad_handshakes_are_told_why_and_logged(local_cluster):
    node = local_cluster.nodes[0]
    for name, (data, reason) in HANDSHAKES.items():
        async with websocket(node.ws) as opened:
            await opened.send_message(data)
            code, told, messages = await ending(opened)
            assert code == PROTOCOL_ERROR, name
            assert reason in told, (name, told)
            for message in messages:
                codec = CODEC if message[:1] != b"[" else None
                if codec is not None:
                    [failure] = codec.decode(message, 0.0).messages
                    assert isinstance(failure, ProtocolFailure)
                    assert reason in failure.reason
    for name, (hello, reason) in REFUSED_HELLOS.items():
        async with websocket(node.ws) as opened:
            await opened.send_message(CODEC.encode(NOBODY, [hello], 0.0))
            code, told, messages = await ending(opened)
            assert code == REFUSED, name
            [reject] = CODEC.decode(messages[0], 0.0).messages
            assert isinstance(reject, Reject)
            assert reason in reject.reason, name
            assert reason[:20] in told, name
    for _, reason in (*HANDSHAKES.values(), *REFUSED_HELLOS.values()):
        await wait_logged(node, reason)
    async with connect(node.ws) as cache:
        assert [each["id"] for each in (await cache.control("members"))["members"]] == [
            "n1",
            "n2",
            "n3",
        ]


async def test_bad_frames_of_a_peer_end_its_connection_only(local_cluster):
    node = local_cluster.nodes[0]
    stranger = peer_hello(address="127.0.0.1:9")
    future = (1 << 47) << 16
    cases = {
        "a request of a client": (frame(write_row([b"k"], [b"\x01v"])), "a peer sends no Write"),
        "int for a record": (frame([21, 1, 1000, [b"k"], [7], []]), "expected bytes"),
        "noise": (b"\x95\xc1", "no msgpack"),
    }
    async with connect(*local_cluster.addresses) as cache:
        await cache.set("key", "value")
        for name, (data, reason) in cases.items():
            async with greeted(node.ws, stranger) as opened:
                await opened.send_message(data)
                code, told, _ = await ending(opened)
                assert (code, reason in told) == (PROTOCOL_ERROR, True), (name, told)
        ring = await cache.control("ring", node="n1")
        same = {"epoch": ring["epoch"], "digest": int(ring["digest"], 16)}
        async with greeted(node.ws, stranger) as opened:
            stamped_ahead = future.to_bytes(8, "big") + bytes(8) + b"\x01evil"
            await opened.send_message(frame([21, 1, 1000, [b"key"], [stamped_ahead], []], **same))
            await opened.send_message(frame([21, 2, 1000, [b"key"], [b"short"], []], **same))
            await opened.send_message(frame([32, ["a", "ring", "that", "is", "none"]]))
            await opened.send_message(frame([200]))
            await ending(opened)
        assert await cache.get("key") == "value"
        stats = (await cache.control("stats", node="n1"))["replicator"]
        assert stats["replica_refused_skewed"] == 1
        assert stats["replica_refused_invalid"] == 1
        name = "hypercache_dist_connections"
        await wait_gauge(cache, "n1", name, 2, kind="peer")
        await cache.set("key", "after", consistency=Consistency.ALL)
        assert "Traceback" not in node.log_path.read_text()


async def test_clients_killed_in_the_middle_of_a_frame_leave_nothing_behind(local_cluster):
    node = local_cluster.nodes[0]
    host, port = node.ws.rsplit(":", 1)
    big = b"x" * 100_000
    async with connect(*local_cluster.addresses) as cache:
        await cache.set("key", "value")
        before = resident_bytes(node.pid)
        for turn in range(30):
            async with greeted(node.ws) as opened:
                stream = opened._stream.socket
                # The head of a masked binary message of 100,000 bytes, and less than it promises.
                await stream.send(struct.pack(">BBQI", 0x82, 0xFF, len(big), 0) + big[: turn * 900])
                await reset(opened)
        with trio.fail_after(10):
            for turn in range(30):
                raw = await trio.open_tcp_stream(host, int(port))
                await raw.send_all(b"GET / HTTP/1.1\r\nUpgrade: webs"[: turn + 1])
                raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await raw.aclose()
        await wait_gauge(cache, "n1", "hypercache_dist_connections", 1, kind="client")
        assert resident_bytes(node.pid) - before < GROWTH_BYTES_MAX
        assert await cache.get("key") == "value"
        assert "Traceback" not in node.log_path.read_text()


async def test_a_client_killed_with_requests_in_flight_leaves_nothing_behind(local_cluster):
    async with connect(*local_cluster.addresses) as cache:
        for turn in range(20):
            async with greeted(local_cluster.nodes[0].ws) as opened:
                rows = [
                    write_row([b"a%d" % key], [b"\x01v"], request_id=key, level=3)
                    for key in range(1, 200)
                ]
                await opened.send_message(frame(*rows))
                if turn % 2:
                    [first, *_] = CODEC.decode(await opened.get_message(), 0.0).messages
                    assert isinstance(first, RingState | WriteReply)
                await reset(opened)
        await wait_gauge(cache, "n1", "hypercache_dist_connections", 1, kind="client")
        stats = (await cache.control("stats", node="n1"))["replicator"]
        assert stats["requests_pending"] == 0
        await cache.set("key", 1)
        assert "Traceback" not in local_cluster.nodes[0].log_path.read_text()
