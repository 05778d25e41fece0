"""The timers of all actors of a system: keyed, each with a generation.

Setting a key again replaces its timer, and a tick already on its way for the old one is void: a
tick is `claim`ed by key and generation at the moment it would be handled. So cancelling always
works, and at most one valid tick per key exists.

One heap serves all. Moving a timer further away leaves its heap entry where it is, to be pushed
anew when it comes up; so an actor that moves its one timer after every batch does not grow the
heap. The table holds no clock and runs nothing.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

import attrs

O = TypeVar("O")  # noqa: E741  # the owner of a timer; the table only compares its key
P = TypeVar("P")

COMPACT_FROM: Final = 64  # below so many heap entries dead ones are not worth a sweep


@attrs.define(eq=False)
class _Timer(Generic[O, P]):
    owner: O
    key: Hashable
    generation: int
    due: float
    payload: P
    queued_at: float = math.nan
    """The time of its one valid heap entry; NaN once it has fired or was dropped."""


@attrs.frozen
class Due(Generic[O, P]):
    """A timer that has come up."""

    owner: O
    key: Hashable
    generation: int
    payload: P


class TimerTable(Generic[O, P]):
    """Timers by owner (a small int) and key."""

    def __init__(self) -> None:
        self._timers: dict[int, dict[Hashable, _Timer[O, P]]] = {}
        self._heap: list[tuple[float, int, _Timer[O, P]]] = []
        self._generation = 0
        self._queued = 0  # valid heap entries

    def set(self, owner_id: int, owner: O, key: Hashable, due: float, payload: P) -> None:
        """Set or move the timer of a key; `due` in seconds on the caller's clock."""
        self._generation += 1
        timers = self._timers.setdefault(owner_id, {})
        timer = timers.get(key)
        if timer is None:
            timer = timers[key] = _Timer(owner, key, self._generation, due, payload)
        else:
            timer.generation, timer.due, timer.payload = self._generation, due, payload
        if not timer.queued_at <= due:  # also true for NaN: there is no entry
            self._push(timer)

    def cancel(self, owner_id: int, key: Hashable) -> bool:
        """Drop the timer of a key, even if its tick is on its way; False if there was none."""
        timer = self._timers.get(owner_id, {}).pop(key, None)
        if timer is None:
            return False
        self._drop(timer)
        if not self._timers[owner_id]:
            del self._timers[owner_id]
        return True

    def cancel_all(self, owner_id: int) -> None:
        """Drop all timers of an owner."""
        for timer in self._timers.pop(owner_id, {}).values():
            self._drop(timer)

    def next_due(self) -> float:
        """A time before which nothing comes up; `math.inf` without timers."""
        while self._heap and self._stale(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def pop_due(self, now: float) -> list[Due[O, P]]:
        """All timers that have come up, in order of time; each stays claimable."""
        due: list[Due[O, P]] = []
        while self.next_due() <= now:
            timer = heapq.heappop(self._heap)[2]
            timer.queued_at = math.nan
            self._queued -= 1
            if timer.due > now:
                self._push(timer)
            else:
                due.append(Due(timer.owner, timer.key, timer.generation, timer.payload))
        return due

    def claim(self, owner_id: int, key: Hashable, generation: int) -> bool:
        """Whether a tick is still valid; it is used up by this."""
        timer = self._timers.get(owner_id, {}).get(key)
        if timer is None or timer.generation != generation:
            return False
        return self.cancel(owner_id, key)

    def count(self, owner_id: int) -> int:
        """How many timers an owner has."""
        return len(self._timers.get(owner_id, ()))

    def __len__(self) -> int:
        return sum(len(timers) for timers in self._timers.values())

    def _push(self, timer: _Timer[O, P]) -> None:
        if math.isnan(timer.queued_at):
            self._queued += 1
        timer.queued_at = timer.due
        self._generation += 1  # also the tie-breaker: equal times fire in the order they were set
        heapq.heappush(self._heap, (timer.due, self._generation, timer))
        if len(self._heap) > COMPACT_FROM and len(self._heap) > 2 * self._queued:
            self._heap = [entry for entry in self._heap if not self._stale(entry)]
            heapq.heapify(self._heap)

    def _drop(self, timer: _Timer[O, P]) -> None:
        if not math.isnan(timer.queued_at):
            timer.queued_at = math.nan
            self._queued -= 1

    @staticmethod
    def _stale(entry: tuple[float, int, _Timer[O, P]]) -> bool:
        return entry[2].queued_at != entry[0]
