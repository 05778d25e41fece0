"""What a cluster costs besides its operations: CPU when idle, memory per record, pauses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from cluster.bench.accounting import cpu_seconds, resident_bytes
from cluster.bench.generator import DataShape, open_generator
from cluster.bench.results import Memory
from cluster.bench.statistics import pauses_of, read_actors, read_metrics
from cluster.client import connect
from cluster.launch import launch_cluster

__all__ = ["idle_share", "measure_memory"]

IDLE_SETTLE_S: Final = 2.0
IDLE_S: Final = 10.0
VALUE_BYTES: Final = 100
OVERWRITE_MIN_BYTES: Final = 50
OVERWRITE_MAX_BYTES: Final = 150
SETTLE_S: Final = 1.0


async def idle_share(pids: Sequence[int]) -> float:
    """CPU of all nodes together while nothing is asked of them, as a share of one core."""
    await trio.sleep(IDLE_SETTLE_S)
    start_s, before_s = trio.current_time(), cpu_seconds(pids)
    await trio.sleep(IDLE_S)
    return (cpu_seconds(pids) - before_s) / (trio.current_time() - start_s)


async def measure_memory(records: int, options: Sequence[str], log_dir: Path | None) -> Memory:
    """Load one node, then overwrite every record with a value of another size, in another order.

    Args:
        records: how many, with keys of 16 bytes and values of 100.
        options: further options of the node.
        log_dir: where the node logs; None: kept nowhere.

    Raises:
        LaunchError: the node did not start.
        LoadError: a write failed.
    """
    loaded = DataShape(records, VALUE_BYTES, VALUE_BYTES)
    overwritten = DataShape(records, OVERWRITE_MIN_BYTES, OVERWRITE_MAX_BYTES, seed=2)
    async with (
        launch_cluster(1, options=options, log_dir=log_dir, node_prefix="m") as cluster,
        open_generator(cluster.addresses, cluster.pids, bare=False) as generator,
        connect(*cluster.addresses) as cache,
    ):
        [node] = cluster.nodes
        empty_bytes = resident_bytes(node.pid)
        metrics = await read_metrics(cache, node.id)
        resident = []
        for shape in (loaded, overwritten):
            await generator.fill(shape)
            await trio.sleep(SETTLE_S)
            resident.append((resident_bytes(node.pid) - empty_bytes) / records)
        actors = await read_actors(cache, node.id)
        pauses = pauses_of(metrics, await read_metrics(cache, node.id), actors)
    loaded_bytes, overwritten_bytes = resident
    return Memory(records, loaded_bytes, overwritten_bytes, pauses)
