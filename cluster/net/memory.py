"""The simulated network: encoded frames between hosts of one process, under a virtual clock.

It is the timer heap of the clock: to send is a plain call that draws a latency and books the
delivery, to deliver is a plain call of the clock; there is no task per message. Order is kept per
direction, as by TCP; a lost frame is lost whole. All draws come from one generator, so equal seeds
give equal runs.

Hosts are names. What `kill` does to a host is what SIGKILL does to a process: its connections and
listeners are gone at once, and none of its code runs because of it; a new `transport` of the same
name is its next life. Faults concern frames; opening and closing suffer from cuts and delays only.
"""

import errno
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol

import trio

from cluster.errors import ConnectionLost
from cluster.net.addresses import format_address, parse_address
from cluster.net.base import (
    CLOSE_GOING_AWAY,
    DEFAULT_LIMITS,
    Connection,
    ConnectionLimits,
    Handler,
    OnError,
    TransportStatistics,
)
from cluster.net.memory_connection import MemoryConnection
from cluster.net.memory_faults import Fault, FaultTable, Hosts, LatencyS
from cluster.net.serving import log_error, run_handler

LATENCY_S_DEFAULT: Final[LatencyS] = (0.0002, 0.001)
_EPHEMERAL_PORT_MIN: Final = 49_152


class Scheduler(Protocol):
    """The clock's timer heap; `actors.testing.VirtualClock` is one."""

    def current_time(self) -> float:
        """Seconds."""

    def call_at(self, when: float, fn: Callable[[], None], /) -> Any:
        """Calls `fn` at `when`, in order of booking where times are equal."""


class MemoryNetwork:
    """All hosts, the connections between them and the faults in force."""

    def __init__(
        self,
        scheduler: Scheduler,
        rng: random.Random,
        *,
        latency_s: LatencyS = LATENCY_S_DEFAULT,
        on_frame: Callable[[float, str, str, bytes], None] | None = None,
    ) -> None:
        """Makes a network without hosts.

        Args:
            scheduler: clock and timers.
            rng: source of latencies and losses.
            latency_s: lowest and highest latency of a frame.
            on_frame: is told of each delivery: time, source, target, frame.
        """
        self._scheduler = scheduler
        self._rng = rng
        self._faults = FaultTable(latency_s)
        self._on_frame = on_frame
        self._hosts: dict[str, MemoryTransport] = {}
        self._numbers = 0
        self.frames_carried = 0
        self.frames_lost = 0

    def transport(
        self,
        host: str,
        limits: ConnectionLimits = DEFAULT_LIMITS,
        *,
        on_error: OnError = log_error,
    ) -> "MemoryTransport":
        """The network as `host` sees it: the first life of a host, or the next after `kill`."""
        living = self._hosts.get(host)
        assert living is None or not living.alive, f"host {host} is alive"
        self._hosts[host] = transport = MemoryTransport(self, host, limits, on_error)
        return transport

    # ----------------------------------------------------------------------- faults

    def drop(self, sources: Hosts, targets: Hosts, rate: float) -> Fault:
        """Loses a share of the frames from `sources` to `targets`."""
        return self._faults.add_drop(sources, targets, rate)

    def delay(self, sources: Hosts, targets: Hosts, low_s: float, high_s: float) -> Fault:
        """Adds latency to frames from `sources` to `targets`."""
        return self._faults.add_delay(sources, targets, (low_s, high_s))

    def cut(self, sources: Hosts, targets: Hosts) -> Fault:
        """Loses everything from `sources` to `targets`, what is on its way included."""
        return self._faults.add_cut(sources, targets)

    def partition(self, one: Hosts, other: Hosts) -> tuple[Fault, Fault]:
        """Cuts both directions."""
        return self.cut(one, other), self.cut(other, one)

    def heal(self) -> None:
        """Ends every fault; what was lost stays lost."""
        self._faults.clear()

    def kill(self, host: str) -> None:
        """Ends a host without running any of its code."""
        transport = self._hosts[host]
        for end in transport.fence():
            self.carry_end(end, "reset: the other side is gone")

    # ----------------------------------------------------------------------- for connections

    def carry(self, end: MemoryConnection, frame: bytes) -> bool:
        """Books the delivery of a frame; False if it is lost."""
        path = self._faults.path(end.host, end.peer.host)
        lost = path.is_cut
        for rate in path.drop_rates:
            lost |= self._rng.random() < rate
        if lost:
            self.frames_lost += 1
            return False
        self.frames_carried += 1
        self._book(end, partial(self._deliver, end, frame))
        return True

    def carry_end(self, end: MemoryConnection, reason: str) -> None:
        """Books the news that `end` has ended."""
        self._book(end, partial(self._deliver_end, end, reason))

    def forget(self, end: MemoryConnection) -> None:
        """Notes that `end` has ended."""
        self._hosts[end.host].forget(end)

    def _deliver(self, end: MemoryConnection, frame: bytes) -> None:
        if self._faults.path(end.host, end.peer.host).is_cut:
            self.frames_lost += 1
            end.received(frame)
            return
        if self._on_frame is not None:
            self._on_frame(self._scheduler.current_time(), end.host, end.peer.host, frame)
        end.peer.deliver(frame)

    def _deliver_end(self, end: MemoryConnection, reason: str) -> None:
        if not self._faults.path(end.host, end.peer.host).is_cut:
            end.peer.end_from_afar(reason)

    def _book(self, end: MemoryConnection, event: Callable[[], None]) -> None:
        arrival = self._scheduler.current_time() + self._latency_s(end.host, end.peer.host)
        end.last_arrival = arrival = max(arrival, end.last_arrival)
        self._scheduler.call_at(arrival, event)

    def _latency_s(self, source: str, target: str) -> float:
        uniform = self._rng.uniform
        return sum(uniform(*latency) for latency in self._faults.path(source, target).latencies_s)

    # ----------------------------------------------------------------------- opening

    def open(self, dialler: "MemoryTransport", address: str, dial: "_Dial") -> None:
        """Books the arrival of a request for a connection."""
        host, port = parse_address(address)
        if host not in self._hosts:
            dial.fail(f"no host of the name {host}")
            return
        self._travel(dialler.host, host, partial(self._arrive, dialler, host, port, dial))

    def _arrive(self, dialler: "MemoryTransport", host: str, port: int, dial: "_Dial") -> None:
        source = dialler.host
        target = self._hosts[host]
        reason = target.refusal(port)
        if reason is not None:
            self._travel(host, source, partial(dial.fail, reason))
            return
        if dial.decided.is_set() or not dialler.alive:
            return
        here = self._end(dialler, format_address(host, port))
        there = self._end(target, format_address(source, _EPHEMERAL_PORT_MIN + here.number))
        here.peer, there.peer = there, here
        dialler.adopt(here)
        target.adopt(there)
        dial.end = here
        target.accept(port, there)
        self._travel(host, source, dial.succeed)

    def _end(self, transport: "MemoryTransport", remote: str) -> MemoryConnection:
        self._numbers += 1
        limit = transport.limits.frame_bytes_max
        return MemoryConnection(self, self._numbers, transport.host, remote, limit)

    def _travel(self, source: str, target: str, event: Callable[[], None]) -> None:
        """Books `event` after one latency, unless the way is cut then."""

        def arrive() -> None:
            if not self._faults.path(source, target).is_cut:
                event()

        self._scheduler.call_at(
            self._scheduler.current_time() + self._latency_s(source, target), arrive
        )

    def call_later(self, delay_s: float, event: Callable[[], None]) -> None:
        """Books `event` on the network's clock."""
        self._scheduler.call_at(self._scheduler.current_time() + delay_s, event)


class _Dial:
    """A dial under way; whatever comes first decides it. The dial of a killed host stays open."""

    def __init__(self, dialler: "MemoryTransport") -> None:
        self._dialler = dialler
        self.decided: Final = trio.Event()
        self.reason: str | None = None
        self.end: MemoryConnection | None = None

    def fail(self, reason: str) -> None:
        if not self.decided.is_set() and self._dialler.alive:
            self.reason = reason
            self.decided.set()

    def succeed(self) -> None:
        if self._dialler.alive:
            self.decided.set()


class _Listener:
    """A bound port: connections that wait to be served."""

    def __init__(self) -> None:
        self._waiting: deque[MemoryConnection] = deque()
        self._arrived = trio.Event()

    def put(self, end: MemoryConnection) -> None:
        self._waiting.append(end)
        self._arrived.set()

    def drain(self) -> list[MemoryConnection]:
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    async def next(self) -> MemoryConnection:
        while not self._waiting:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()


class MemoryTransport:
    """One life of a host on a simulated network."""

    def __init__(
        self, network: MemoryNetwork, host: str, limits: ConnectionLimits, on_error: OnError
    ) -> None:
        self.host: Final = host
        self.limits: Final = limits
        self.alive = True
        self._network = network
        self._on_error = on_error
        self._listeners: dict[int, _Listener] = {}
        self._ends: dict[int, MemoryConnection] = {}
        self._open = 0
        self._accepted = 0
        self._refused = 0

    def statistics(self) -> TransportStatistics:
        """Counters of accepted connections; here nothing is half open."""
        return TransportStatistics(self._open, 0, self._accepted, self._refused, 0)

    @asynccontextmanager
    async def dial(self, address: str, *, timeout_s: float) -> AsyncIterator[Connection]:
        """Opens a connection; see `Transport.dial`."""
        connection = await self._connect(address, timeout_s)
        try:
            yield connection
        finally:
            await connection.aclose()

    async def serve(
        self,
        address: str,
        handler: Handler,
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accepts connections until cancelled; see `Transport.serve`."""
        host, port = parse_address(address)
        port = port or self._free_port()
        if port in self._listeners or not self.alive:
            reason = "address already in use" if self.alive else "the host was killed"
            raise OSError(errno.EADDRINUSE, f"cannot listen on {address}: {reason}")
        self._listeners[port] = listener = _Listener()
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(format_address(host, port))
                while True:
                    end = await listener.next()
                    nursery.start_soon(self._handle, end, handler)
        finally:
            self._listeners.pop(port, None)
            for end in listener.drain():
                self._open -= 1
                end.shut("going away", CLOSE_GOING_AWAY)

    async def _handle(self, end: MemoryConnection, handler: Handler) -> None:
        try:
            await run_handler(end, handler, self._on_error)
        finally:
            self._open -= 1

    async def _connect(self, address: str, timeout_s: float) -> MemoryConnection:
        if not self.alive:
            raise ConnectionLost(f"cannot connect to {address}: the host was killed")
        dial = _Dial(self)
        try:
            self._network.open(self, address, dial)
        except ValueError as error:
            raise ConnectionLost(f"cannot connect: {error}") from None
        late = partial(dial.fail, f"no answer within {timeout_s:g} s")
        self._network.call_later(timeout_s, late)
        try:
            await dial.decided.wait()
        except BaseException:
            self._abandon(dial)
            raise
        if dial.reason is not None:
            self._abandon(dial)
            raise ConnectionLost(f"cannot connect to {address}: {dial.reason}")
        assert dial.end is not None, "a dial succeeds with an end"
        return dial.end

    def _abandon(self, dial: _Dial) -> None:
        dial.fail("abandoned")
        if dial.end is not None:
            dial.end.shut("abandoned", CLOSE_GOING_AWAY)

    def _free_port(self) -> int:
        port = _EPHEMERAL_PORT_MIN
        while port in self._listeners:
            port += 1
        return port

    # ----------------------------------------------------------------------- for the network

    def refusal(self, port: int) -> str | None:
        """Why a connection to `port` is refused; None if it is not."""
        if not self.alive or port not in self._listeners:
            return "connection refused"
        if self._open >= self.limits.connections_max:
            self._refused += 1
            return "closed by the other side: too many connections"
        return None

    def accept(self, port: int, end: MemoryConnection) -> None:
        """Takes an incoming connection."""
        self._open += 1
        self._accepted += 1
        self._listeners[port].put(end)

    def adopt(self, end: MemoryConnection) -> None:
        """Notes an open connection of this host."""
        self._ends[end.number] = end

    def forget(self, end: MemoryConnection) -> None:
        """Notes that a connection of this host has ended."""
        self._ends.pop(end.number, None)

    def fence(self) -> list[MemoryConnection]:
        """Ends this life; returns the connections it had."""
        self.alive = False
        self._listeners.clear()
        ends = list(self._ends.values())
        self._ends.clear()
        for end in ends:
            end.fence()
        return ends
