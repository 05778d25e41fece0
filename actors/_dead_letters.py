"""Where mail goes that no actor will handle.

Mail for an ended actor, mail still queued when an actor ends, and the message in hand at a crash.
Counted by reason (and per actor in its statistics), the last ones kept by reference, and told to
subscribers. A refused message is no dead letter: its sender knows.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from actors._hooks import Hook

RECENT_MAX: Final = 100


class DeadReason(enum.Enum):
    """Why a message will never be handled."""

    ENDED = "ended"
    """It was sent to an actor that has ended."""
    QUEUED = "queued"
    """It was waiting when its actor ended."""
    CRASHED = "crashed"
    """Its handler raised. It is not delivered again, or a poison message would crash them all."""
    CANCELLED = "cancelled"
    """Its handler was cancelled: the grace of a stop was over, or a helper crashed."""


@attrs.frozen
class DeadLetter:
    """One message that will never be handled."""

    at: float
    path: str
    message: object
    message_id: int
    chain: int
    reason: DeadReason
    error: BaseException | None
    skipped: int = 0
    """How many a rate-limited subscriber was not told of since the last one."""


class DeadLetters:
    """The sink."""

    def __init__(self) -> None:
        self.total = 0
        self._counts: Counter[DeadReason] = Counter()
        self._recent: deque[DeadLetter] = deque(maxlen=RECENT_MAX)
        self._told: Hook[DeadLetter] = Hook("dead letter")

    @property
    def counts(self) -> Mapping[DeadReason, int]:
        """How many by reason."""
        return dict(self._counts)

    @property
    def recent(self) -> tuple[DeadLetter, ...]:
        """The last ones, oldest first."""
        return tuple(self._recent)

    def add(self, letter: DeadLetter) -> None:
        """Count, keep and tell."""
        self.total += 1
        self._counts[letter.reason] += 1
        self._recent.append(letter)
        self._told(letter)

    def subscribe(
        self, callback: Callable[[DeadLetter], None], *, per_second: float | None = None
    ) -> Callable[[], None]:
        """Tell of every dead letter, or of at most so many per second; returns how to end it."""
        if per_second is None:
            return self._told.add(callback)
        return self._told.add(_Limited(callback, 1.0 / per_second))


@attrs.define(eq=False)
class _Limited:
    """Tells of one letter per interval and counts the others, so that a storm fills no log."""

    callback: Callable[[DeadLetter], None]
    interval_s: float
    next_at: float = float("-inf")
    skipped: int = 0

    def __call__(self, letter: DeadLetter) -> None:
        if letter.at < self.next_at:
            self.skipped += 1
            return
        self.next_at = letter.at + self.interval_s
        skipped, self.skipped = self.skipped, 0
        self.callback(attrs.evolve(letter, skipped=skipped))
