"""The pulse: how late the event loop is, by a timer that knows when it should have fired.

A node whose loop lags answers late for reasons of its own; the figure belongs next to every
latency, and a failure detector must not blame others for it. The lateness of a beat shows how much
of a pause was left when it was due: all of the long ones are seen, and of the short ones a sample.
"""

from typing import Any, Final

import attrs

from actors import Behaviour, Context
from cluster.core.metrics import Registry

__all__ = ["Pulse"]

BEAT_S: Final = 0.5
"""Twice a second: waking up an idle process costs about 0.4 ms, most of what an idle node costs."""


@attrs.frozen
class _Beat:
    due: float


class Pulse(Behaviour[Any]):
    """The actor; see the module."""

    def __init__(self, registry: Registry) -> None:
        self._lag: Final = registry.histogram(
            "hypercache_dist_loop_lag_seconds", "How late a timer of the event loop fired."
        ).labels()
        self._worst: Final = registry.gauge(
            "hypercache_dist_loop_lag_max_seconds", "The latest that a timer has fired so far."
        ).labels()

    async def started(self, ctx: Context[Any]) -> None:
        """Set the first timer."""
        self._beat(ctx)

    def receive(self, ctx: Context[Any], message: Any) -> None:
        """Note how late this is, set the next timer."""
        if isinstance(message, _Beat):
            late_s = max(0.0, ctx.now() - message.due)
            self._lag.observe(late_s)
            self._worst.set(max(self._worst.value, late_s))
            self._beat(ctx)

    def _beat(self, ctx: Context[Any]) -> None:
        ctx.set_timer("beat", BEAT_S, _Beat(ctx.now() + BEAT_S))
