"""Counters, gauges and histograms: cheap to update, plain to read.

A `Registry` holds families, a family holds one series per combination of label values, and a series
is a bare object whose numbers are attributes. Whoever counts keeps the series and does not look it
up again: `series.value += 1` costs what an attribute costs, `observe` a bisection.

Names follow one pattern, which is checked: `hypercache_dist_<what>[_<unit>]`, in base units only;
counters end with `_total`, histograms with the unit that decides their bounds.

It knows no text format (`exposition`), no clock and no scrape.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

import attrs

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

SERIES_MAX: Final = 1000
"""Combinations of label values that one family keeps apart."""

OTHER: Final = "other"
"""The label value of the one series that stands for all combinations beyond `SERIES_MAX`."""

SECONDS_BOUNDS: Final = (
    *(50e-6, 70e-6, 0.1e-3, 0.15e-3, 0.2e-3, 0.3e-3, 0.5e-3, 0.7e-3),
    *(1e-3, 1.5e-3, 2e-3, 3e-3, 5e-3, 7e-3, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0),
)
"""Each at most 1.7 times the one before, so that a percentile is at most that far off."""

BYTES_BOUNDS: Final = tuple(float(4**power) for power in range(3, 14))
"""From 64 bytes to 64 MiB."""

COUNT_BOUNDS: Final = tuple(float(2**power) for power in range(15))
"""From 1 to 16,384 things in one batch."""

_BOUNDS_BY_UNIT: Final = {"seconds": SECONDS_BOUNDS, "bytes": BYTES_BOUNDS} | dict.fromkeys(
    ("frames", "keys", "messages", "records", "requests"), COUNT_BOUNDS
)
_PERCENTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_NAME: Final = re.compile(r"hypercache_dist(?:_[a-z][a-z0-9]*)+")
_LABEL_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_NO_BASE_UNITS: Final = frozenset(
    (
        *("ns", "us", "ms", "nanoseconds", "microseconds", "milliseconds", "minutes", "hours"),
        *("kb", "mb", "kib", "mib", "percent"),
    )
)
_TAKEN_ENDINGS: Final = frozenset(("bucket", "count", "created", "info", "sum"))  # by the format


@attrs.define
class Counter:
    """A number that only grows. Add to `value`, or call `add`."""

    value: float = 0

    def add(self, amount: float = 1) -> None:
        """Count something."""
        self.value += amount

    def snapshot(self) -> dict[str, Any]:
        """Describe the series as plain data."""
        return {"value": self.value}


@attrs.define
class Gauge:
    """A number that goes up and down: set it, or let it follow a function."""

    _value: float = 0
    _read: Callable[[], float] | None = None

    @property
    def value(self) -> float:
        """The number now."""
        return self._value if self._read is None else self._read()

    def set(self, value: float) -> None:
        """Say what the number is now."""
        self._value = value
        self._read = None

    def follow(self, read: Callable[[], float]) -> None:
        """Ask a function whenever somebody looks; it must be quick."""
        self._read = read

    def snapshot(self) -> dict[str, Any]:
        """Describe the series as plain data."""
        return {"value": self.value}


@attrs.define
class Histogram:
    """How often values fell between which bounds."""

    bounds: Sequence[float]
    """Upper bounds of all buckets but the last, ascending; a value on a bound is below it."""

    counts: list[int] = attrs.field(init=False)
    """Per bucket; the last one is for what is beyond all bounds."""

    sum: float = attrs.field(default=0.0, init=False)
    """Of all values."""

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value, in the unit of the family's name."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def percentile(self, fraction: float) -> float | None:
        """Estimate the value below which a fraction of all values lies.

        Values are taken to be spread evenly within a bucket; what is beyond all bounds is taken to
        be at the last one. None if there are no values.
        """
        rank = fraction * sum(self.counts)
        lower = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and rank <= count:
                return lower + (bound - lower) * rank / count
            rank -= count
            lower = bound
        return lower if self.counts[-1] else None

    def snapshot(self) -> dict[str, Any]:
        """Describe the series as plain data."""
        estimates = {name: self.percentile(part) for name, part in _PERCENTILES.items()}
        return {
            "bounds": list(self.bounds),
            "counts": list(self.counts),
            "sum": self.sum,
            **estimates,
        }


S = TypeVar("S", Counter, Gauge, Histogram)


@attrs.define
class Family(Generic[S]):
    """All series of one name. Made by a `Registry`."""

    name: str
    help: str
    kind: Kind
    label_names: tuple[str, ...]
    _make: Callable[[], S]
    series: dict[tuple[str, ...], S] = attrs.field(factory=dict, init=False)
    """By label values, in the order in which they were first asked for."""

    overflowed: int = attrs.field(default=0, init=False)
    """How often a new series was asked for beyond `SERIES_MAX`."""

    def labels(self, *values: str) -> S:
        """Give the series of these label values; keep it where speed matters.

        Raises:
            ValueError: There are more or fewer values than label names.
        """
        if (found := self.series.get(values)) is not None:
            return found
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}, not {values}")
        if len(self.series) >= SERIES_MAX:
            self.overflowed += 1
            values = (OTHER,) * len(values)
        return self.series.setdefault(values, self._make())

    def snapshot(self) -> dict[str, Any]:
        """Describe the family as plain data."""
        return {
            "kind": self.kind,
            "help": self.help,
            "series": [
                {"labels": dict(zip(self.label_names, values, strict=True)), **series.snapshot()}
                for values, series in self.series.items()
            ],
        }


AnyFamily: TypeAlias = Family[Counter] | Family[Gauge] | Family[Histogram]


class Registry:
    """All families of one node, by name.

    Asking again for a family gives the same one, so that a component that is restarted goes on
    counting where it was.

    Raises:
        ValueError: From `counter`, `gauge` and `histogram`: the name, the help or a label name is
            malformed, or the name stands for something else already.
    """

    def __init__(self) -> None:
        self._families: dict[str, AnyFamily] = {}

    def counter(self, name: str, help_: str, label_names: Sequence[str] = ()) -> Family[Counter]:
        """Give a family of counters; its name ends with `_total`."""
        return self._family(Family(name, help_, "counter", tuple(label_names), Counter))

    def gauge(self, name: str, help_: str, label_names: Sequence[str] = ()) -> Family[Gauge]:
        """Give a family of gauges."""
        return self._family(Family(name, help_, "gauge", tuple(label_names), Gauge))

    def histogram(
        self, name: str, help_: str, label_names: Sequence[str] = ()
    ) -> Family[Histogram]:
        """Give a family of histograms; the unit at the end of its name decides the bounds."""
        bounds = _BOUNDS_BY_UNIT.get(name.rpartition("_")[2], ())
        return self._family(
            Family(name, help_, "histogram", tuple(label_names), lambda: Histogram(bounds))
        )

    def families(self) -> list[AnyFamily]:
        """List all families by name."""
        return [self._families[name] for name in sorted(self._families)]

    def snapshot(self) -> dict[str, Any]:
        """Describe everything as plain data: dicts, lists, strings and numbers."""
        return {family.name: family.snapshot() for family in self.families()}

    def _family(self, family: Family[S]) -> Family[S]:
        known: Any = self._families.get(family.name)
        if known is None:
            _check(family)
            self._families[family.name] = family
            return family
        same = (known.help, known.kind, known.label_names)
        if same != (family.help, family.kind, family.label_names):
            raise ValueError(f"{family.name} is registered already, and otherwise")
        return known  # type: ignore[no-any-return]  # the kind, just compared, decides the type


def _check(family: Family[S]) -> None:
    name, words = family.name, family.name.split("_")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not hypercache_dist_ and words in small letters")
    if not _NO_BASE_UNITS.isdisjoint(words):
        raise ValueError(f"{name}: units are seconds, bytes and ratios")
    if (words[-1] == "total") != (family.kind == "counter"):
        raise ValueError(f"{name}: counters end with _total, and nothing else does")
    if words[-1] in _TAKEN_ENDINGS:
        raise ValueError(f"{name}: _{words[-1]} is what parts of other metrics end with")
    if family.kind == "histogram" and words[-1] not in _BOUNDS_BY_UNIT:
        raise ValueError(f"{name}: a histogram ends with one of {', '.join(_BOUNDS_BY_UNIT)}")
    if not family.help.strip():
        raise ValueError(f"{name}: no help")
    labels = family.label_names
    if len(set(labels)) < len(labels) or any(_bad_label(label) for label in labels):
        raise ValueError(f"{name}: label names are distinct small words, not {labels}")


def _bad_label(label: str) -> bool:
    return _LABEL_NAME.fullmatch(label) is None or label == "le"
