"""Counters of what crosses the connections of a node: frames, bytes, messages per frame."""

from typing import Final

from cluster.core.metrics import Registry

__all__ = ["Traffic"]


class Traffic:
    """The counters of one kind of connection (`peer` or `client`)."""

    def __init__(self, registry: Registry, kind: str) -> None:
        labels = ("kind",)
        frames = registry.counter(
            "hypercache_dist_frames_total", "Frames by direction.", (*labels, "direction")
        )
        size = registry.counter(
            "hypercache_dist_frame_bytes_total", "Bytes of frames.", (*labels, "direction")
        )
        batch = registry.histogram(
            "hypercache_dist_frame_messages", "Messages per frame sent.", labels
        )
        dropped = registry.counter(
            "hypercache_dist_messages_dropped_total",
            "Messages that had no connection to leave by.",
            labels,
        )
        failures = registry.counter(
            "hypercache_dist_protocol_errors_total",
            "Connections ended for a bad frame.",
            labels,
        )
        self._frames_out: Final = frames.labels(kind, "out")
        self._frames_in: Final = frames.labels(kind, "in")
        self._bytes_out: Final = size.labels(kind, "out")
        self._bytes_in: Final = size.labels(kind, "in")
        self._batch: Final = batch.labels(kind)
        self.dropped: Final = dropped.labels(kind)
        self.protocol_errors: Final = failures.labels(kind)

    def sent(self, messages: int, size_bytes: int) -> None:
        """A frame was written."""
        self._frames_out.value += 1
        self._bytes_out.value += size_bytes
        self._batch.observe(messages)

    def received(self, size_bytes: int) -> None:
        """A frame was read."""
        self._frames_in.value += 1
        self._bytes_in.value += size_bytes
