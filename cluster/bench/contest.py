"""A run: clusters and load processes up, every cell in slices that alternate between the two sides.

Slices go A B B A ..., so that a machine that gets slower, or noisier, does so for both sides alike.
"""

import os
import platform
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from cluster.bench.accounting import resident_bytes
from cluster.bench.generator import DataShape, Generator, open_generator
from cluster.bench.measure import Sample
from cluster.bench.resources import idle_share, measure_memory
from cluster.bench.results import CellResult, Results
from cluster.bench.statistics import NodeCounters, read_counters
from cluster.bench.workload import Cell
from cluster.client import Cache, connect
from cluster.launch import LocalCluster, launch_cluster

__all__ = ["Plan", "run"]

NODES: Final = 3
CONNECT_TIMEOUT_S: Final = 10.0
SLICES: Final = 8
WARM_S: Final = 0.15
BARE_COMMAND: Final = (sys.executable, "-m", "cluster.bench.bare_stack")
PRODUCT: Final = "product"
BARE: Final = "bare stack"


@attrs.frozen
class Plan:
    """What to measure.

    Attributes:
        cells: measurements, in this order.
        keys: number of keys.
        value_bytes: bytes of a value.
        seconds: of each cell and side.
        targets: nodes of a running cluster; empty: a private one of three processes.
        product: whether the product is measured.
        bare: whether the bare stack is measured.
        memory_records: records of the memory measurement; 0: none.
        node_options: further options of the nodes of a private cluster.
        log_dir: where the nodes of private clusters log; None: kept nowhere.
    """

    cells: Sequence[Cell]
    keys: int
    value_bytes: int
    seconds: float
    targets: Sequence[str] = ()
    product: bool = True
    bare: bool = True
    memory_records: int = 0
    node_options: Sequence[str] = ()
    log_dir: Path | None = None

    @property
    def shape(self) -> DataShape:
        """The data of the cells."""
        return DataShape(self.keys, self.value_bytes, self.value_bytes)

    @property
    def steps(self) -> int:
        """Steps that a progress bar counts."""
        sides = int(self.product) + int(self.bare)
        idle = int(self.product and not self.targets)
        return len(self.cells) * SLICES * sides + sides + idle + bool(self.memory_records)


@attrs.frozen
class Side:
    """The product or the bare stack: its load process and, if it is private, its cluster."""

    title: str
    generator: Generator
    cluster: LocalCluster | None
    cache: Cache | None = None
    """A client to ask its nodes what they count; None where they do not."""
    nodes: Sequence[str] = ()
    """Ids of its nodes."""

    async def counters(self) -> NodeCounters:
        """What its nodes count, together."""
        return await read_counters(self.cache, self.nodes) if self.cache else NodeCounters.add(())


Progress = Callable[[str, int], None]
"""Told what happens next and how many steps are done."""


async def run(plan: Plan, progress: Progress) -> Results:
    """Measure everything of a plan.

    Raises:
        LaunchError: a node did not start.
        Unavailable: the cluster does not answer.
        LoadError: an operation failed.
    """
    results = Results(setup=_setup(plan), cells=[])
    async with AsyncExitStack() as stack:
        steps = _Steps(progress)
        sides = [await stack.enter_async_context(side) for side in _sides(plan)]
        results = attrs.evolve(results, **await _preload(plan, sides, steps))
        for cell in plan.cells:
            results.cells.append(await _measure(plan, cell, sides, steps))
    if plan.memory_records:
        steps.begin(f"memory: {plan.memory_records:,} records on one node")
        memory = await measure_memory(plan.memory_records, plan.node_options, plan.log_dir)
        results = attrs.evolve(results, memory=memory)
    return results


class _Steps:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0

    def begin(self, what: str) -> None:
        self._progress(what, self._done)
        self._done += 1


def _sides(plan: Plan) -> list[Any]:
    sides = []
    if plan.product:
        sides.append(_product_side(plan))
    if plan.bare:
        sides.append(_bare_side(plan))
    return sides


@asynccontextmanager
async def _product_side(plan: Plan) -> AsyncIterator[Side]:
    async with AsyncExitStack() as stack:
        cluster: LocalCluster | None = None
        addresses: Sequence[str] = plan.targets
        pids: Sequence[int] = ()
        if not addresses:
            launched = launch_cluster(NODES, options=plan.node_options, log_dir=plan.log_dir)
            cluster = await stack.enter_async_context(launched)
            addresses, pids = cluster.addresses, cluster.pids
        cache = await stack.enter_async_context(connect(*addresses, timeout=CONNECT_TIMEOUT_S))
        members = (await cache.control("members"))["members"]
        nodes = [member["id"] for member in members if member["state"] == "alive"]
        generator = await stack.enter_async_context(open_generator(addresses, pids, bare=False))
        yield Side(PRODUCT, generator, cluster, cache, nodes)


@asynccontextmanager
async def _bare_side(plan: Plan) -> AsyncIterator[Side]:
    async with (
        launch_cluster(
            NODES, command=BARE_COMMAND, node_prefix="b", log_dir=plan.log_dir
        ) as cluster,
        open_generator(cluster.addresses, cluster.pids, bare=True) as generator,
    ):
        yield Side(BARE, generator, cluster)


async def _preload(plan: Plan, sides: Sequence[Side], steps: _Steps) -> dict[str, Any]:
    """Write all keys once; what that tells of memory, and what the idle cluster costs after it."""
    found: dict[str, Any] = {}
    for side in sides:
        steps.begin(f"{side.title}: writing {plan.keys:,} keys")
        pids = side.cluster.pids if side.cluster else []
        before = sum(map(resident_bytes, pids))
        await side.generator.fill(plan.shape)
        if side.title == PRODUCT and pids:
            grown = sum(map(resident_bytes, pids)) - before
            found["bytes_per_record"] = grown / (plan.keys * NODES)
            steps.begin(f"{side.title}: idle")
            found["idle_share"] = await idle_share(pids)
    return found


async def _measure(plan: Plan, cell: Cell, sides: Sequence[Side], steps: _Steps) -> CellResult:
    samples: dict[str, list[Sample]] = {PRODUCT: [], BARE: []}
    counted: list[NodeCounters] = []
    for number in range(SLICES):
        for side in sides if number % 2 == 0 else reversed(sides):
            steps.begin(f"{side.title}: {cell.title}")
            before = await side.counters()
            sample = await side.generator.measure(cell, plan.shape, WARM_S, plan.seconds / SLICES)
            samples[side.title].append(sample)
            counted.append((await side.counters()).since(before))
    product = samples[PRODUCT]
    operations = sum(sample.operations + sample.warm_operations for sample in product)
    traffic = NodeCounters.add(counted).traffic(operations)
    return CellResult(cell, product, samples[BARE], traffic)


def _setup(plan: Plan) -> dict[str, Any]:
    return {
        "nodes": list(plan.targets) or NODES,
        "consistency": "QUORUM",
        "keys": plan.keys,
        "value_bytes": plan.value_bytes,
        "seconds": plan.seconds,
        "slices": SLICES,
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
    }
