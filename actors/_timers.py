"""The one task that fires the timers of a whole system.

It sleeps in a cancel scope whose deadline is moved when an earlier timer is set, so that a timer
costs neither a task nor a scope. A tick goes to the control lane of its actor.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import trio

from actors._timer_table import TimerTable

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actors._cell import Cell

Payload: TypeAlias = "tuple[object, int]"  # the message, and the id of the one that set the timer


class Timers:
    """The timers of one system."""

    def __init__(self) -> None:
        self._table: TimerTable[Cell, Payload] = TimerTable()
        self._sleep: trio.CancelScope | None = None

    def set(self, cell: Cell, key: Hashable, due: float, payload: Payload) -> None:
        """Set or move a timer; `due` in seconds on the trio clock."""
        self._table.set(cell.number, cell, key, due, payload)
        if self._sleep is not None and due < self._sleep.deadline:
            self._sleep.deadline = due

    def cancel(self, owner: int, key: Hashable) -> None:
        """Drop a timer, even if its tick is on its way."""
        self._table.cancel(owner, key)

    def cancel_all(self, owner: int) -> None:
        """Drop all timers of an actor."""
        self._table.cancel_all(owner)

    def claim(self, owner: int, key: Hashable, generation: int) -> bool:
        """Whether a tick still counts; uses it up."""
        return self._table.claim(owner, key, generation)

    def count(self, owner: int) -> int:
        """How many timers an actor has."""
        return self._table.count(owner)

    async def run(self) -> None:
        """Fire timers until cancelled."""
        while True:
            # next_due() is a lower bound: a timer that was moved away may wake us for nothing.
            with trio.CancelScope(deadline=self._table.next_due()) as self._sleep:
                await trio.sleep(math.inf)
            for due in self._table.pop_due(trio.current_time()):
                message, cause = due.payload
                due.owner.post_tick(due.key, due.generation, message, cause)
