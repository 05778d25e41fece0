"""The transport interface: connections that carry whole frames, and how to get them.

A frame is `bytes` and arrives whole and in order or not at all. A connection has one writer and one
reader task. It ends once, with a reason; from then on `send` and `receive` raise `ConnectionLost`
with that reason. What is in a frame, who is at the other end and when to dial again is not decided
here.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeAlias

import attrs
import trio

from cluster.errors import ConnectionLost, ProtocolError

CLOSE_NORMAL: Final = 1000
CLOSE_GOING_AWAY: Final = 1001
CLOSE_PROTOCOL_ERROR: Final = 1002
CLOSE_UNSUPPORTED: Final = 1003
CLOSE_REFUSED: Final = 1008
CLOSE_TOO_BIG: Final = 1009
CLOSE_INTERNAL_ERROR: Final = 1011
"""Codes of RFC 6455, section 7.4.1; used by every transport."""

CLOSE_TIMEOUT_S: Final = 1.0
"""Longest time that closing a connection takes, whatever the other side does."""

SEND_TIMEOUT_S: Final = 5.0
"""A connection whose other side takes no bytes for so long has ended."""

CLOSE_REASON_BYTES_MAX: Final = 120
"""A websocket close frame carries at most 123 bytes of reason; longer ones are cut."""


class BadFrame(ConnectionLost, ProtocolError):
    """Raised by `receive` where the transport itself ended the connection for what came in.

    A frame over the limit, a text frame, bytes that are no frames. The other side has been told.
    """


@attrs.frozen
class ConnectionStatistics:
    """What has crossed a connection since it was opened; bytes of frames, without framing."""

    frames_sent: int
    bytes_sent: int
    frames_received: int
    bytes_received: int


class Connection(Protocol):
    """One open connection."""

    @property
    def remote(self) -> str:
        """The other end, as `host:port`."""

    async def send(self, frame: bytes) -> None:
        """Sends a whole frame; waits up to `SEND_TIMEOUT_S` while the other side does not keep up.

        If this is cancelled the connection is dropped: half a frame may be on the wire.

        Raises:
            ConnectionLost: the connection has ended, or the frame exceeds the frame limit.
        """

    async def receive(self) -> bytes:
        """Waits for the next frame.

        Raises:
            ConnectionLost: the connection has ended; the message says why.
        """

    async def aclose(self, reason: str = "", code: int = CLOSE_NORMAL) -> None:
        """Ends the connection and tells the other side why, within `CLOSE_TIMEOUT_S`.

        Runs to its end when the caller is cancelled. Ends at once on an ended connection.
        """

    def statistics(self) -> ConnectionStatistics:
        """Counters of this connection."""


Handler: TypeAlias = Callable[[Connection], Awaitable[None]]
OnError: TypeAlias = Callable[[str, Exception], None]
"""Takes the remote address and what a handler raised."""


@attrs.frozen
class TransportStatistics:
    """Accepted connections of a transport.

    Attributes:
        open: being served or opened now.
        opening: of these, not open yet.
        accepted: opened since the start.
        refused: closed at once because of a limit.
        failed: never opened: no websocket, too slow, or gone.
    """

    open: int
    opening: int
    accepted: int
    refused: int
    failed: int


@attrs.frozen(kw_only=True)
class ConnectionLimits:
    """What a transport allows.

    Attributes:
        frame_bytes_max: largest frame in either direction.
        connections_max: accepted connections open at a time; further ones are closed at once.
        handshakes_max: of these, how many may still be opening.
        handshake_timeout_s: how long opening may take on the accepting side.
    """

    frame_bytes_max: int = 4 * 1024 * 1024
    connections_max: int = 10_000
    handshakes_max: int = 256
    handshake_timeout_s: float = 5.0


DEFAULT_LIMITS: Final = ConnectionLimits()


class Transport(Protocol):
    """Opens connections of one host."""

    def dial(self, address: str, *, timeout_s: float) -> AbstractAsyncContextManager[Connection]:
        """Opens a connection to `host:port`; leaving the context closes it.

        The host name is resolved at every dial and all its addresses are tried.

        Raises:
            ConnectionLost: no connection within `timeout_s`; the message says why.
        """

    async def serve(
        self,
        address: str,
        handler: Handler,
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accepts connections at `host:port` until cancelled; port 0 picks a free one.

        A connection lives as long as its handler runs. `ConnectionLost` from a handler is the
        ordinary end. Any other exception ends only its connection, is told to the other side by
        `serving.run_handler`, and goes to the transport's `on_error` hook. `task_status` is started
        with the bound `host:port`.

        Raises:
            OSError: the address cannot be bound; the message names it.
            ValueError: it is no address.
        """

    def statistics(self) -> TransportStatistics:
        """Counters of accepted connections."""
