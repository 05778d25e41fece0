"""One question to one node, over real websockets to a small node."""

from contextlib import asynccontextmanager

import pytest
import trio

from cluster.cli.control_link import ask_node
from cluster.core.operations import FailureCode, Refused
from cluster.errors import InvalidValue, Overloaded, ProtocolError, Timeout, Unavailable
from cluster.net.greeting import welcome
from cluster.net.websocket import WebSocketTransport
from cluster.wire.codec import FrameLimits
from cluster.wire.control import ControlReply, ControlRequest
from cluster.wire.handshake import LocalNode, Reject, judge
from cluster.wire.messages import FrameHeader, ProtocolFailure

LOCAL = LocalNode(
    cluster="c", node_id="n1", boot=1, virtual_nodes=256, replication_factor=3,
    value_max=1000, frame_max=1 << 20, address="x:1",
)  # fmt: skip


@asynccontextmanager
async def node(answer, verdict=lambda hello: judge(hello, LOCAL)):
    """A node that answers each control request by `answer(request)`: a list of messages."""

    async def handle(connection):
        _, _, codec = await welcome(connection, verdict, FrameLimits())
        now = trio.current_time()
        (request,) = codec.decode(await connection.receive(), now).messages
        assert isinstance(request, ControlRequest)
        replies = answer(request)
        if replies:
            await connection.send(codec.encode(FrameHeader(0, 0, 0), replies, now))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        yield await nursery.start(WebSocketTransport().serve, "127.0.0.1:0", handle)
        nursery.cancel_scope.cancel()


async def test_an_answer():
    def answer(request):
        assert (request.topic, request.arguments) == ("ring", {"key": "k"})
        assert 0 < request.deadline - trio.current_time() <= 2
        other = ControlReply(request.request_id + 1, "not this one")
        return [other, ControlReply(request.request_id, {"epoch": 1})]

    async with node(answer) as address:
        assert await ask_node(address, "ring", {"key": "k"}, 2) == {"epoch": 1}


@pytest.mark.parametrize(
    ("reply", "error", "part"),
    [
        (lambda i: ControlReply(i, {"error": "InvalidValue", "message": "m"}), InvalidValue, "m"),
        (lambda i: Refused(i, FailureCode.OVERLOADED, "full", 50), Overloaded, "full"),
        (lambda _: ProtocolFailure("odd"), ProtocolError, "odd"),
    ],
)
async def test_refusals(reply, error, part):
    async with node(lambda request: [reply(request.request_id)]) as address:
        with pytest.raises(error, match=part):
            await ask_node(address, "ring", {}, 2)


async def test_a_refused_connection():
    async with node(lambda _: [], lambda _: Reject("another cluster")) as address:
        with pytest.raises(Unavailable, match="another cluster"):
            await ask_node(address, "ring", {}, 2)


async def test_no_answer():
    async with node(lambda _: []) as address:
        with pytest.raises(Timeout, match=r"within 0\.1 s"):
            await ask_node(address, "ring", {}, 0.1)
