"""Metrics in the text format that Prometheus scrapes, version 0.0.4.

Source: "Exposition formats", prometheus.io/docs/instrumenting/exposition_formats. Comments, time
stamps and summaries of that format are not used.
"""

import math
from collections.abc import Iterator
from typing import Final

from cluster.core.metrics import AnyFamily, Histogram, Registry

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render_prometheus(registry: Registry) -> str:
    """Write all families, by name, each line ended by a newline."""
    return "".join(f"{line}\n" for family in registry.families() for line in _family_lines(family))


def _family_lines(family: AnyFamily) -> Iterator[str]:
    yield f"# HELP {family.name} {_escape(family.help)}"
    yield f"# TYPE {family.name} {family.kind}"
    for values, series in family.series.items():
        labels = tuple(zip(family.label_names, values, strict=True))
        if isinstance(series, Histogram):
            yield from _histogram_lines(family.name, labels, series)
        else:
            yield _sample(family.name, labels, series.value)


def _histogram_lines(
    name: str, labels: tuple[tuple[str, str], ...], histogram: Histogram
) -> Iterator[str]:
    total = 0
    for bound, count in zip((*histogram.bounds, math.inf), histogram.counts, strict=True):
        total += count
        yield _sample(f"{name}_bucket", (*labels, ("le", _number(bound))), total)
    yield _sample(f"{name}_sum", labels, histogram.sum)
    yield _sample(f"{name}_count", labels, total)


def _sample(name: str, labels: tuple[tuple[str, str], ...], value: float) -> str:
    if not labels:
        return f"{name} {_number(value)}"
    pairs = ",".join(f'{label}="{_escape_value(text)}"' for label, text in labels)
    return f"{name}{{{pairs}}} {_number(value)}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escape_value(text: str) -> str:
    return _escape(text).replace('"', '\\"')
