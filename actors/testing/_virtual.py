"""Virtual time: a clock that jumps when nothing can run, and runs that follow from a seed.

trio asks its clock how long to sleep only when no task can run. That call is the idle hook: the
next timer fires, or time jumps to the next deadline, and the answer is 0. Timers are plain calls
from a heap, so a simulated network needs no task per message. Where there is neither timer nor
deadline there is a deadlock, which is reported at once, by name, instead of hanging.

Not for worlds with anything real in flight (threads, sockets, files being waited for): the clock
takes them for idle. `trio.testing.wait_all_tasks_blocked` does not work here; sleep a little
instead, it costs nothing.
"""

from __future__ import annotations

import functools
import gc
import heapq
import math
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

import attrs
import trio

from actors.testing._scheduler import seeded_scheduler
from actors.testing._stuck import describe_tasks

P = ParamSpec("P")
R = TypeVar("R")

HORIZON_S: Final = 3600.0
IDLE_PASSES: Final = 3  # passes of trio's loop in which nothing can happen, to be sure
ABANDON_PASSES: Final = 300
SPIN_PASSES: Final = 200_000  # passes of trio's loop without time moving: nothing waits, ever


class Deadlock(AssertionError):
    """Every task waits, no timer is set and no deadline is left."""


class HorizonPassed(AssertionError):
    """Virtual time went past the limit of the run."""


class Spinning(AssertionError):
    """Tasks run and run, and time does not move."""


@attrs.define(eq=False)
class TimerHandle:
    """A timer of the clock."""

    when: float
    fn: Callable[[], None] | None

    def cancel(self) -> None:
        """Do not fire. Harmless afterwards."""
        self.fn = None


class VirtualClock(trio.abc.Clock, trio.abc.Instrument):
    """Starts at 0 and moves only when nothing can run.

    Attributes:
        jumps: How often time has moved or a timer has fired.
    """

    def __init__(self, *, horizon_s: float = HORIZON_S) -> None:
        self.jumps = 0
        self.failure: BaseException | None = None
        self._now = 0.0
        self._horizon_s = horizon_s
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._count = 0
        self._passes = 0
        self._idle = 0
        self._scope: trio.CancelScope | None = None

    # What trio calls.

    def start_clock(self) -> None:
        """The run begins."""

    def current_time(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Nothing can run: make something happen, and do not sleep."""
        self._passes = 0
        while self._heap and self._heap[0][2].fn is None:
            heapq.heappop(self._heap)
        due = self._heap[0][0] if self._heap else math.inf
        when = min(due, deadline)
        if when == math.inf:
            self._nothing()
        elif when > self._horizon_s:
            # Past the horizon once, the world is cancelled; its cleanup still needs time to pass.
            self._fail_once(HorizonPassed(f"still running after {self._horizon_s} virtual seconds"))
            self._horizon_s = math.inf
        else:
            self.jumps += 1
            self._idle = 0
            self._now = max(self._now, when)
            if due <= deadline:
                self._fire(heapq.heappop(self._heap)[2])
        return 0.0

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002  # trio's signature
        """Count the passes of trio's loop without a moment of idleness."""
        self._passes += 1
        if self._passes == SPIN_PASSES:
            self._fail_once(
                Spinning(f"no rest at {self._now:.6f} s in {SPIN_PASSES} passes of the loop")
            )

    # What the simulated world uses.

    def call_at(self, when: float, fn: Callable[[], None]) -> TimerHandle:
        """Call `fn` at a virtual time (in order of time, then of setting).

        It runs outside of all tasks and must not wait; an exception ends the run.
        """
        handle = TimerHandle(when, fn)
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, handle))
        return handle

    def call_later(self, delay_s: float, fn: Callable[[], None]) -> TimerHandle:
        """`call_at` from now."""
        return self.call_at(self._now + delay_s, fn)

    def guard(self, scope: trio.CancelScope) -> None:
        """Cancel this scope when the run has to be given up."""
        self._scope = scope

    def _fire(self, handle: TimerHandle) -> None:
        fn, handle.fn = handle.fn, None
        assert fn is not None, "a cancelled timer was at the top of the heap"
        try:
            fn()
        except Exception as error:  # noqa: BLE001  # raised by run_virtual; here is no task to do so
            self._fail_once(error)

    def _fail_once(self, failure: Exception) -> None:
        if self.failure is None:
            self.failure = failure
            if self._scope is not None:
                self._scope.cancel(f"virtual run given up: {type(failure).__name__}")

    def _nothing(self) -> None:
        """No timer and no deadline. trio itself may still have a wake-up of its own in flight."""
        self._idle += 1
        if self._idle == IDLE_PASSES:
            self._fail_once(
                Deadlock(f"nothing can happen after {self._now:.6f} s:\n{describe_tasks()}")
            )
        elif self._idle > ABANDON_PASSES:
            assert self.failure is not None, "passes were counted without a verdict"
            raise self.failure  # tasks that cannot be cancelled: nobody can end this in order


def run_virtual(
    async_fn: Callable[..., Awaitable[R]],
    *args: object,
    seed: int = 0,
    horizon_s: float = HORIZON_S,
) -> R:
    """Run a world under virtual time; the same seed gives the same run.

    Seeds trio's scheduler, and switches the garbage collector off, whose timing differs between
    processes. Everything random in the world must come from generators derived from the seed.

    Raises:
        Deadlock: Nothing can happen any more.
        HorizonPassed: It was still running after so many virtual seconds.
        Spinning: Tasks run and time does not move.
    """
    clock = VirtualClock(horizon_s=horizon_s)
    collects = gc.isenabled()
    gc.disable()
    try:
        with seeded_scheduler(seed):
            return trio.run(_guarded, clock, async_fn, args, clock=clock, instruments=[clock])
    except BaseException as error:  # noqa: BLE001  # raised again, with the seed
        failure = error
        if isinstance(error, trio.TrioInternalError) and clock.failure is not None:
            failure = clock.failure  # raised inside trio's loop, see `_nothing`
        failure.add_note(f"virtual run with seed {seed}")
        raise failure from failure.__cause__
    finally:
        if collects:
            gc.enable()


async def _guarded(
    clock: VirtualClock, async_fn: Callable[..., Awaitable[R]], args: tuple[object, ...]
) -> R:
    with trio.CancelScope() as scope:
        clock.guard(scope)
        try:
            result = await async_fn(*args)
        except Exception as error:
            if clock.failure is not None and error is not clock.failure:
                clock.failure.__context__ = error
                raise clock.failure from error
            raise
    if clock.failure is not None:
        raise clock.failure
    return result


def virtual(
    *, seed: int = 0, horizon_s: float = HORIZON_S
) -> Callable[[Callable[P, Awaitable[None]]], Callable[P, None]]:
    """Make a plain test of an async one: it runs under virtual time from this seed."""

    def decorate(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
        @functools.wraps(test)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            run_virtual(functools.partial(test, *args, **kwargs), seed=seed, horizon_s=horizon_s)

        return run

    return decorate
