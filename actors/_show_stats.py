"""Statistics per actor from a stream of trace records, in memory bounded by the actors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from actors._show_lines import Entry

HEADINGS: Final = (
    "actor", "handled", "waited mean ms", "max", "took mean ms", "max", "queue max", "other",
)  # fmt: skip
PLAIN: Final = frozenset({"send", "deliver", "handle"})


@attrs.define
class ActorSums:
    """What the records of one actor add up to. Times in seconds."""

    kinds: Counter[str] = attrs.field(factory=Counter)
    waited_total_s: float = 0.0
    waited_max_s: float = 0.0
    took_total_s: float = 0.0
    took_max_s: float = 0.0
    queue_max: int = 0

    def add(self, entry: Entry) -> None:
        """Count one record."""
        record = entry.record
        self.kinds[record.kind] += 1
        self.queue_max = max(self.queue_max, record.queue_len)
        if record.kind == "deliver":
            self.waited_total_s += record.waited
            self.waited_max_s = max(self.waited_max_s, record.waited)
        elif record.kind == "handle":
            self.took_total_s += record.took
            self.took_max_s = max(self.took_max_s, record.took)


def sum_up(entries: Iterable[Entry]) -> dict[str, ActorSums]:
    """The sums by path, in order of path."""
    actors: dict[str, ActorSums] = {}
    for entry in entries:
        actors.setdefault(entry.record.actor, ActorSums()).add(entry)
    return dict(sorted(actors.items()))


def table(actors: dict[str, ActorSums]) -> Iterator[str]:
    """The sums as aligned columns."""
    rows = [HEADINGS, *(_row(path, sums) for path, sums in actors.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [row[i].rjust(widths[i]) for i in range(1, len(HEADINGS) - 1)]
        yield "  ".join([*cells, row[-1]]).rstrip()


def _row(path: str, sums: ActorSums) -> tuple[str, ...]:
    other = {kind: count for kind, count in sorted(sums.kinds.items()) if kind not in PLAIN}
    return (
        path or "-",
        str(sums.kinds["handle"]),
        _mean_ms(sums.waited_total_s, sums.kinds["deliver"]),
        f"{sums.waited_max_s * 1000:.3f}",
        _mean_ms(sums.took_total_s, sums.kinds["handle"]),
        f"{sums.took_max_s * 1000:.3f}",
        str(sums.queue_max),
        " ".join(f"{kind}={count}" for kind, count in other.items()),
    )


def _mean_ms(total_s: float, count: int) -> str:
    return f"{1000 * total_s / count:.3f}" if count else "-"


def as_json_lines(actors: dict[str, ActorSums]) -> Iterator[str]:
    """One object an actor."""
    for path, sums in actors.items():
        yield json.dumps({"actor": path, **attrs.asdict(sums)})
