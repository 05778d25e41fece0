"""When operations have to be given up: by far most of them are done long before.

A new operation is only appended to a list; whoever still waits when time is looked at moves on to
a heap. So an operation that is answered in time costs one append, and none of the two grows beyond
twice the operations in flight: what is done is swept out.
"""

import heapq
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Final

from cluster.client._operation import Operation

__all__ = ["Deadlines"]

SWEEP_SLACK: Final = 16
"""Operations that are done and may stay, however few are in flight; few, so that their memory is
used again while it is in the processor's cache.
"""


class Deadlines:
    """Operations in flight, by the time at which they are given up.

    Args:
        on_wake: called with a deadline that is earlier than every one it was told before.
    """

    __slots__ = ("_fresh", "_heap", "_numbers", "_on_wake", "_told")

    def __init__(self, on_wake: Callable[[float], None]) -> None:
        self._on_wake = on_wake
        self._told = inf
        """No open operation has an earlier deadline."""
        self._fresh: list[Operation] = []
        """Newer than all in the heap, in the order of coming."""
        self._heap: list[tuple[float, int, Operation]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._fresh) + len(self._heap)

    def add(self, operation: Operation, active: int) -> None:
        """Watch one more operation; `active` of them are in flight."""
        fresh = self._fresh
        fresh.append(operation)
        if len(fresh) > 2 * active + SWEEP_SLACK:
            self._fresh = [operation for operation in fresh if not operation.done]
        if operation.deadline < self._told:
            self._told = operation.deadline
            self._on_wake(operation.deadline)

    def due(self, now: float, active: int) -> list[Operation]:
        """Operations whose deadline has come, the earliest first; they are not watched any more."""
        heap = self._heap
        if len(heap) > 2 * active + SWEEP_SLACK:
            heap = self._heap = [entry for entry in heap if not entry[2].done]
            heapq.heapify(heap)
        for operation in self._fresh:
            if not operation.done:
                heapq.heappush(heap, (operation.deadline, next(self._numbers), operation))
        self._fresh = []
        due = []
        while heap and (heap[0][2].done or heap[0][0] <= now):
            operation = heapq.heappop(heap)[2]
            if not operation.done:
                due.append(operation)
        self._told = heap[0][0] if heap else inf
        return due

    def earliest(self) -> float:
        """No open operation has to be given up before; `math.inf` if there is none."""
        return self._told

    def in_order(self) -> list[Operation]:
        """All open operations, in the order in which they came."""
        known = [entry[2] for entry in sorted(self._heap, key=lambda entry: entry[1])]
        return [operation for operation in (*known, *self._fresh) if not operation.done]
