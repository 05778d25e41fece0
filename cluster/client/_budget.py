"""A limit to how much a client adds to the load of a cluster that already refuses work.

Retries of what was refused are paid from a budget that grows with successes, so that they stay a
fixed share of the useful traffic whatever happens (the retry budget of Finagle and gRPC;
"Metastable Failures in the Wild", OSDI 2022, tells what happens without one). A small floor lets a
client with little traffic retry at all.
"""

from typing import Final

__all__ = ["RetryBudget"]

RETRY_SHARE: Final = 0.1
"""Retries earned by one success."""
RETRY_FLOOR_PER_S: Final = 2.0
"""Retries earned by one second."""
RETRIES_SAVED_MAX: Final = 100.0
"""Retries that can be saved up."""
RETRIES_AT_START: Final = 10.0


class RetryBudget:
    """Retries that may still be made. `successes` is counted up by whoever completes requests."""

    __slots__ = ("_counted", "_refilled_at", "_tokens", "refused", "successes", "taken")

    def __init__(self, now: float) -> None:
        self.successes = 0
        self.taken = 0
        self.refused = 0
        """Retries that were not made for lack of budget."""
        self._tokens = RETRIES_AT_START
        self._counted = 0
        self._refilled_at = now

    def take(self, now: float) -> bool:
        """Pay for one retry; False if there is nothing left to pay with."""
        earned = (self.successes - self._counted) * RETRY_SHARE
        earned += (now - self._refilled_at) * RETRY_FLOOR_PER_S
        self._tokens = min(RETRIES_SAVED_MAX, self._tokens + earned)
        self._counted, self._refilled_at = self.successes, now
        if self._tokens < 1.0:
            self.refused += 1
            return False
        self._tokens -= 1.0
        self.taken += 1
        return True
