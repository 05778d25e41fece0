"""The trio driver of the client core: connections, one timer, and callers that wait.

Every connection has a reader and a writer task; the writer puts whatever waits into one frame and
writes it at once when it is idle. All deadlines share one task that sleeps until the core's
`wake_at`. A caller that waits is a parked task: there is no nursery, scope or event per operation.
Decisions are the core's; failures of connections become its inputs here and never leave a task.
"""

from collections.abc import Awaitable, Sequence
from functools import partial
from math import inf
from typing import Any, Final

import trio

from cluster.client._core import ClientCore
from cluster.client._operation import Operation
from cluster.client._output import Flush
from cluster.environment import Environment
from cluster.errors import ConnectionLost, HandshakeRefused, ProtocolError, Unavailable
from cluster.net.base import CLOSE_PROTOCOL_ERROR, Connection
from cluster.net.greeting import greet
from cluster.wire.codec import Codec, CodecName
from cluster.wire.handshake import client_hello
from cluster.wire.limits import FrameLimits

__all__ = ["FRAME_BYTES_MAX", "Driver"]

DIAL_TIMEOUT_S: Final = 3.0
GREETING_TIMEOUT_S: Final = 3.0
FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest frame a client takes; what a node sends and takes is in its `Welcome`."""

_SESSION_ID_BITS: Final = 64


class _Wire:
    """What the driver knows of one connection."""

    __slots__ = ("parked", "reason", "refused", "scope")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.parked: trio.lowlevel.Task | None = None
        """The writer, while it has nothing to write."""
        self.reason = ""
        """Why the core wants it closed."""
        self.refused = False
        """Whether the handshake was refused."""

    def wake_writer(self) -> None:
        """There is something to write."""
        if self.parked is not None:
            trio.lowlevel.reschedule(self.parked)
            self.parked = None

    async def park_writer(self) -> None:
        """Wait for something to write."""

        def abort(_: Any) -> trio.lowlevel.Abort:
            self.parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        self.parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)


class Driver:
    """Runs a `ClientCore` in a nursery.

    Args:
        seeds: Addresses to begin with.
        environment: Clock, randomness and network.
        nursery: Holds the tasks of all connections; cancelled by its owner at the end.
        codec: Format of frames.
        options: Further arguments of `ClientCore`.
    """

    def __init__(
        self,
        seeds: Sequence[str],
        environment: Environment,
        nursery: trio.Nursery,
        codec: CodecName,
        **options: Any,
    ) -> None:
        rng = environment.random("client")
        self.now: Final = environment.now
        self.core: Final = ClientCore(seeds, rng, environment.now(), **options)
        self._environment = environment
        self._nursery = nursery
        self._hello = client_hello(rng.getrandbits(_SESSION_ID_BITS))
        self._codec_name: CodecName = codec
        self._greeting_codec = Codec(codec)
        self._wires: dict[str, _Wire] = {}
        self._answered = False
        self._refused_by: dict[str, None] = {}
        self._decided = trio.Event()
        """A node has answered, or every seed has refused the handshake."""
        self._seeds = tuple(dict.fromkeys(seeds))
        self._sleep = trio.CancelScope()
        self._wake_at = -inf
        self._closed = ""

    async def start(self, timeout_s: float) -> None:
        """Start dialling; return once a node has answered.

        Raises:
            Unavailable: none did in time, or every one refused the handshake. The message names
            each with its
                reason.
        """
        self._nursery.start_soon(self._watch_time)
        self._carry_out()
        with trio.move_on_after(timeout_s):
            await self._decided.wait()
        if not self._answered:
            within = "" if self._decided.is_set() else f" within {timeout_s:g} s"
            raise Unavailable(f"no node took this client{within}; {self.core.failures()}")

    def run(self, operation: Operation) -> Awaitable[Any]:
        """Take an operation on; await what this returns until every key has its outcome.

        A caller that is cancelled leaves nothing behind. This is no coroutine itself: one level
        less to pass through for each caller that is woken.

        Raises:
            Unavailable: the client is closed.
        """
        core = self.core
        if self._closed:
            raise Unavailable(self._closed)
        core.submit(operation)
        if core.dirty or core.wake_at < self._wake_at:
            self._carry_out()
        if operation.done:
            return trio.lowlevel.checkpoint()  # noqa: ASYNC105 - the caller awaits it
        operation.waiter = trio.lowlevel.current_task()
        abort = partial(_leave, core, operation)
        return trio.lowlevel.wait_task_rescheduled(abort)  # noqa: ASYNC105 - as above

    def close(self) -> None:
        """Fail what is in flight and take no more."""
        self._closed = "the client is closed"
        self.core.close(self._closed)
        self._carry_out()

    # ---------------------------------------------------------------- outputs

    def _carry_out(self) -> None:
        """Do what the core wants done, after every input."""
        core = self.core
        while core.dirty:
            output = core.take()
            for address, reason in output.closes:
                wire = self._wires[address]
                wire.reason = reason
                wire.scope.cancel(reason)
            if not self._closed:
                for address in output.dials:
                    self._nursery.start_soon(self._serve, address)
            for address in output.flushes:
                self._wires[address].wake_writer()
            for operation in output.completed:
                if operation.waiter is not None:
                    trio.lowlevel.reschedule(operation.waiter)
                    operation.waiter = None
        if core.wake_at < self._wake_at:
            self._wake_at = core.wake_at
            self._sleep.deadline = trio.current_time() + (core.wake_at - self.now())

    async def _watch_time(self) -> None:
        """Tick whenever the core wants it."""
        core = self.core
        while True:
            self._wake_at = core.wake_at
            self._sleep = trio.CancelScope(
                deadline=trio.current_time() + (core.wake_at - self.now())
            )
            with self._sleep:
                await trio.sleep_forever()
            core.tick(self.now())
            self._carry_out()

    # ---------------------------------------------------------------- connections

    async def _serve(self, address: str) -> None:
        """One connection from dialling to its end."""
        wire = self._wires[address] = _Wire()
        reason = "closed"
        with wire.scope:
            try:
                dialling = self._environment.transport.dial(address, timeout_s=DIAL_TIMEOUT_S)
                async with dialling as connection:
                    reason = await self._converse(address, wire, connection)
            except ConnectionLost as error:
                reason = str(error)
        del self._wires[address]
        self.core.disconnected(address, wire.reason or reason, self.now())
        self._carry_out()
        if wire.refused:
            self._refused_by[address] = None
            if all(seed in self._refused_by for seed in self._seeds):
                self._decided.set()

    async def _converse(self, address: str, wire: _Wire, connection: Connection) -> str:
        """Use a connection; returns why it ended."""
        try:
            welcome = await greet(connection, self._hello, self._greeting_codec, GREETING_TIMEOUT_S)
        except (ConnectionLost, ProtocolError) as error:
            return str(error)
        except HandshakeRefused as error:
            wire.refused = True
            return str(error)
        limits = FrameLimits(frame_bytes_max=min(welcome.frame_max, FRAME_BYTES_MAX))
        codec = Codec(self._codec_name, limits)
        self._answered = True
        self._decided.set()
        self.core.connected(address, welcome, self.now())
        self._carry_out()
        reason = ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, address, wire, connection, codec)
            reason = await self._read(address, connection, codec)
            nursery.cancel_scope.cancel(reason)
        return reason

    async def _read(self, address: str, connection: Connection, codec: Codec) -> str:
        core, now = self.core, self.now
        while True:
            try:
                data = await connection.receive()
                at = now()
                frame = codec.decode(data, at)
            except ConnectionLost as error:
                return str(error)
            except ProtocolError as error:
                await connection.aclose(str(error), CLOSE_PROTOCOL_ERROR)
                return str(error)
            core.received(address, frame.header, frame.messages, at)
            self._carry_out()

    async def _write(self, address: str, wire: _Wire, connection: Connection, codec: Codec) -> None:
        """Write until the connection ends; the reader is told by the connection itself."""
        core, now = self.core, self.now
        while True:
            at = now()
            flush = core.flush(address, at)
            if flush is None:
                await wire.park_writer()
                continue
            if core.dirty or core.wake_at < self._wake_at:
                self._carry_out()
            parts = self._encode(flush, codec, at)
            start = 0
            while start < len(parts):
                end = codec.fitting(parts, start) if len(parts) > 1 else 1
                frame = codec.assemble(flush.header, parts[start:end])
                try:
                    await connection.send(frame)
                except ConnectionLost:
                    return
                start = end

    def _encode(self, flush: Flush, codec: Codec, now: float) -> list[bytes]:
        encode = codec.encode_message
        try:
            return [encode(message, now) for message in flush.messages]
        except ValueError:
            return self._encode_each(flush, codec, now)

    def _encode_each(self, flush: Flush, codec: Codec, now: float) -> list[bytes]:
        """Encode what can be, and refuse the rest."""
        parts = []
        for message in flush.messages:
            try:
                parts.append(codec.encode_message(message, now))
            except ValueError as error:
                self.core.unsendable(message.request_id, str(error))
        self._carry_out()
        return parts


def _leave(core: ClientCore, operation: Operation, _: Any) -> trio.lowlevel.Abort:
    """The caller of an operation is cancelled."""
    operation.waiter = None
    core.forget(operation)
    return trio.lowlevel.Abort.SUCCEEDED
