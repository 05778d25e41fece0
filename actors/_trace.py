"""The trace ring: what happened to every message, always on.

A record is a plain tuple appended to a bounded deque; a class is put around it only when somebody
reads. It holds types, ids, sizes and times, never payloads. Recording never waits and never raises.
Writing records to a file is a sink that is attached and detached while the system runs
(`_trace_file`).

Several systems in one process, as in a simulation, have one log each. Message ids carry the log's
prefix in their upper bits, so that cause ids link the files of several nodes.
"""

from __future__ import annotations

import enum
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import attrs
import trio

CAPACITY: Final = 100_000
ID_BITS: Final = 40
PREFIX_MAX: Final = (1 << 24) - 1
SCAN_MAX: Final = 20_000  # how far back the flight recorder looks: a crash must not stall a node


class Kind(enum.StrEnum):
    """All kinds of records. `actor` is the actor it happened to, for a send the receiver."""

    SEND = "send"
    """Queued. `queue_len` counts the user mail waiting, this message included."""
    DROP = "drop"
    """Refused or dropped by the overflow policy, or an ask found expired when taken out."""
    DELIVER = "deliver"
    """Taken out to be handled; `waited` is the time in the queue."""
    HANDLE = "handle"
    """Handled; `took` is the time it took."""
    REPLY = "reply"
    """An ask ended: outcome ok, failed, refused, stopped or cycle; `waited` since it was sent."""
    FAIL = "fail"
    """The handler raised, or the actor failed outside of one; outcome is the error's type."""
    EXPIRE = "expire"
    """An ask ended without an answer: outcome timeout or cancelled."""
    LATE = "late"
    """An answer that nobody waits for any more."""
    DEAD = "dead"
    """A dead letter; the outcome is the reason."""
    WATCH = "watch"
    """A watched actor has ended and its watcher is told."""
    TIMER = "timer"
    """A timer fired."""
    START = "start"
    """An incarnation is ready; `took` is the time its `started` took."""
    RESTART = "restart"
    """The supervisor will start the next incarnation; `waited` is the backoff."""
    STOP = "stop"
    """An incarnation is over: outcome normal, killed, start_failed or the error's type."""
    NOTE = "note"
    """A record of the application, for what travels inside batches."""


Record: TypeAlias = (
    "tuple[int, float, str, str, int, int, int, int, str, int, float, float, str, int]"
)


@attrs.frozen
class TraceRecord:
    """One record, as a reader sees it. Times in seconds on the trio clock of its node."""

    seq: int
    at: float
    kind: str
    actor: str
    incarnation: int
    message_id: int
    cause_id: int
    chain_id: int
    type: str
    queue_len: int
    waited: float
    took: float
    outcome: str
    bytes: int


FIELDS: Final = tuple(field.name for field in attrs.fields(TraceRecord))


class TraceLog:
    """The ring of one system, its clock and its source of ids.

    Attributes:
        append: Records one tuple. Fetched anew for every batch: it changes with the sink.
        next_seq: The next sequence number.
        new_id: The next message id, unique over all logs with different prefixes.
        clock: Seconds; the trio clock unless another was given.
    """

    def __init__(
        self,
        node: str,
        *,
        prefix: int,
        capacity: int = CAPACITY,
        clock: Callable[[], float] = trio.current_time,
        boot_id: int = 0,
        anchor_s: float = 0.0,
    ) -> None:
        """Make an empty log.

        Args:
            node: The name of the node in trace files.
            prefix: 0 to 2**24 - 1, the upper bits of all ids of this log.
            capacity: Records in the ring; one takes about 300 bytes.
            clock: Another clock than trio's.
            boot_id: The boot of the node, for the header of trace files.
            anchor_s: Wall clock minus trio clock, by which files of several nodes are merged.
        """
        if not 0 <= prefix <= PREFIX_MAX:
            raise ValueError(f"a trace prefix is 0 to {PREFIX_MAX}, not {prefix}")
        if capacity < 1:
            raise ValueError(f"a trace ring holds at least one record, not {capacity}")
        self.node = node
        self.boot_id = boot_id
        self.anchor_s = anchor_s
        self.clock = clock
        self._ring: deque[Record] = deque(maxlen=capacity)
        self.append: Callable[[Record], None] = self._ring.append
        self.next_seq: Callable[[], int] = itertools.count().__next__
        self.new_id: Callable[[], int] = itertools.count((prefix << ID_BITS) + 1).__next__

    def bind_clock(self, clock: Callable[[], float]) -> None:
        """Use the clock of the run directly, unless another one was chosen."""
        if self.clock is trio.current_time:
            self.clock = clock

    def attach(self, sink: Callable[[Record], None]) -> None:
        """Pass every record to a sink as well. It must neither wait nor raise."""
        keep = self._ring.append

        def append(record: Record) -> None:
            keep(record)
            sink(record)

        self.append = append

    def detach(self) -> None:
        """Only keep the ring from now on."""
        self.append = self._ring.append

    def __len__(self) -> int:
        return len(self._ring)

    def records(self) -> Iterator[TraceRecord]:
        """The records in the ring, oldest first."""
        return (TraceRecord(*record) for record in tuple(self._ring))

    def raw(self) -> tuple[Record, ...]:
        """The ring as it is, oldest first."""
        return tuple(self._ring)

    def where(
        self,
        *,
        kind: str | None = None,
        actor: str | None = None,
        type: str | None = None,  # noqa: A002  # the name of the field
        chain: int | None = None,
    ) -> list[TraceRecord]:
        """The records that have all the given values, oldest first."""
        wanted = [
            (position, value)
            for position, value in ((2, kind), (3, actor), (8, type), (7, chain))
            if value is not None
        ]
        return [
            TraceRecord(*record)
            for record in tuple(self._ring)
            if all(record[position] == value for position, value in wanted)
        ]

    def chain(self, chain: int) -> list[TraceRecord]:
        """All records of one client request."""
        return self.where(chain=chain)

    def actor(self, path: str) -> list[TraceRecord]:
        """All records of one actor."""
        return self.where(actor=path)

    def last_of(self, path: str, count: int) -> list[TraceRecord]:
        """The last records of one actor, oldest first, as far as a bounded look back finds them."""
        found: list[TraceRecord] = []
        for record in itertools.islice(reversed(self._ring), SCAN_MAX):
            if record[3] == path:
                found.append(TraceRecord(*record))
                if len(found) == count:
                    break
        found.reverse()
        return found
