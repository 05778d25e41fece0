"""What waits for one connection, encoded, and its way out in as few frames as its bytes allow.

Two lanes: messages between members overtake data in the next frame. A connection that takes no
bytes for long ends by itself (`net.base.SEND_TIMEOUT_S`), so writing needs no deadline here.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from cluster.errors import ConnectionLost
from cluster.net.base import Connection
from cluster.services.traffic import Traffic
from cluster.wire.codec import Codec
from cluster.wire.messages import FrameHeader

__all__ = ["Outbox"]


class Outbox:
    """Encoded messages for one connection; one task writes them."""

    def __init__(
        self, codec: Codec, traffic: Traffic, instead: Callable[[Any, ValueError], Any]
    ) -> None:
        """Start empty.

        Args:
            codec: encodes.
            traffic: counts.
            instead: told each message that cannot be carried, and why; gives the one to send in
                its place, or None. Such a message must not take the connection down with it.
        """
        self._instead: Final = instead
        self._codec: Final = codec
        self._encode: Final = codec.encode_message
        self._traffic: Final = traffic
        self._header = FrameHeader(0, 0, 0)
        self._urgent: list[bytes] = []
        self._parts: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self._parts or self._urgent)

    def put(
        self, header: FrameHeader, messages: Sequence[Any], now: float, *, urgent: bool = False
    ) -> None:
        """Encode messages; the header of the last ones goes on the frame."""
        if header.clock or not self._header.clock:
            self._header = header
        lane, encode = self._urgent if urgent else self._parts, self._encode
        for message in messages:
            try:
                lane.append(encode(message, now))
            except ValueError as error:
                self._traffic.dropped.value += 1
                substitute = self._instead(message, error)
                if substitute is not None:
                    lane.append(encode(substitute, now))

    def clear(self) -> None:
        """Drop what waits, counted: there is no connection to leave by."""
        self._traffic.dropped.value += len(self._urgent) + len(self._parts)
        self._urgent, self._parts = [], []

    async def write(self, connection: Connection) -> None:
        """Send everything that waits; what the end of the connection cuts off is counted."""
        parts = self._urgent + self._parts if self._urgent else self._parts
        self._urgent, self._parts = [], []
        codec, start = self._codec, 0
        try:
            while start < len(parts):
                end = codec.fitting(parts, start)
                frame = codec.assemble(
                    self._header, parts if end - start == len(parts) else parts[start:end]
                )
                await connection.send(frame)
                self._traffic.sent(end - start, len(frame))
                start = end
        except ConnectionLost:
            self._traffic.dropped.value += len(parts) - start
