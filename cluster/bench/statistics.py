"""What the nodes themselves count, asked by the control protocol: frames, batch sizes, pauses.

A figure whose metric a node does not have is None, and is printed as a dash.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from cluster.client import Cache

__all__ = ["NodeCounters", "Pauses", "Traffic", "counters_of", "pauses_of", "read_counters"]

FRAMES: Final = "hypercache_dist_frames_total"
FRAME_BYTES: Final = "hypercache_dist_frame_bytes_total"
FRAME_MESSAGES: Final = "hypercache_dist_frame_messages"
LOOP_LAG: Final = "hypercache_dist_loop_lag_seconds"
LOOP_LAG_MAX: Final = "hypercache_dist_loop_lag_max_seconds"
GC_PAUSE_MAX: Final = "hypercache_dist_gc_pause_max_seconds"
STORE_ACTOR: Final = "/replicator"
OUT: Final = {"direction": "out"}
TIMEOUT_S: Final = 10.0


@attrs.frozen
class Traffic:
    """What all nodes together sent; an operation is one key."""

    frames_per_operation: float
    messages_per_frame: float | None
    bytes_per_operation: float | None


@attrs.frozen
class Pauses:
    """The longest times in seconds for which a node did nothing else; None for what is not known.

    Attributes:
        loop_lag_s: a timer of the event loop fired that late (timers are ten a second).
        handler_s: the store's actor worked on one message.
        collection_s: a garbage collection took.
    """

    loop_lag_s: float | None
    handler_s: float | None
    collection_s: float | None

    @property
    def longest_s(self) -> float | None:
        """The longest of those known."""
        return max(_known([self.loop_lag_s, self.handler_s, self.collection_s]), default=None)


@attrs.frozen
class NodeCounters:
    """What was sent by one node, or by several; None for what a node does not count."""

    frames: float | None
    messages: float | None
    sent_bytes: float | None

    @staticmethod
    def add(nodes: "Sequence[NodeCounters]") -> "NodeCounters":
        """Sums over nodes."""
        return NodeCounters(
            frames=_total([node.frames for node in nodes]),
            messages=_total([node.messages for node in nodes]),
            sent_bytes=_total([node.sent_bytes for node in nodes]),
        )

    def since(self, earlier: "NodeCounters") -> "NodeCounters":
        """What was counted after an earlier reading."""
        return NodeCounters(
            frames=_difference(self.frames, earlier.frames),
            messages=_difference(self.messages, earlier.messages),
            sent_bytes=_difference(self.sent_bytes, earlier.sent_bytes),
        )

    def traffic(self, operations: int) -> Traffic | None:
        """What these counts say about so many operations; None where no frames were counted."""
        if not self.frames:
            return None
        return Traffic(
            frames_per_operation=self.frames / operations,
            messages_per_frame=_per(self.messages, self.frames),
            bytes_per_operation=_per(self.sent_bytes, operations),
        )


def counters_of(metrics: Mapping[str, Any]) -> NodeCounters:
    """Pick the counters out of the metrics of a node.

    Args:
        metrics: `{name: {"series": [{"labels": {...}, "value" or "sum": ...}, ...]}}`.
    """
    return NodeCounters(
        frames=_total(list(_values(metrics, FRAMES, "value", OUT))),
        messages=_total(list(_values(metrics, FRAME_MESSAGES, "sum"))),
        sent_bytes=_total(list(_values(metrics, FRAME_BYTES, "value", OUT))),
    )


def pauses_of(before: Mapping[str, Any], after: Mapping[str, Any], actors: Any) -> Pauses:
    """The longest pauses between two readings of the metrics of a node.

    Args:
        before: metrics at the begin; the lag of a start is not held against the store.
        after: metrics at the end.
        actors: the tree of the topic `actors` at the end.
    """
    lag_max_s = max(_values(after, LOOP_LAG_MAX, "value"), default=None)
    bounds = list(_grown_bounds(before, after))
    return Pauses(
        loop_lag_s=min(_known([lag_max_s, max(bounds, default=None)]), default=None),
        handler_s=max(_took_max(actors), default=None),
        collection_s=max(_values(after, GC_PAUSE_MAX, "value"), default=None),
    )


async def read_metrics(cache: Cache, node: str) -> dict[str, Any]:
    """The metrics of one node.

    Raises:
        ClusterError: it did not answer.
    """
    body = await cache.control("stats", node=node, timeout=TIMEOUT_S)
    metrics: dict[str, Any] = body["metrics"]
    return metrics


async def read_actors(cache: Cache, node: str) -> Any:
    """The tree of actors of one node.

    Raises:
        ClusterError: it did not answer.
    """
    return await cache.control("actors", node=node, timeout=TIMEOUT_S)


async def read_counters(cache: Cache, nodes: Sequence[str]) -> NodeCounters:
    """The counters of all those nodes added up.

    Raises:
        ClusterError: one of them did not answer.
    """
    return NodeCounters.add([counters_of(await read_metrics(cache, node)) for node in nodes])


def _values(
    metrics: Mapping[str, Any], name: str, field: str, labels: Mapping[str, str] | None = None
) -> Iterator[float]:
    for series in metrics.get(name, {}).get("series", ()):
        if labels is None or labels.items() <= series["labels"].items():
            yield series[field]


def _grown_bounds(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[float]:
    """Upper bounds of the buckets of the lag that something fell into, infinite for the last."""
    later = after.get(LOOP_LAG, {}).get("series", ())
    earlier = before.get(LOOP_LAG, {}).get("series", ())
    for old, new in zip(earlier, later, strict=False):
        bounds = [*new["bounds"], float("inf")]
        for bound, count, count_before in zip(bounds, new["counts"], old["counts"], strict=True):
            if count > count_before:
                yield bound


def _took_max(tree: Any) -> Iterator[float]:
    if not isinstance(tree, Mapping):
        return
    if str(tree.get("path", "")).endswith(STORE_ACTOR) and "took_max_s" in tree:
        yield tree["took_max_s"]
    for child in tree.get("children", ()):
        yield from _took_max(child)


def _total(values: Sequence[float | None]) -> float | None:
    known = _known(values)
    return sum(known) if known else None


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _difference(later: float | None, earlier: float | None) -> float | None:
    return None if later is None or earlier is None else later - earlier


def _per(amount: float | None, divisor: float) -> float | None:
    return None if amount is None else amount / divisor
