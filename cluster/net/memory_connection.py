"""One end of a simulated connection: an inbox, a window for the sender, and how it ended.

Everything that comes from the other end comes by a plain call of the clock (`deliver`,
`end_from_afar`), outside of any task; a task that waits is woken by an event.
"""

from collections import deque
from typing import Final, Protocol

import trio

from cluster.errors import ConnectionLost
from cluster.net.base import CLOSE_NORMAL, CLOSE_TOO_BIG, SEND_TIMEOUT_S, ConnectionStatistics

WINDOW_BYTES: Final = 1024 * 1024
"""Frames that were sent but not received yet may take this much; then the sender waits."""
_FRAME_COST_BYTES: Final = 64


class Carrier(Protocol):
    """What an end needs of the network."""

    def carry(self, end: "MemoryConnection", frame: bytes) -> bool:
        """Sends a frame to the other end; False if the network loses it."""

    def carry_end(self, end: "MemoryConnection", reason: str) -> None:
        """Tells the other end, after all frames, that this end is closed."""

    def forget(self, end: "MemoryConnection") -> None:
        """Notes that this end is closed."""


class MemoryConnection:
    """A `Connection` over the simulated network.

    Attributes:
        number: counts the ends of a network; says nothing else.
        host: name of the host of this end.
        peer: the other end.
        last_arrival: when the last frame sent so far arrives there; what follows is not earlier.
    """

    def __init__(
        self, carrier: Carrier, number: int, host: str, remote: str, frame_bytes_max: int
    ) -> None:
        self.number: Final = number
        self.host: Final = host
        self.peer: MemoryConnection
        self.last_arrival = 0.0
        self._carrier = carrier
        self._remote = remote
        self._frame_bytes_max = frame_bytes_max
        self._inbox: deque[bytes] = deque()
        self._arrived: trio.Event | None = None
        self._room: trio.Event | None = None
        self._unreceived_bytes = 0
        self._ended: str | None = None
        self._deaf = False
        self._frames_sent = self._bytes_sent = 0
        self._frames_received = self._bytes_received = 0

    @property
    def remote(self) -> str:
        """The other end, as `host:port`."""
        return self._remote

    @property
    def ended(self) -> str | None:
        """Why it has ended; None while it is open."""
        return self._ended

    def statistics(self) -> ConnectionStatistics:
        """Counters of this connection."""
        return ConnectionStatistics(
            self._frames_sent, self._bytes_sent, self._frames_received, self._bytes_received
        )

    # ----------------------------------------------------------------------- for its user

    async def send(self, frame: bytes) -> None:
        """Sends a whole frame; see `Connection.send`."""
        if len(frame) > self._frame_bytes_max:
            raise ValueError(f"a frame of {len(frame)} bytes, at most {self._frame_bytes_max}")
        try:
            await trio.lowlevel.checkpoint()
            if self._unreceived_bytes >= WINDOW_BYTES:
                await self._wait_for_room()
        except trio.Cancelled:
            self._end("a send was interrupted")
            raise
        if self._ended is not None:
            raise self._lost()
        if self._carrier.carry(self, frame):
            self._unreceived_bytes += len(frame) + _FRAME_COST_BYTES
        self._frames_sent += 1
        self._bytes_sent += len(frame)

    async def _wait_for_room(self) -> None:
        with trio.move_on_after(SEND_TIMEOUT_S):
            while self._ended is None and self._unreceived_bytes >= WINDOW_BYTES:
                if self._room is None:
                    self._room = trio.Event()
                await self._room.wait()
            return
        self._end(f"no bytes taken for {SEND_TIMEOUT_S:g} s")

    async def receive(self) -> bytes:
        """Waits for the next frame; see `Connection.receive`."""
        await trio.lowlevel.checkpoint()
        while self._deaf or not self._inbox:
            if self._ended is not None:
                raise self._lost()
            self._arrived = trio.Event()
            await self._arrived.wait()
        frame = self._inbox.popleft()
        self._frames_received += 1
        self._bytes_received += len(frame)
        self.peer.received(frame)
        return frame

    async def aclose(self, reason: str = "", code: int = CLOSE_NORMAL) -> None:
        """Ends the connection; see `Connection.aclose`."""
        self.shut(reason, code)

    def shut(self, reason: str, code: int) -> None:
        """The same by a plain call: there is nothing to wait for."""
        self._deaf = True
        if self._ended is None:
            text = f"closed by the other side ({code})" + (f": {reason}" if reason else "")
            self._end(f"closed here: {reason}", text)

    # ----------------------------------------------------------------------- for the network

    def received(self, frame: bytes) -> None:
        """Notes that the other end has taken a frame, or that it was lost after all."""
        self._unreceived_bytes -= len(frame) + _FRAME_COST_BYTES
        if self._room is not None and self._unreceived_bytes < WINDOW_BYTES:
            self._room.set()
            self._room = None

    def deliver(self, frame: bytes) -> None:
        """A frame of the other end has arrived."""
        if self._ended is not None:
            self._carrier.carry_end(self, "reset: the other side had closed")
        elif len(frame) > self._frame_bytes_max:
            text = f"message too big ({CLOSE_TOO_BIG}): at most {self._frame_bytes_max} bytes"
            self._end(text, text)
        else:
            self._inbox.append(frame)
            self._wake()

    def end_from_afar(self, reason: str) -> None:
        """The other end has closed; frames that came before can still be received."""
        if self._ended is None:
            self._ended = reason
            self._carrier.forget(self)
            self._wake()

    def fence(self) -> None:
        """The host was killed: nothing goes out any more, and nobody is woken to learn of it."""
        self._ended = "the host was killed"
        self._deaf = True
        self._arrived = self._room = None

    def _end(self, reason: str, reason_there: str = "dropped by the other side") -> None:
        if self._ended is None:
            self._ended = reason
            self._carrier.carry_end(self, reason_there)
            self._carrier.forget(self)
            self._wake()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None
        if self._room is not None and self._ended is not None:
            self._room.set()
            self._room = None

    def _lost(self) -> ConnectionLost:
        return ConnectionLost(f"connection to {self._remote} ended: {self._ended}")
