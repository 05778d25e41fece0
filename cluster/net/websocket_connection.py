"""One websocket connection: a TCP stream, trio-websocket's object for it, and its reader task.

See `websocket` for what is added to trio-websocket and why.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import trio
import trio_websocket
from wsproto.utilities import LocalProtocolError

from cluster.errors import ConnectionLost
from cluster.net.base import (
    CLOSE_NORMAL,
    CLOSE_PROTOCOL_ERROR,
    CLOSE_REASON_BYTES_MAX,
    CLOSE_TIMEOUT_S,
    CLOSE_TOO_BIG,
    CLOSE_UNSUPPORTED,
    BadFrame,
    ConnectionStatistics,
)
from cluster.net.tcp import TcpStream

_ABNORMAL: Final = 1006
_INVALID_PAYLOAD: Final = 1007
_BAD_FRAME_CODES: Final = frozenset(
    (CLOSE_PROTOCOL_ERROR, CLOSE_UNSUPPORTED, _INVALID_PAYLOAD, CLOSE_TOO_BIG)
)
_LINGER_BYTES: Final = 64 * 1024
_STREAM_ERRORS: Final = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.BusyResourceError,
)


class Reader:
    """trio-websocket's reader task, run so that its failure is noted instead of raised.

    It is shielded, because a connection cannot be closed in order without it: whoever owns the
    connection calls `stop`. `opening` is cancelled when the task ends: while a connection is being
    opened, trio-websocket waits for an event that then never comes.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scope = trio.CancelScope(shield=True)
        self.opening: Final = trio.CancelScope()
        self.failure: Exception | None = None

    def as_nursery(self) -> trio.Nursery:
        """This object where trio-websocket wants a nursery, of which it uses `start_soon` only."""
        return cast("trio.Nursery", self)

    def start_soon(self, read: Callable[[], Awaitable[Any]]) -> None:
        """Starts the reader task."""
        self._nursery.start_soon(self._run, read)

    def stop(self) -> None:
        """Ends the task wherever it is."""
        self._scope.cancel()

    async def _run(self, read: Callable[[], Awaitable[Any]]) -> None:
        try:
            with self._scope:
                await read()
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection only
            self.failure = error
        finally:
            self.opening.cancel()


class WebSocketConnection:
    """A `Connection` over a websocket."""

    def __init__(
        self,
        stream: TcpStream,
        websocket: trio_websocket.WebSocketConnection,
        reader: Reader,
        remote: str,
        frame_bytes_max: int,
    ) -> None:
        self._stream = stream
        self._websocket = websocket
        self._reader = reader
        self._remote = remote
        self._frame_bytes_max = frame_bytes_max
        self._ended: str | None = None
        self._frames_sent = self._bytes_sent = 0
        self._frames_received = self._bytes_received = 0

    @property
    def remote(self) -> str:
        """The other end, as `host:port`."""
        return self._remote

    def statistics(self) -> ConnectionStatistics:
        """Counters of this connection."""
        return ConnectionStatistics(
            self._frames_sent, self._bytes_sent, self._frames_received, self._bytes_received
        )

    async def send(self, frame: bytes) -> None:
        """Sends a whole frame; see `Connection.send`."""
        if len(frame) > self._frame_bytes_max:
            raise ValueError(f"a frame of {len(frame)} bytes, at most {self._frame_bytes_max}")
        if self._ended is not None:
            raise self._lost()
        try:
            await self._websocket.send_message(frame)
        except (trio_websocket.ConnectionClosed, LocalProtocolError):
            raise self._lost() from None
        except BaseException:
            self._drop("a send was interrupted")
            raise
        self._frames_sent += 1
        self._bytes_sent += len(frame)

    async def receive(self) -> bytes:
        """Waits for the next frame; see `Connection.receive`."""
        if self._ended is not None:
            raise self._lost()
        try:
            frame = await self._websocket.get_message()
        except trio_websocket.ConnectionClosed:
            raise self._lost() from None
        if not isinstance(frame, bytes):
            await self.aclose("frames are binary messages", CLOSE_UNSUPPORTED)
            raise self._lost()
        self._frames_received += 1
        self._bytes_received += len(frame)
        return frame

    async def aclose(self, reason: str = "", code: int = CLOSE_NORMAL) -> None:
        """Ends the connection; see `Connection.aclose`."""
        if self._ended is not None:
            return
        closed = self._websocket.closed
        self._ended = _ending(closed, self._reader.failure) if closed else f"closed here: {reason}"
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            if closed is not None and closed.code == CLOSE_TOO_BIG:
                await self._linger()
            else:
                await self._websocket.aclose(code, _cut(reason))
        self._stream.close()
        self._reader.stop()

    async def _linger(self) -> None:
        """Reads away what the other side still sends, so that it gets to read why we closed.

        Closing a socket with unread data resets the connection, and the reason is lost with it.
        """
        with contextlib.suppress(*_STREAM_ERRORS):
            await self._stream.send_eof()
            while await self._stream.receive_some(_LINGER_BYTES):
                pass

    def _drop(self, reason: str) -> None:
        if self._ended is None:
            self._ended = reason
            self._stream.close()
            self._reader.stop()

    def _lost(self) -> ConnectionLost:
        closed, failure = self._websocket.closed, self._reader.failure
        ended = self._ended or _ending(closed, failure)
        bad = failure is not None or (closed is not None and closed.code in _BAD_FRAME_CODES)
        kind = BadFrame if bad else ConnectionLost
        return kind(f"connection to {self._remote} ended: {ended}")


def open_message(failure: Exception | None) -> str:
    """Why the websocket handshake of a dialled connection did not come to its end."""
    if isinstance(failure, trio_websocket.ConnectionRejected):
        return f"no websocket there: HTTP status {failure.status_code}"
    if failure is None:
        return "closed by the other side before the websocket handshake was done"
    return f"no websocket there: {failure}"


def _ending(closed: trio_websocket.CloseReason | None, failure: Exception | None) -> str:
    if failure is not None:
        return f"it broke the websocket protocol: {failure!r}"
    if closed is None or (closed.code == _ABNORMAL and not closed.reason):
        return "dropped by the other side or the network"
    name = closed.name.lower().replace("_", " ")
    return f"{name} ({closed.code})" + (f": {closed.reason}" if closed.reason else "")


def _cut(reason: str) -> str:
    return reason.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore")
