"""Frames and connections of the bare stack: what its nodes and its client share.

A frame is `[version, clock, epoch, digest, [message, ...]]` in msgpack, as in the product. Each
message is packed once and a frame is a prefix with the packed messages behind it. Every connection
has one writer task: whatever waits leaves in one frame, and leaves at once when the writer is idle.
What is not here: checks of any kind.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import trio
import trio_websocket

__all__ = [
    "FRAME_BYTES_MAX",
    "Outbox",
    "Tag",
    "WebSocket",
    "dial",
    "frame",
    "pack",
    "receive",
]

FRAME_BYTES_MAX = 64 * 1024 * 1024
RECEIVE_BUFFER_BYTES = 256 * 1024
"""A large frame takes few turns of the loop: 1.4 times the keys/s of 16 KiB at 1,000 a batch."""
MESSAGE_QUEUE_FRAMES = 64

WebSocket = trio_websocket.WebSocketConnection

_CLOCK = 1_760_000_000_000 << 16
_DIGEST = 0x9E3779B97F4A7C15
_HEADER = b"\x95" + b"".join(map(msgpack.packb, (1, _CLOCK, 1, _DIGEST)))
_SHORT_ARRAY_MAX = 15


class Tag:
    """First field of a message."""

    HELLO = 0
    PEERS = 1
    WRITE = 2
    WRITTEN = 3
    READ = 4
    VALUES = 5
    REPLICA_WRITE = 6
    REPLICA_WRITTEN = 7
    REPLICA_READ = 8
    REPLICA_VALUES = 9


pack = msgpack.Packer(autoreset=True).pack


class Outbox:
    """Messages that wait for one connection, and the task that writes them."""

    __slots__ = ("_parked", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._parked: trio.lowlevel.Task | None = None

    def put(self, message: list[Any]) -> None:
        """Queue a message; never waits."""
        self.put_packed(pack(message))

    def put_packed(self, part: bytes) -> None:
        """Queue a message that `pack` made, so that two connections can share it."""
        self._parts.append(part)
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None

    async def run(self, ws: WebSocket) -> None:
        """Write until the connection ends."""
        while True:
            if not self._parts:
                await self._park()
            parts, self._parts = self._parts, []
            await ws.send_message(frame(parts))

    async def _park(self) -> None:
        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)


def frame(parts: list[bytes]) -> bytes:
    """One frame of packed messages."""
    count = len(parts)
    if count <= _SHORT_ARRAY_MAX:
        return b"%b%c%b" % (_HEADER, 0x90 | count, b"".join(parts))
    return b"%b\xdd%b%b" % (_HEADER, count.to_bytes(4, "big"), b"".join(parts))


async def receive(ws: WebSocket) -> list[Any]:
    """The messages of the next frame.

    Raises:
        trio_websocket.ConnectionClosed: at the end of the connection.
    """
    message = await ws.get_message()
    assert isinstance(message, bytes), "frames are binary messages"
    messages: list[Any] = msgpack.unpackb(message)[4]
    return messages


@asynccontextmanager
async def dial(address: str) -> AsyncIterator[WebSocket]:
    """A websocket to `host:port`, closed at the end of the block."""
    host, _, port = address.rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with trio.open_nursery() as nursery:
        ws = await trio_websocket.wrap_client_stream(
            nursery,
            stream,
            address,
            "/",
            message_queue_size=MESSAGE_QUEUE_FRAMES,
            max_message_size=FRAME_BYTES_MAX,
            receive_buffer_size=RECEIVE_BUFFER_BYTES,
        )
        yield ws
        nursery.cancel_scope.cancel()
