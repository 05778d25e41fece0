"""What is wrong with a simulated network: which frames are late or lost, by sender and receiver.

Faults add up: a frame passes if every fault lets it, and takes the sum of the delays. This module
only keeps the table; `memory` draws the random numbers.
"""

from collections.abc import Collection
from typing import TypeAlias

import attrs

Hosts: TypeAlias = str | Collection[str]
LatencyS: TypeAlias = tuple[float, float]
"""Lowest and highest, seconds; drawn uniformly."""


@attrs.frozen
class Path:
    """What holds for frames of one direction between two hosts."""

    is_cut: bool
    drop_rates: tuple[float, ...]
    latencies_s: tuple[LatencyS, ...]


@attrs.define(eq=False)
class Fault:
    """One fault in force, until `stop`."""

    sources: frozenset[str]
    targets: frozenset[str]
    _table: "FaultTable"
    is_cut: bool = False
    drop_rate: float = 0.0
    latency_s: LatencyS | None = None

    def stop(self) -> None:
        """Ends this fault; harmless if it has ended."""
        self._table.remove(self)

    def concerns(self, source: str, target: str) -> bool:
        """Whether it is about frames from `source` to `target`."""
        return source in self.sources and target in self.targets


class FaultTable:
    """The faults in force, and what they amount to for each direction."""

    def __init__(self, latency_s: LatencyS) -> None:
        self._latency_s = latency_s
        self._faults: list[Fault] = []
        self._paths: dict[tuple[str, str], Path] = {}

    def add_cut(self, sources: Hosts, targets: Hosts) -> Fault:
        """Loses everything of one direction."""
        return self._add(Fault(_hosts(sources), _hosts(targets), self, is_cut=True))

    def add_drop(self, sources: Hosts, targets: Hosts, rate: float) -> Fault:
        """Loses a share of the frames of one direction."""
        if not 0 <= rate <= 1:
            raise ValueError(f"a drop rate is 0 to 1, not {rate}")
        return self._add(Fault(_hosts(sources), _hosts(targets), self, drop_rate=rate))

    def add_delay(self, sources: Hosts, targets: Hosts, latency_s: LatencyS) -> Fault:
        """Adds to the latency of one direction."""
        if not 0 <= latency_s[0] <= latency_s[1]:
            raise ValueError(f"a delay is low to high seconds, not {latency_s}")
        return self._add(Fault(_hosts(sources), _hosts(targets), self, latency_s=latency_s))

    def remove(self, fault: Fault) -> None:
        """Ends one fault."""
        if fault in self._faults:
            self._faults.remove(fault)
            self._paths.clear()

    def clear(self) -> None:
        """Ends all faults."""
        self._faults.clear()
        self._paths.clear()

    def path(self, source: str, target: str) -> Path:
        """What holds from `source` to `target` now."""
        path = self._paths.get((source, target))
        if path is None:
            faults = [fault for fault in self._faults if fault.concerns(source, target)]
            path = Path(
                is_cut=any(fault.is_cut for fault in faults),
                drop_rates=tuple(fault.drop_rate for fault in faults if fault.drop_rate),
                latencies_s=(
                    self._latency_s,
                    *(fault.latency_s for fault in faults if fault.latency_s is not None),
                ),
            )
            self._paths[source, target] = path
        return path

    def _add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        self._paths.clear()
        return fault


def _hosts(hosts: Hosts) -> frozenset[str]:
    return frozenset((hosts,)) if isinstance(hosts, str) else frozenset(hosts)
