"""The garbage collector of a node process: told what to leave alone, and watched.

Records are bytes in plain dicts, which the collector does not follow; what it has to look at are
requests under way and the trace in memory. What exists before the node starts lives as long as the
process and is frozen, so that no full collection looks at it again.

This is about the process: simulated nodes share one, and have nothing to do with it.
"""

import contextlib
import gc
import time
from collections.abc import Iterator
from typing import Any, Final

from cluster.core.metrics import Registry

__all__ = ["PAUSE_MAX", "collector_watched"]

PAUSE_MAX: Final = "hypercache_dist_gc_pause_max_seconds"


@contextlib.contextmanager
def collector_watched(registry: Registry) -> Iterator[None]:
    """Leave what exists now out of collections, and note the longest one while the block runs."""
    longest = registry.gauge(
        PAUSE_MAX, "The longest collection of garbage so far; everything waits meanwhile."
    ).labels()
    began_s = 0.0

    def note(phase: str, _: dict[str, Any]) -> None:
        nonlocal began_s
        # Not the environment's clock: this may run in any thread, and tells nobody the time.
        now_s = time.perf_counter()
        if phase == "start":
            began_s = now_s
        elif now_s - began_s > longest.value:
            longest.set(now_s - began_s)

    gc.collect()
    gc.freeze()
    gc.callbacks.append(note)
    try:
        yield
    finally:
        gc.callbacks.remove(note)
