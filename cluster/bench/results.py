"""The results of a run and the targets they are held to. Pure."""

from collections.abc import Sequence
from typing import Any, Final

import attrs

from cluster.bench.measure import Figures, Sample
from cluster.bench.statistics import Pauses, Traffic
from cluster.bench.workload import Cell, Kind

__all__ = ["CellResult", "Memory", "Ratio", "Results", "Target", "targets"]

P50_RATIO_MAX: Final = 1.5
THROUGHPUT_RATIO_MIN: Final = 0.5
NODE_CPU_RATIO_MAX: Final = 2.0
BATCH_RATIO_MIN: Final = 0.55
IDLE_SHARE_MAX: Final = 0.01
LOADED_BYTES_MAX: Final = 290
OVERWRITTEN_BYTES_MAX: Final = 400
PAUSE_MAX_S: Final = 0.005

SEQUENTIAL_SET: Final = Cell(Kind.SET, in_flight=1, batch=0)
PARALLEL_SET: Final = Cell(Kind.SET, in_flight=32, batch=0)
BATCH_SET: Final = Cell(Kind.SET, in_flight=1, batch=1_000)


@attrs.frozen
class Ratio:
    """Product by bare stack.

    Attributes:
        value: of all slices together.
        low: the least of a pair of slices.
        high: the greatest of a pair of slices.
    """

    value: float
    low: float
    high: float


@attrs.frozen
class CellResult:
    """What was measured for one cell; slices in the order in which they ran."""

    cell: Cell
    product: list[Sample]
    bare: list[Sample]
    traffic: Traffic | None = None

    @property
    def product_figures(self) -> Figures | None:
        """Figures of the product, None where it was not measured."""
        return Sample.merge(self.product).figures() if self.product else None

    @property
    def bare_figures(self) -> Figures | None:
        """Figures of the bare stack, None where it was not measured."""
        return Sample.merge(self.bare).figures() if self.bare else None

    def ratio(self, figure: str) -> Ratio | None:
        """Product by bare stack of one field of `Figures`; None where one is missing."""
        whole = _quotient(self.product_figures, self.bare_figures, figure)
        if whole is None:
            return None
        pairs = [
            _quotient(product.figures(), bare.figures(), figure)
            for product, bare in zip(self.product, self.bare, strict=True)
        ]
        known = [pair for pair in pairs if pair is not None]
        return Ratio(whole, min(known, default=whole), max(known, default=whole))


@attrs.frozen
class Memory:
    """Resident bytes per record on one node, and the longest pauses of its loop meanwhile."""

    records: int
    loaded_bytes: float
    overwritten_bytes: float
    pauses: Pauses


@attrs.frozen
class Results:
    """All that a run measured; None for what it left out."""

    setup: dict[str, Any]
    cells: list[CellResult]
    bytes_per_record: float | None = None
    idle_share: float | None = None
    memory: Memory | None = None

    def as_json(self) -> dict[str, Any]:
        """The run as one JSON object."""
        return {
            "setup": self.setup,
            "cells": [_cell_json(result) for result in self.cells],
            "bytes_per_record": self.bytes_per_record,
            "idle_share": self.idle_share,
            "memory": attrs.asdict(self.memory) if self.memory else None,
            "targets": [attrs.asdict(target) | {"met": target.met} for target in targets(self)],
        }


@attrs.frozen
class Target:
    """A figure and its bound; `at_least` says on which side of it the figure has to be."""

    figure: str
    value: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is within its bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def targets(results: Results) -> list[Target]:
    """The targets for which this run has figures."""
    return [*_ratio_targets(results.cells), *_absolute_targets(results)]


def _ratio_targets(cells: Sequence[CellResult]) -> list[Target]:
    wanted = (
        ("set, 1 in flight: p50 / bare", SEQUENTIAL_SET, "p50_ms", P50_RATIO_MAX, False),
        (
            "set, 32 in flight: operations/s / bare",
            PARALLEL_SET,
            "operations_per_s",
            THROUGHPUT_RATIO_MIN,
            True,
        ),
        (
            "set, 32 in flight: node CPU / bare",
            PARALLEL_SET,
            "node_cpu_us",
            NODE_CPU_RATIO_MAX,
            False,
        ),
        ("set_many of 1,000: keys/s / bare", BATCH_SET, "operations_per_s", BATCH_RATIO_MIN, True),
    )
    by_cell = {result.cell: result for result in cells}
    found = []
    for title, cell, figure, bound, at_least in wanted:
        ratio = by_cell[cell].ratio(figure) if cell in by_cell else None
        if ratio is not None:
            found.append(Target(title, ratio.value, bound, at_least))
    return found


def _absolute_targets(results: Results) -> list[Target]:
    found = []
    if results.idle_share is not None:
        found.append(Target("idle cluster: share of a core", results.idle_share, IDLE_SHARE_MAX))
    memory = results.memory
    if memory is not None:
        found += [
            Target("bytes per record, loaded", memory.loaded_bytes, LOADED_BYTES_MAX),
            Target(
                "bytes per record, overwritten", memory.overwritten_bytes, OVERWRITTEN_BYTES_MAX
            ),
        ]
        if memory.pauses.longest_s is not None:
            found.append(Target("longest pause, s", memory.pauses.longest_s, PAUSE_MAX_S))
    return found


def _quotient(product: Figures | None, bare: Figures | None, figure: str) -> float | None:
    if product is None or bare is None:
        return None
    above, below = getattr(product, figure), getattr(bare, figure)
    if above is None or below is None:
        return None
    quotient: float = above / below
    return quotient


def _cell_json(result: CellResult) -> dict[str, Any]:
    cell, product, bare = result.cell, result.product_figures, result.bare_figures
    ratios = {field.name: result.ratio(field.name) for field in attrs.fields(Figures)}
    return {
        "workload": cell.kind.value,
        "in_flight": cell.in_flight,
        "batch": cell.batch,
        "product": attrs.asdict(product) if product else None,
        "bare": attrs.asdict(bare) if bare else None,
        "ratio": {name: attrs.asdict(ratio) for name, ratio in ratios.items() if ratio},
        "traffic": attrs.asdict(result.traffic) if result.traffic else None,
    }
