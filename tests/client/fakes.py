"""Stand-ins for the cluster: a node that answers from a dict, pure and over a real transport."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import attrs
import trio

from cluster.core import record as rec
from cluster.core.operations import (
    Delete,
    Read,
    ReadReply,
    Settled,
    Touch,
    TouchReply,
    Write,
    WriteReply,
)
from cluster.core.ring import RingMember, RingView
from cluster.errors import ConnectionLost, ProtocolError
from cluster.net.base import Connection
from cluster.net.greeting import welcome
from cluster.wire.control import ControlReply, ControlRequest
from cluster.wire.handshake import (
    PROTOCOL_VERSION,
    Hello,
    LocalNode,
    Reject,
    Welcome,
    judge,
)
from cluster.wire.limits import FrameLimits
from cluster.wire.messages import FrameHeader, RingState

WALL_MS = 1_700_000_000_000
VALUE_MAX = 1024 * 1024
FRAME_MAX = 4 * 1024 * 1024


def ring_of(*node_ids: str, epoch: int = 1, replication_factor: int = 3) -> RingView:
    members = tuple(RingMember(node_id, address_of(node_id)) for node_id in node_ids)
    return RingView(epoch, members, 256, replication_factor)


def address_of(node_id: str) -> str:
    return f"{node_id}:7946"


def stamp_at(hlc: int, boot: int = 1) -> bytes:
    return hlc.to_bytes(8, "big") + boot.to_bytes(8, "big")


@attrs.define(eq=False)
class FakeNode:
    """A store of one node, or of several that share `table`. `script` may answer in its stead."""

    node_id: str
    boot: int
    ring: RingView | None = None
    table: dict[bytes, bytes] = attrs.field(factory=dict)
    script: Callable[[Any], Any] | None = None
    clock: Any = attrs.field(factory=lambda: count(WALL_MS << 16))
    requests: list[Any] = attrs.field(factory=list)
    headers: list[FrameHeader] = attrs.field(factory=list)
    settled: int = 0
    value_max: int = VALUE_MAX
    frame_max: int = FRAME_MAX
    remember: bool = True
    reject: str = ""

    def welcome(self) -> Welcome:
        ring = None if self.ring is None else list(self.ring.as_wire())
        return Welcome(
            PROTOCOL_VERSION, "default", self.node_id, self.boot, 256, self.value_max,
            self.frame_max, ring,
        )  # fmt: skip

    def header(self) -> FrameHeader:
        if self.ring is None:
            return FrameHeader(next(self.clock), 0, 0)
        return FrameHeader(next(self.clock), self.ring.epoch, self.ring.digest)

    def handle(self, header: FrameHeader, messages: Sequence[Any]) -> list[Any]:
        """Answer a frame."""
        if self.remember:
            self.headers.append(header)
        replies: list[Any] = []
        if self.ring is not None and header.epoch < self.ring.epoch:
            replies.append(RingState(list(self.ring.as_wire())))
        for message in messages:
            if self.remember:
                self.requests.append(message)
            reply = self.script(message) if self.script is not None else NotImplemented
            if reply is NotImplemented:
                reply = self.answer(message)
            if reply is not None:
                replies.append(reply)
        return replies

    def answer(self, message: Any) -> Any:
        """Answer one request from the dict."""
        if isinstance(message, Read):
            records = [self.table.get(key) for key in message.keys]
            return ReadReply(message.request_id, records, [], 2, 2)
        if isinstance(message, Settled):
            self.settled = message.below
            return None
        if isinstance(message, ControlRequest):
            return ControlReply(message.request_id, [message.topic, message.arguments])
        stamp = stamp_at(next(self.clock), self.boot)
        if isinstance(message, Write):
            expiry = (WALL_MS + message.ttl_ms) if message.ttl_ms else 0
            for key, body in zip(message.keys, message.bodies, strict=True):
                self.table[key] = rec.make(stamp, body, expiry)
            return WriteReply(message.request_id, stamp, [], [], 3, 2)
        if isinstance(message, Delete):
            for key in message.keys:
                self.table[key] = rec.tombstone(stamp)
            return WriteReply(message.request_id, stamp, [], [], 3, 2)
        assert isinstance(message, Touch)
        return self._touch(message)

    def _touch(self, message: Touch) -> TouchReply:
        stamps = []
        for key in message.keys:
            record = self.table.get(key)
            if record is None or not rec.is_visible(record, WALL_MS):
                stamps.append(b"")
                continue
            self.table[key] = rec.with_expiry(record, WALL_MS + message.ttl_ms)
            stamps.append(rec.stamp_of(record))
        return TouchReply(message.request_id, stamps, [], 3, 2)

    async def serve(self, connection: Connection) -> None:
        """Talk to one client over a connection until it ends."""
        mine = LocalNode(
            cluster="default", node_id=self.node_id, boot=self.boot, virtual_nodes=256,
            replication_factor=3, value_max=self.value_max, frame_max=self.frame_max,
            address=address_of(self.node_id),
        )  # fmt: skip
        ring = None if self.ring is None else list(self.ring.as_wire())
        limits = FrameLimits(frame_bytes_max=self.frame_max)

        def decide(hello: Hello) -> Welcome | Reject:
            return Reject(self.reject) if self.reject else judge(hello, mine, ring)

        _, _, codec = await welcome(connection, decide, limits)
        while True:
            now = trio.current_time()
            try:
                frame = codec.decode(await connection.receive(), now)
            except ConnectionLost:
                return
            except ProtocolError as error:
                await connection.aclose(str(error))
                raise
            replies = self.handle(frame.header, frame.messages)
            parts = [codec.encode_message(reply, now) for reply in replies]
            start = 0
            while start < len(parts):
                end = codec.fitting(parts, start)
                await connection.send(codec.assemble(self.header(), parts[start:end]))
                start = end
