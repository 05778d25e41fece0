"""Exponential backoff with full jitter: how long to wait before the next attempt.

The n-th delay is uniform between 0 and min(max_s, first_s * factor**n). Drawing from the whole
interval spreads out those who failed together better than a small jitter around its end does
(Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

It neither waits nor counts time, and it does not say when to give up: that is for deadlines and
retry budgets.
"""

import math
import random


class Backoff:
    """The delays of one series of failures after another."""

    def __init__(
        self, first_s: float, max_s: float, rng: random.Random, *, factor: float = 2.0
    ) -> None:
        """Start before the first failure.

        Args:
            first_s: The longest that the first delay may be, in seconds; above 0.
            max_s: The longest that any delay may be, in seconds; finite.
            rng: Source of the jitter.
            factor: How much the longest delay grows from one failure to the next; at least 1.

        Raises:
            ValueError: A number is out of its limits.
        """
        if not 0.0 < first_s <= max_s < math.inf:
            raise ValueError(f"backoff from {first_s} s to {max_s} s: needs 0 < first <= max < inf")
        if not 1.0 <= factor < math.inf:
            raise ValueError(f"backoff factor {factor} is not finite and at least 1")
        self._first_s = first_s
        self._max_s = max_s
        self._rng = rng
        self._factor = factor
        self._limit_s = first_s
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many delays were drawn since the last success."""
        return self._failures

    @property
    def limit_s(self) -> float:
        """The longest that the next delay may be, in seconds."""
        return self._limit_s

    def next_delay(self) -> float:
        """Note a failure and draw the delay before the next attempt, in seconds."""
        delay_s = self._rng.uniform(0.0, self._limit_s)
        self._limit_s = min(self._max_s, self._limit_s * self._factor)
        self._failures += 1
        return delay_s

    def reset(self) -> None:
        """Note a success: the next failure is a first one again."""
        self._limit_s = self._first_s
        self._failures = 0
