"""The real network: each frame is one binary websocket message, over trio-websocket.

trio-websocket runs a reader task per connection that parses and queues messages. What this module
adds is what a long-lived connection between servers needs:

* the TCP stream is opened here, so that it is always closed here: trio-websocket leaves it open
  after a message over the limit;
* a reader task that fails ends its connection, not whoever uses it;
* a send that was cancelled or failed drops the connection, as half a frame may be on the wire;
* a connection that is being opened has a deadline, on both sides, and counts against a limit.

Compression is not negotiated. TCP_NODELAY is set by trio. Websocket pings are answered only while
the message queue has room, so they say nothing about health: probes are messages.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio
import trio_websocket

from cluster.errors import ConnectionLost
from cluster.net.addresses import format_address, parse_address
from cluster.net.base import (
    DEFAULT_LIMITS,
    Connection,
    ConnectionLimits,
    Handler,
    OnError,
    TransportStatistics,
)
from cluster.net.serving import log_error, run_handler
from cluster.net.tcp import TcpStream, take_over
from cluster.net.websocket_connection import Reader, WebSocketConnection, open_message

RESOURCE: Final = "/"
MESSAGE_QUEUE_FRAMES: Final = 16
"""Frames that may wait between trio-websocket's reader and `receive`; beyond it TCP pushes back."""
RECEIVE_BUFFER_BYTES: Final = 256 * 1024
"""Asked of the socket at once. A frame of 130 KB costs 310 µs so, 1,080 µs at the usual 4 KiB."""
LISTEN_BACKLOG: Final = 256


class WebSocketTransport:
    """Dials and serves websocket connections."""

    def __init__(
        self, limits: ConnectionLimits = DEFAULT_LIMITS, *, on_error: OnError = log_error
    ) -> None:
        self._limits = limits
        self._on_error = on_error
        self._open = 0
        self._opening = 0
        self._accepted = 0
        self._refused = 0
        self._failed = 0

    def statistics(self) -> TransportStatistics:
        """Counters of accepted connections."""
        return TransportStatistics(
            self._open, self._opening, self._accepted, self._refused, self._failed
        )

    # ----------------------------------------------------------------------- dialling

    @asynccontextmanager
    async def dial(self, address: str, *, timeout_s: float) -> AsyncIterator[Connection]:
        """Opens a connection; see `Transport.dial`."""
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                try:
                    connection = await self._connect(nursery, address, timeout_s)
                    try:
                        yield connection
                    finally:
                        await connection.aclose()
                except BaseException as error:  # noqa: BLE001 - raised below, outside the nursery
                    failure = error
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup:
            # Children never raise, so this is the outer cancellation, already held in `failure`
            # unless it came while the nursery closed.
            if failure is None:
                raise
        if failure is not None:
            raise failure

    async def _connect(
        self, nursery: trio.Nursery, address: str, timeout_s: float
    ) -> WebSocketConnection:
        with trio.move_on_after(timeout_s):
            stream = await _open_stream(address)
            try:
                return await self._open_client(nursery, stream, address)
            except BaseException:
                stream.close()
                raise
        raise ConnectionLost(f"cannot connect to {address}: no answer within {timeout_s:g} s")

    async def _open_client(
        self, nursery: trio.Nursery, stream: TcpStream, address: str
    ) -> WebSocketConnection:
        reader = Reader(nursery)
        try:
            with reader.opening:
                websocket = await trio_websocket.wrap_client_stream(
                    reader.as_nursery(),
                    stream,  # type: ignore[arg-type]  # the same calls as a SocketStream
                    address,
                    RESOURCE,
                    message_queue_size=MESSAGE_QUEUE_FRAMES,
                    max_message_size=self._limits.frame_bytes_max,
                    receive_buffer_size=RECEIVE_BUFFER_BYTES,
                )
                return WebSocketConnection(
                    stream, websocket, reader, address, self._limits.frame_bytes_max
                )
        except BaseException:
            reader.stop()
            raise
        raise ConnectionLost(f"cannot connect to {address}: {open_message(reader.failure)}")

    # ----------------------------------------------------------------------- serving

    async def serve(
        self,
        address: str,
        handler: Handler,
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accepts connections until cancelled; see `Transport.serve`."""
        listeners, bound = await _listen(address)

        async def accept(stream: trio.SocketStream) -> None:
            await self._accept(take_over(stream), handler)

        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, accept, listeners)
            task_status.started(bound)

    async def _accept(self, stream: TcpStream, handler: Handler) -> None:
        """Serves one TCP connection from its first byte to its last. Raises no `Exception`."""
        limits = self._limits
        if self._open >= limits.connections_max or self._opening >= limits.handshakes_max:
            self._refused += 1
            stream.close()
            return
        self._open += 1
        try:
            async with trio.open_nursery() as nursery:
                connection = await self._open_server(nursery, stream)
                if connection is not None:
                    self._accepted += 1
                    await run_handler(connection, handler, self._on_error)
                nursery.cancel_scope.cancel()
        finally:
            self._open -= 1
            stream.close()

    async def _open_server(
        self, nursery: trio.Nursery, stream: TcpStream
    ) -> WebSocketConnection | None:
        limits = self._limits
        remote = stream.remote
        reader = Reader(nursery)
        connection = None
        self._opening += 1
        try:
            with trio.move_on_after(limits.handshake_timeout_s), reader.opening:
                request = await trio_websocket.wrap_server_stream(
                    reader.as_nursery(),
                    stream,
                    message_queue_size=MESSAGE_QUEUE_FRAMES,
                    max_message_size=limits.frame_bytes_max,
                    receive_buffer_size=RECEIVE_BUFFER_BYTES,
                )
                connection = WebSocketConnection(
                    stream, await request.accept(), reader, remote, limits.frame_bytes_max
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection only
            if not isinstance(error, trio_websocket.ConnectionClosed):
                self._on_error(remote, error)
        finally:
            self._opening -= 1
            if connection is None:
                self._failed += 1
                reader.stop()
        return connection


async def _open_stream(address: str) -> TcpStream:
    try:
        host, port = parse_address(address)
        return take_over(await trio.open_tcp_stream(host, port))
    except ValueError as error:
        raise ConnectionLost(f"cannot connect: {error}") from None
    except OSError as error:
        raise ConnectionLost(f"cannot connect to {address}: {_why(error)}") from error


def _why(error: OSError) -> str:
    """The causes of a failed dial, each address tried has one; equal ones once."""
    cause = error.__cause__
    causes: tuple[BaseException, ...] = (error,)
    if isinstance(cause, BaseExceptionGroup):
        causes = cause.exceptions
    elif isinstance(cause, OSError):
        causes = (cause,)
    texts = [(isinstance(one, OSError) and one.strerror) or str(one) for one in causes]
    return "; ".join(dict.fromkeys(texts)).lower()


async def _listen(address: str) -> tuple[list[trio.SocketListener], str]:
    """Binds `address`; a name with several addresses is bound at all of them on the same port."""
    host, port = parse_address(address)
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=LISTEN_BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {_why(error)}") from error
    bound_port: int = listeners[0].socket.getsockname()[1]
    if port == 0 and len(listeners) > 1:
        # Each address got a port of its own: one of them is as good as any.
        for listener in listeners[1:]:
            listener.socket.close()
        del listeners[1:]
    return listeners, format_address(host, bound_port)
