"""The HTTP face over a real socket, in front of real actors with plain answers."""

import contextlib
import json
import socket
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from actors import ChildSpec
from cluster.core import record as records
from cluster.core.clock import stamp
from cluster.gateway import http_app
from cluster.gateway.endpoints import ENDPOINTS, openapi
from cluster.gateway.http import HttpFace, bound_address, open_listener
from cluster.gateway.http_app import make_app
from cluster.services.local import RingStatus
from tests.gateway.fake_node import WALL_MS, fake_node

STAMP = stamp(WALL_MS << 16, 9)


@attrs.frozen
class Reply:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


def parse(data):
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Reply(int(first.split()[1]), headers, body)


async def send(address, data):
    host, _, port = address.rpartition(":")
    stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
    async with stream:
        await stream.send_all(data)
        return b"".join([chunk async for chunk in stream])


@asynccontextmanager
async def served(bind="127.0.0.1:0", listener=None):
    """A fake node with its HTTP face; gives the node and a function that gets a path."""
    with contextlib.ExitStack() as stack:
        listener = listener or stack.enter_context(open_listener(bind))
        address = bound_address(listener)

        def children(made):
            def face():
                node = made[0]
                return HttpFace(make_app(node.control), listener)

            return (ChildSpec("http", face),)

        async def get(path, method="GET", headers=""):
            request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
            return parse(await send(address, request.encode("latin-1")))

        get.address = address
        async with fake_node(children) as node:
            yield node, get


async def test_pages():
    async with served() as (node, get):
        assert (await get("/healthz")).json == {"status": "ok"}
        assert (await get("/readyz")).json == {"status": "ready"}
        members = (await get("/cluster/members")).json["members"]
        assert [each["id"] for each in members] == ["n1", "n2", "n3"]
        ring = (await get("/cluster/ring?key=a%20b")).json
        assert ring["owners"] == list(node.world.ring.view.owners_of(b"a b"))
        assert (await get("/dist/status")).json["node"] == "n1"
        assert (await get("/dist/config")).json == node.config.as_json()
        assert (await get("/dist/latency")).json == {}
        assert (await get("/dist/stats")).json["replicator"]["requests"] == 3
        assert (await get("/actors")).json["path"] == "/n1"
        assert (await get("/actors/trace?chain=1f")).json["records"] == []
        assert (await get("/openapi.json")).json == openapi()


async def test_every_endpoint_answers_and_is_described():
    async with served() as (_, get):
        for endpoint in ENDPOINTS:
            status = (await get(endpoint.path)).status
            described = openapi()["paths"][endpoint.path]["get"]
            assert str(status) in described["responses"]
            assert status in {200, 400}
        names = [each["get"]["operationId"] for each in openapi()["paths"].values()]
        assert len(set(names)) == len(ENDPOINTS)


async def test_metrics_are_text_for_prometheus():
    async with served() as (node, get):
        node.registry.counter("hypercache_dist_things_total", "Things.").labels().add(2)
        reply = await get("/metrics")
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert b"hypercache_dist_things_total 2\n" in reply.body


async def test_not_ready_says_why_but_is_healthy():
    async with served() as (node, get):
        node.world.ring = RingStatus(view=None, expected=3, known=1, conflict="")
        reply = await get("/readyz")
        assert reply.status == 503
        assert reply.json["error"] == "Unavailable"
        assert "1 members known, 3 expected" in reply.json["message"]
        assert (await get("/healthz")).status == 200


@pytest.mark.parametrize(
    ("flags", "value", "content_type"),
    [
        (records.BYTES, b"\x00\xff", "application/octet-stream"),
        (records.STR, "hé".encode(), "text/plain; charset=utf-8"),
        (records.MSGPACK, b"\x93\x01\x02\x03", "application/msgpack"),
        (records.CUSTOM, b"x", "application/octet-stream"),
    ],
)
async def test_internal_get(flags, value, content_type):
    async with served() as (node, get):
        body = bytes([flags]) + value
        node.world.table.apply(b"a/\xff", records.make(STAMP, body, WALL_MS + 1500))
        reply = await get("/internal/get?key=a/%ff")
        assert (reply.status, reply.body) == (200, value)
        assert reply.headers["content-type"] == content_type
        assert reply.headers["x-hypercache-stamp"] == f"{WALL_MS << 16:016x}-{9:016x}"
        assert reply.headers["x-hypercache-expires"] == "1700000001.500"


async def test_internal_get_of_nothing():
    async with served() as (node, get):
        node.world.table.apply(b"deleted", records.tombstone(STAMP))
        node.world.table.apply(b"expired", records.make(STAMP, b"\x01v", WALL_MS - 1))
        for key in ("absent", "deleted", "expired"):
            reply = await get(f"/internal/get?key={key}")
            assert reply.status == 404
            assert reply.json["error"] == "NotFound"
        node.world.table.apply(b"for ever", records.make(STAMP, b"\x01v"))
        assert "x-hypercache-expires" not in (await get("/internal/get?key=for+ever")).headers


async def test_internal_keys():
    async with served() as (node, get):
        for key in (b"a", b"b", b"\xff"):
            node.world.table.apply(key, records.make(STAMP, b"\x01v"))
        body = (await get("/internal/keys")).json
        assert sorted(map(str, body["keys"])) == ["a", "b", "{'b64': '/w=='}"]
        assert body["cursor"] is None
        assert (await get("/internal/keys?prefix=%ff")).json["keys"] == [{"b64": "/w=="}]
        assert (await get("/internal/keys?match=[b-z]")).json["keys"] == ["b"]
        assert len((await get("/internal/keys?limit=1")).json["keys"]) == 1


@pytest.mark.parametrize(
    ("path", "status", "error", "part"),
    [
        ("/nothing", 404, "NotFound", "/openapi.json"),
        ("/internal/get", 400, "InvalidKey", "needs key="),
        ("/internal/get?key=", 400, "InvalidKey", "1 to 1024"),
        ("/internal/get?key=a&key=b", 400, "InvalidValue", "given twice"),
        ("/internal/get?kye=a", 400, "InvalidValue", "unknown argument 'kye'"),
        ("/internal/keys?limit=x", 400, "InvalidValue", "limit"),
        ("/internal/keys?cursor=x", 400, "InvalidValue", "cursor"),
        ("/actors/trace", 400, "InvalidValue", "chain"),
        ("/healthz?" + "&".join(f"a{n}=" for n in range(30)), 200, "", ""),
        ("/actors?" + "&".join(f"a{n}=" for n in range(30)), 400, "InvalidValue", "query"),
    ],
)
async def test_refusals(path, status, error, part):
    async with served() as (_, get):
        reply = await get(path)
        assert reply.status == status
        if error:
            assert reply.json["error"] == error
            assert part in reply.json["message"]


async def test_other_methods():
    async with served() as (_, get):
        reply = await get("/cluster/members", "POST", "Content-Length: 0\r\n")
        assert (reply.status, reply.json["error"]) == (405, "MethodNotAllowed")
        assert "get" in reply.headers["allow"]
        head = await get("/healthz", "HEAD")
        assert (head.status, head.body) == (200, b"")


async def test_a_question_without_answer_is_a_504():
    async with served() as (node, get):
        node.world.mute = True
        reply = await get("/cluster/ring")
        assert (reply.status, reply.json["error"]) == (504, "Timeout")


async def test_a_page_that_fails_costs_one_response():
    async with served() as (node, get):
        node.world.members = None
        reply = await get("/cluster/members")
        assert (reply.status, reply.json["error"]) == (500, "InternalError")
        assert (await get("/healthz")).status == 200


async def test_too_many_requests_are_refused(monkeypatch):
    monkeypatch.setattr(http_app, "REQUESTS_MAX", 1)
    async with served() as (node, get):
        node.world.mute = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, "/cluster/ring")
            await wait_inside(node)
            reply = await get("/healthz")
        assert (reply.status, reply.json["error"]) == (429, "Overloaded")
        assert reply.headers["retry-after"] == "1"


async def wait_inside(node):
    """Until the ring keeper has a question."""
    while not node.system.trace.where(kind="deliver", actor="/n1/ring_keeper"):
        await trio.lowlevel.checkpoint()


async def test_a_huge_head_is_refused_and_the_node_lives():
    async with served() as (_, get):
        assert (await get("/healthz?" + "x" * 200_000)).status >= 400
        garbage = await send(get.address, b"\x16\x03\x01\x00\xa5garbage\r\n\r\n")
        assert b" 400 " in garbage.split(b"\r\n", 1)[0] or garbage == b""
        assert (await get("/healthz")).status == 200


async def test_a_client_that_leaves_in_the_middle_costs_nothing():
    async with served() as (_, get):
        host, _, port = get.address.rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        await stream.send_all(b"GET /healthz HT")
        await stream.aclose()
        assert (await get("/healthz")).status == 200


async def test_an_ordered_stop_lets_a_request_finish():
    async with served() as (node, get):
        replies = []

        async def ask():
            replies.append(await get("/cluster/ring"))

        async with trio.open_nursery() as nursery:
            node.system.suspend("ring_keeper")
            nursery.start_soon(ask)
            while not node.system.trace.where(kind="send", actor="/n1/ring_keeper"):
                await trio.lowlevel.checkpoint()
            node.system.stop()
            await trio.lowlevel.checkpoint()
            node.system.resume("ring_keeper")
        assert replies[0].status == 200


async def test_it_comes_back_at_the_same_port_after_a_crash():
    async with served() as (node, get):
        node.system.ref("http").tell("it takes no messages")
        while not node.system.trace.where(kind="restart", actor="/n1/http"):
            await trio.lowlevel.checkpoint()
        assert (await get("/healthz")).status == 200


async def test_nothing_is_left_of_it_after_a_stop():
    with open_listener("127.0.0.1:0") as listener:
        async with served(listener=listener) as (node, get):
            assert (await get("/healthz")).status == 200
            node.system.stop()
            while node.system.introspect().running:
                await trio.lowlevel.checkpoint()
        # Only the listener is left, and nobody accepts what comes in there.
        assert listener.fileno() >= 0
    with pytest.raises(OSError, match="connect"):
        await get("/healthz")


async def test_ipv6():
    try:
        probe = open_listener("[::1]:0")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    probe.close()
    async with served("[::1]:0") as (_, get):
        assert get.address.startswith("[::1]:")
        assert (await get("/healthz")).status == 200


def test_a_taken_port_is_told_in_one_line():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match="cannot serve HTTP at") as caught:
            open_listener(f"127.0.0.1:{port}")
        assert "--http" in caught.value.strerror
    with pytest.raises(OSError, match="cannot serve HTTP at no"):
        open_listener("no.such.host.invalid:1")
