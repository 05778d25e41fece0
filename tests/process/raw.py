"""Talking to a node below the SDK: frames as bytes over a plain websocket, and looking at it."""

import socket
import struct
from contextlib import asynccontextmanager
from pathlib import Path

import msgpack
import trio
import trio_websocket

from cluster.wire.codec import Codec
from cluster.wire.handshake import PROTOCOL_VERSION, Hello, Welcome, client_hello
from cluster.wire.messages import FrameHeader

NOBODY = FrameHeader(0, 0, 0)
CODEC = Codec("msgpack")
PATIENCE_S = 10.0


def peer_hello(**changes):
    """What a node says that fits a cluster with default options."""
    fields = {
        "version_min": PROTOCOL_VERSION,
        "version_max": PROTOCOL_VERSION,
        "cluster": "default",
        "role": "peer",
        "id": "stranger",
        "boot": 1,
        "virtual_nodes": 1024,
        "replication_factor": 3,
        "address": "127.0.0.1:1",
    }
    return Hello(**(fields | changes))


def frame(*rows, version=PROTOCOL_VERSION, epoch=0, digest=0):
    """A frame of rows as they are."""
    return msgpack.packb([version, 0, epoch, digest, list(rows)])


@asynccontextmanager
async def websocket(address):
    """A plain websocket that has said nothing yet."""
    host, port = address.rsplit(":", 1)
    stream = await trio.open_tcp_stream(host, int(port))
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(PATIENCE_S):
                yield await trio_websocket.wrap_client_stream(
                    nursery, stream, host, "/", max_message_size=1 << 26
                )
            nursery.cancel_scope.cancel("the test has seen enough")
    finally:
        stream.socket.close()


async def reset(opened):
    """End the TCP connection of a websocket as the death of a process may: by a reset."""
    tcp = opened._stream.socket
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    tcp.close()
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def greeted(address, hello=None):
    """A websocket whose handshake is done."""
    async with websocket(address) as opened:
        await opened.send_message(CODEC.encode(NOBODY, [hello or client_hello(99)], 0.0))
        [answer] = CODEC.decode(await opened.get_message(), 0.0).messages
        assert isinstance(answer, Welcome), answer
        yield opened


async def ending(opened):
    """Code and reason of the close frame that ends a websocket, and the messages before it."""
    messages = []
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                messages.append(await opened.get_message())
            except trio_websocket.ConnectionClosed as closed:
                return closed.reason.code, closed.reason.reason or "", messages


async def gauge(cache, node, name, **labels):
    """The value of a metric of a node."""
    body = await cache.control("stats", node=node)
    return sum(
        series["value"]
        for series in body["metrics"][name]["series"]
        if labels.items() <= series["labels"].items()
    )


async def wait_gauge(cache, node, name, value, **labels):
    """Wait until a metric has a value."""
    with trio.fail_after(PATIENCE_S):
        while await gauge(cache, node, name, **labels) != value:  # noqa: ASYNC110 - a process
            await trio.sleep(0.02)


async def wait_logged(node, text):
    """Wait until a node has logged a text: the close frame may be out before the line is."""
    with trio.fail_after(PATIENCE_S):
        while text not in node.log_path.read_text():  # noqa: ASYNC110 - a process
            await trio.sleep(0.02)


def resident_bytes(pid):
    """Memory of a process that is in RAM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
