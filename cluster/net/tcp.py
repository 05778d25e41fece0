"""A TCP stream that goes to the kernel first and to the scheduler only if it has to wait.

`trio.SocketStream` passes through the scheduler on every call, also when the kernel answers at
once, and asks for more data right after each piece, only to hear that there is none. On the path of
a request that is two turns of the event loop and one system call per frame for nothing: about a
third of what a frame costs. Here a call that need not wait returns without a checkpoint, and after
a read that did not fill its buffer the next one waits before it asks.

Who calls this in a loop has to reach a checkpoint elsewhere, as trio-websocket does with every
message and an actor with every batch. One task may send and one may receive at a time.
"""

import contextlib
import socket
from typing import Final

import trio

from cluster.net.addresses import format_address
from cluster.net.base import SEND_TIMEOUT_S

RECEIVE_BYTES_DEFAULT: Final = 64 * 1024


class TcpStream(trio.abc.HalfCloseableStream):
    """One TCP connection; see the module. Made by `take_over`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket: Final = sock
        self._drained = True
        self._sending = False
        self._closed = False
        self.remote: Final = _remote_of(sock)
        """The other end as `host:port`; "unknown" if it has gone already."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends everything; a checkpoint only if the kernel's buffer is full.

        Raises:
            trio.BrokenResourceError: the other side is gone.
            trio.BusyResourceError: another task is sending.
            trio.ClosedResourceError: this stream was closed.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending")
        self._sending = True
        try:
            sent = self._send(data)
            if sent < len(data):
                await self._send_rest(memoryview(data)[sent:])
        finally:
            self._sending = False

    async def _send_rest(self, rest: memoryview) -> None:
        while rest:
            with trio.move_on_after(SEND_TIMEOUT_S) as waiting:
                await trio.lowlevel.wait_writable(self._socket)
            if waiting.cancelled_caught:
                raise trio.BrokenResourceError(f"no bytes taken for {SEND_TIMEOUT_S:g} s")
            rest = rest[self._send(rest) :]

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        if self._closed:
            raise trio.ClosedResourceError("the stream was closed")
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error

    async def wait_send_all_might_not_block(self) -> None:
        """Waits until the kernel takes data. Raises as `send_all`."""
        if self._closed:
            raise trio.ClosedResourceError("the stream was closed")
        await trio.lowlevel.wait_writable(self._socket)

    async def send_eof(self) -> None:
        """Tells the other side that nothing more comes. Raises as `send_all`."""
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError("the stream was closed")
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Reads what is there, up to `max_bytes`; empty at the end of the stream.

        Raises:
            trio.BrokenResourceError: the other side broke the connection.
            trio.BusyResourceError: another task is receiving.
            trio.ClosedResourceError: this stream was closed.
        """
        limit = max_bytes or RECEIVE_BYTES_DEFAULT
        while True:
            if self._closed:
                raise trio.ClosedResourceError("the stream was closed")
            if self._drained:
                await trio.lowlevel.wait_readable(self._socket)
                self._drained = False
                continue
            try:
                data = self._socket.recv(limit)
            except BlockingIOError:
                self._drained = True
                continue
            except OSError as error:
                raise trio.BrokenResourceError(f"the connection broke: {error}") from error
            self._drained = 0 < len(data) < limit
            return data

    def close(self) -> None:
        """Closes at once; whoever waits in another call gets `ClosedResourceError`."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(RuntimeError):  # outside of trio nobody waits
                trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def aclose(self) -> None:
        """Closes at once; a checkpoint."""
        self.close()
        await trio.lowlevel.checkpoint()


def take_over(stream: trio.SocketStream) -> TcpStream:
    """Makes a stream of the socket of another one, which is empty afterwards."""
    plain = stream.socket
    family, kind, protocol = plain.family, plain.type, plain.proto
    return TcpStream(socket.socket(family, kind, protocol, fileno=plain.detach()))


def _remote_of(sock: socket.socket) -> str:
    try:
        host, port, *_ = sock.getpeername()
    except OSError:
        return "unknown"
    return format_address(host, port)
