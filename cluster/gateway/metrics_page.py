"""The node's counts for readers: text for Prometheus, JSON for people and tools.

The numbers are gathered where things happen, in one `Registry`; here they are only shown.
"""

from collections.abc import Mapping
from typing import Any, Final

from cluster.core.exposition import CONTENT_TYPE, render_prometheus
from cluster.core.metrics import Family, Histogram, Registry

__all__ = ["CONTENT_TYPE", "OPERATION_SECONDS", "latency_body", "render_prometheus", "stats_body"]

OPERATION_SECONDS: Final = "hypercache_dist_operation_seconds"
"""The histogram of client operations; its label `op` is what `latency_body` groups by."""
OP_LABEL: Final = "op"


def stats_body(registry: Registry, replicator: Mapping[str, int]) -> dict[str, Any]:
    """Every metric by name, and the replicator's own counters."""
    return {"metrics": registry.snapshot(), "replicator": dict(replicator)}


def latency_body(registry: Registry) -> dict[str, Any]:
    """`{op: {"bounds_s", "counts", "p50_s", "p95_s", "p99_s"}}` over all levels and outcomes."""
    family = next((each for each in registry.families() if each.name == OPERATION_SECONDS), None)
    if family is None or family.kind != "histogram":
        return {}
    merged: dict[str, Histogram] = {}
    for op, histogram in _by_op(family):
        into = merged.setdefault(op, Histogram(histogram.bounds))
        into.counts = [a + b for a, b in zip(into.counts, histogram.counts, strict=True)]
        into.sum += histogram.sum
    return {op: _shown(merged[op]) for op in sorted(merged)}


def _by_op(family: Any) -> list[tuple[str, Histogram]]:
    histograms: Family[Histogram] = family
    position = histograms.label_names.index(OP_LABEL)
    return [(values[position], series) for values, series in histograms.series.items()]


def _shown(histogram: Histogram) -> dict[str, Any]:
    return {
        "bounds_s": list(histogram.bounds),
        "counts": list(histogram.counts),
        "p50_s": histogram.percentile(0.5),
        "p95_s": histogram.percentile(0.95),
        "p99_s": histogram.percentile(0.99),
    }
