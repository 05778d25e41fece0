"""When a supervisor restarts what, as a pure function over data.

The strategies, restart types and the limit "more than `intensity` restarts within `period_s`" are
those of Erlang/OTP's `supervisor`; the jittered backoff is not in OTP. A supervisor feeds exits in
and carries the decisions out; it decides nothing itself.

Intensities multiply over levels: 10 here below 10 there is 100 restarts before anyone gives up.
"""

from __future__ import annotations

import enum
import random
from collections import deque
from typing import Final, TypeAlias

import attrs
from attrs.validators import ge

INTENSITY: Final = 3
PERIOD_S: Final = 30.0


class Restart(enum.Enum):
    """Which exits of a child are followed by a restart."""

    PERMANENT = "permanent"
    """Every one."""
    TRANSIENT = "transient"
    """A crash; an actor that stops itself is done."""
    TEMPORARY = "temporary"
    """None."""


class Strategy(enum.Enum):
    """Which children are restarted when one of them is."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"
    """That child and the ones started after it."""


@attrs.frozen(kw_only=True)
class Backoff:
    """How long a restart waits: first_s, times factor each time, up to max_s.

    The jitter takes up to that share away, so that actors felled by one cause do not come back in
    step. The delay starts over once no restart was needed for reset_s.
    """

    first_s: float = attrs.field(default=0.05, validator=ge(0.0))
    factor: float = attrs.field(default=2.0, validator=ge(1.0))
    max_s: float = attrs.field(default=5.0, validator=ge(0.0))
    jitter: float = attrs.field(default=0.2, validator=[ge(0.0), attrs.validators.le(1.0)])
    reset_s: float = attrs.field(default=60.0, validator=ge(0.0))

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """The wait before the given attempt, counted from 0."""
        # The exponent is bounded so that the power cannot overflow before min() sees it.
        full = min(self.max_s, self.first_s * self.factor ** min(attempt, 64))
        return full * (1.0 - self.jitter * rng.random())


@attrs.frozen
class GiveUp:
    """More crashes than allowed: the group ends and its parent decides."""

    restarts: int


@attrs.frozen
class LetGo:
    """The child is done and is not started again."""


@attrs.frozen
class RestartChildren:
    """Stop these (in this order), wait, start those (in this order)."""

    stop: tuple[int, ...]
    start: tuple[int, ...]
    delay_s: float


Decision: TypeAlias = GiveUp | LetGo | RestartChildren


@attrs.define
class _History:
    """The consecutive restarts of one child."""

    attempts: int = 0
    last_at: float = float("-inf")


@attrs.define
class RestartPolicy:
    """The decisions of one group."""

    strategy: Strategy
    intensity: int
    period_s: float
    backoff: Backoff
    rng: random.Random
    _recent: deque[float] = attrs.field(init=False, factory=deque)
    _history: dict[str, _History] = attrs.field(init=False, factory=dict)

    def on_exit(
        self, index: int, children: list[tuple[str, Restart]], *, failed: bool, now: float
    ) -> Decision:
        """Decide what follows the exit of one child.

        Args:
            index: The position of the child in `children`.
            children: Name and restart type of all children, in start order.
            failed: Whether it crashed rather than stopped itself.
            now: Seconds on the caller's clock.
        """
        name, restart = children[index]
        if restart is Restart.TEMPORARY or (restart is Restart.TRANSIENT and not failed):
            self._history.pop(name, None)
            return LetGo()
        while self._recent and self._recent[0] <= now - self.period_s:
            self._recent.popleft()
        if len(self._recent) >= self.intensity:
            return GiveUp(len(self._recent))
        self._recent.append(now)
        return self._restart(index, children, self._delay_s(name, now))

    def forget(self, name: str) -> None:
        """Drop what is known of a child that has left the group."""
        self._history.pop(name, None)

    def _delay_s(self, name: str, now: float) -> float:
        history = self._history.setdefault(name, _History())
        if now - history.last_at > self.backoff.reset_s:
            history.attempts = 0
        delay_s = self.backoff.delay_s(history.attempts, self.rng)
        history.attempts += 1
        history.last_at = now
        return delay_s

    def _restart(
        self, index: int, children: list[tuple[str, Restart]], delay_s: float
    ) -> RestartChildren:
        if self.strategy is Strategy.ONE_FOR_ONE:
            return RestartChildren((), (index,), delay_s)
        first = 0 if self.strategy is Strategy.ONE_FOR_ALL else index
        touched = range(first, len(children))
        stop = tuple(i for i in reversed(touched) if i != index)
        # A temporary child is stopped with the others and stays down, as in OTP.
        start = tuple(i for i in touched if children[i][1] is not Restart.TEMPORARY)
        return RestartChildren(stop, start, delay_s)
