"""Noticing that nothing can ever happen again, and saying who waits where."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import trio

IDLE_PASSES: Final = 3  # passes of the loop that are needed to be sure
TASKS_SHOWN: Final = 200


class StuckDetector(trio.abc.Instrument):
    """Cancels a scope once every task waits and no deadline is left.

    For tests under MockClock or the real clock, with no real input in flight: a deadlock hangs
    them for ever. (A task that loops on `wait_all_tasks_blocked` would keep MockClock from ever
    jumping.) Under `VirtualClock` there is no need of it.
    """

    def __init__(self, scope: trio.CancelScope) -> None:
        self.stuck = False
        self.tasks = ""
        self._scope = scope
        self._idle = 0

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002  # trio's signature
        """Count the passes in which nothing can run and nothing is due."""
        now = trio.lowlevel.current_statistics()
        waiting = now.tasks_runnable == 0 and now.seconds_to_next_deadline == math.inf
        self._idle = self._idle + 1 if waiting else 0
        if self._idle > IDLE_PASSES and not self.stuck:
            self.stuck = True
            self.tasks = describe_tasks()
            self._scope.cancel("stuck: all tasks wait and no deadline is left")


def describe_tasks() -> str:
    """Every task by name, with the innermost line it waits at."""
    root = trio.lowlevel.current_root_task()
    if root is None:
        return "no tasks"
    lines = sorted(_describe(root))
    if len(lines) > TASKS_SHOWN:
        lines[TASKS_SHOWN:] = [f"... and {len(lines) - TASKS_SHOWN} more"]
    return "\n".join(lines)


def _describe(task: trio.lowlevel.Task) -> Iterator[str]:
    places = [
        f"{frame.f_code.co_filename.rpartition('/')[2]}:{line} in {frame.f_code.co_name}"
        for frame, line in task.iter_await_frames()
        if "/trio/" not in frame.f_code.co_filename
    ]
    if places:  # trio's own tasks have none
        yield f"  {task.name} waits at {places[-1]}"
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _describe(child)
