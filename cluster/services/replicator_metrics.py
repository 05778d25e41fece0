"""Metrics of client operations: how many by op, level and outcome, and how long they took."""

from typing import Final

from cluster.core.metrics import Counter, Histogram, Registry
from cluster.core.pending import Pending

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
        self._series: dict[tuple[str, int, str], tuple[Counter, Histogram]] = {}

    def finished(self, done: Pending, outcome: str) -> None:
        """Count one answered request."""
        key = (done.op, done.level, outcome)
        series = self._series.get(key)
        if series is None:
            labels = (done.op, done.level_name, outcome)
            series = (self._requests.labels(*labels), self._seconds.labels(done.op))
            self._series[key] = series
        series[0].value += 1
        series[1].observe(done.took_s)
        if outcome in ("timeout", "unavailable"):
            self._failures.labels(done.op, done.level_name).value += 1
