"""Metrics of client operations: how many by op, level and outcome, and how long they took."""

from typing import Final

from cluster.core.exchange import Finished
from cluster.core.metrics import Counter, Histogram, Registry

__all__ = ["OPERATION_SECONDS", "ReplicatorMetrics"]

OPERATION_SECONDS: Final = "hypercache_dist_operation_seconds"


class ReplicatorMetrics:
    """Keeps the series at hand: looking one up by labels costs more than counting."""

    def __init__(self, registry: Registry) -> None:
        self._requests: Final = registry.counter(
            "hypercache_dist_operations_total",
            "Client requests answered.",
            ("op", "level", "outcome"),
        )
        self._seconds: Final = registry.histogram(
            OPERATION_SECONDS, "Time from reading a request to answering it.", ("op",)
        )
        self._failures: Final = registry.counter(
            "hypercache_dist_quorum_failures_total",
            "Client requests that did not reach their level.",
            ("op", "level"),
        )
        self._series: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def finished(self, done: Finished) -> None:
        """Count one answered request."""
        key = (done.op, done.level, done.outcome)
        series = self._series.get(key)
        if series is None:
            series = (self._requests.labels(*key), self._seconds.labels(done.op))
            self._series[key] = series
        series[0].value += 1
        series[1].observe(done.took_s)
        if done.outcome in ("timeout", "unavailable"):
            self._failures.labels(done.op, done.level).value += 1
