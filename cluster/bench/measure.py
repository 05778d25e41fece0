"""What one measurement counted, and the figures that follow from it. Pure.

A figure is measured in slices that alternate between the product and the yardstick, so that drift
of the machine hits both alike; `Sample.merge` puts the slices of one side together.
"""

from collections.abc import Sequence

import attrs

__all__ = ["Figures", "Sample", "percentile"]

MICROSECONDS = 1e6
MILLISECOND_US = 1e3


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank).

    Args:
        ordered: values in ascending order, at least one.
        share: above 0, at most 1.
    """
    assert ordered, "a percentile of nothing"
    assert 0 < share <= 1, f"share {share} is not within (0, 1]"
    # Rounded first: 0.95 * 100 is above 95 in floating point.
    rank = -int(-round(share * len(ordered), 9) // 1)
    return ordered[max(rank, 1) - 1]


@attrs.frozen
class Figures:
    """What is printed of a measurement; an operation is one key.

    Latencies are those of a call, which for a batch carries many keys. `node_cpu_us` is that of all
    nodes together per key, None where the nodes are not on this machine.
    """

    operations_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    client_cpu_us: float
    node_cpu_us: float | None


@attrs.frozen
class Sample:
    """Counts of one slice, or of several merged."""

    operations: int
    elapsed_s: float
    client_cpu_s: float
    node_cpu_s: float | None
    latencies_us: list[int]
    warm_operations: int = 0
    """Operations before the clock started: in what the nodes count, but in none of the figures."""

    @staticmethod
    def merge(samples: "Sequence[Sample]") -> "Sample":
        """One sample as if the slices had been measured in one go."""
        node_cpu = [sample.node_cpu_s for sample in samples if sample.node_cpu_s is not None]
        return Sample(
            operations=sum(sample.operations for sample in samples),
            elapsed_s=sum(sample.elapsed_s for sample in samples),
            client_cpu_s=sum(sample.client_cpu_s for sample in samples),
            node_cpu_s=sum(node_cpu) if len(node_cpu) == len(samples) else None,
            latencies_us=[us for sample in samples for us in sample.latencies_us],
            warm_operations=sum(sample.warm_operations for sample in samples),
        )

    def figures(self) -> Figures:
        """The figures of this sample."""
        ordered = sorted(self.latencies_us)
        node_cpu_s = self.node_cpu_s
        return Figures(
            operations_per_s=self.operations / self.elapsed_s,
            p50_ms=percentile(ordered, 0.50) / MILLISECOND_US,
            p95_ms=percentile(ordered, 0.95) / MILLISECOND_US,
            p99_ms=percentile(ordered, 0.99) / MILLISECOND_US,
            client_cpu_us=self.client_cpu_s / self.operations * MICROSECONDS,
            node_cpu_us=None if node_cpu_s is None else node_cpu_s / self.operations * MICROSECONDS,
        )
