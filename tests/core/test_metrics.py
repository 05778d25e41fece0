"""Series count exactly, names are checked, and the text says what the registry holds."""

import json
import math
import random
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core import metrics
from cluster.core.exposition import CONTENT_TYPE, render_prometheus
from cluster.core.metrics import BYTES_BOUNDS, COUNT_BOUNDS, SECONDS_BOUNDS, Histogram, Registry


def test_a_counter_counts_per_label_values():
    family = Registry().counter("hypercache_dist_operations_total", "Done.", ["op", "level"])
    gets, sets = family.labels("get", "ONE"), family.labels("set", "ONE")
    gets.add()
    gets.value += 2
    sets.add(5)
    assert family.labels("get", "ONE") is gets
    assert {values: series.value for values, series in family.series.items()} == {
        ("get", "ONE"): 3,
        ("set", "ONE"): 5,
    }


def test_a_gauge_is_set_or_follows():
    gauge = Registry().gauge("hypercache_dist_ring_epoch", "Epoch.").labels()
    assert gauge.value == 0
    gauge.set(4)
    assert gauge.value == 4
    members = ["a", "b"]
    gauge.follow(lambda: len(members))
    members.append("c")
    assert gauge.value == 3
    gauge.set(1)
    assert gauge.value == 1


def test_bounds_ascend_from_50_microseconds_to_10_seconds():
    assert (SECONDS_BOUNDS[0], SECONDS_BOUNDS[-1]) == (50e-6, 10.0)
    for bounds, growth in ((SECONDS_BOUNDS, 1.7), (BYTES_BOUNDS, 4), (COUNT_BOUNDS, 2)):
        for below, above in pairwise(bounds):
            assert below < above <= below * growth


@given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=50))
def test_a_histogram_puts_each_value_under_its_bound(values):
    histogram = Histogram(SECONDS_BOUNDS)
    for value in values:
        histogram.observe(value)
    for index, bound in enumerate(histogram.bounds):
        assert sum(histogram.counts[: index + 1]) == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)
    assert histogram.sum == pytest.approx(sum(values))


def test_percentiles_are_near():
    rng = random.Random(5)
    values = sorted(rng.lognormvariate(-6.0, 1.0) for _ in range(5000))
    histogram = Histogram(SECONDS_BOUNDS)
    for value in values:
        histogram.observe(value)
    for fraction in (0.5, 0.9, 0.99):
        exact = values[int(fraction * len(values))]
        assert histogram.percentile(fraction) == pytest.approx(exact, rel=0.15)


def test_percentiles_at_the_edges():
    histogram = Histogram((1.0, 2.0))
    assert histogram.percentile(0.5) is None
    histogram.observe(99.0)
    assert histogram.percentile(0.5) == 2.0
    histogram.observe(1.5)
    assert histogram.percentile(0.5) == 2.0
    assert histogram.percentile(0.25) == 1.5
    assert histogram.percentile(1.0) == 2.0
    full = Histogram((1.0, 2.0))
    for _ in range(4):
        full.observe(1.0)
    assert [full.percentile(part) for part in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]


def test_asking_again_gives_the_same_family():
    registry = Registry()
    first = registry.counter("hypercache_dist_restarts_total", "Restarts.", ("actor",))
    first.labels("a").add()
    again = registry.counter("hypercache_dist_restarts_total", "Restarts.", ("actor",))
    assert again is first
    assert registry.families() == [first]
    with pytest.raises(ValueError, match="registered already"):
        registry.counter("hypercache_dist_restarts_total", "Restarts.", ("node",))
    with pytest.raises(ValueError, match="registered already"):
        registry.counter("hypercache_dist_restarts_total", "Other.", ("actor",))


def test_another_kind_of_the_same_name_is_refused():
    registry = Registry()
    registry.gauge("hypercache_dist_queue_seconds", "Waiting.")
    with pytest.raises(ValueError, match="registered already"):
        registry.histogram("hypercache_dist_queue_seconds", "Waiting.")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("counter", "hypercache_dist_hints"),
        ("gauge", "hypercache_dist_hints_total"),
        ("histogram", "hypercache_dist_latency"),
        ("histogram", "hypercache_dist_latency_ms"),
        ("gauge", "hypercache_dist_memory_kb"),
        ("counter", "hypercache_dist_lag_milliseconds_total"),
        ("gauge", "hypercache_dist_replies_count"),
        ("gauge", "hypercache_dist_replies_sum"),
        ("gauge", "hypercache_dist_replies_bucket"),
        ("gauge", "hypercache_dist_"),
        ("gauge", "hypercache_dist"),
        ("gauge", "hypercache_records"),
        ("gauge", "hypercache_dist_Records"),
        ("gauge", "hypercache_dist_a__b"),
        ("gauge", "hypercache_dist_records\n"),
    ],
)
def test_names_that_break_the_pattern_are_refused(kind, name):
    registry = Registry()
    with pytest.raises(ValueError, match="hypercache"):
        getattr(registry, kind)(name, "Help.")
    assert registry.families() == []


@pytest.mark.parametrize("labels", [("le",), ("a", "a"), ("A",), ("",), ("a-b",), ("__a",)])
def test_bad_label_names_are_refused(labels):
    with pytest.raises(ValueError, match="label names"):
        Registry().gauge("hypercache_dist_records", "Records.", labels)


def test_a_family_needs_help_and_fitting_values():
    with pytest.raises(ValueError, match="no help"):
        Registry().gauge("hypercache_dist_records", " ")
    family = Registry().gauge("hypercache_dist_records", "Records.", ("node",))
    with pytest.raises(ValueError, match="has the labels"):
        family.labels()
    with pytest.raises(ValueError, match="has the labels"):
        family.labels("a", "b")
    assert family.series == {}


def test_series_are_limited(monkeypatch):
    monkeypatch.setattr(metrics, "SERIES_MAX", 3)
    family = Registry().counter("hypercache_dist_keys_total", "Keys.", ("key", "op"))
    for number in range(5):
        family.labels(f"k{number}", "get").add()
    assert len(family.series) == 4
    assert family.series["other", "other"].value == 2
    assert family.overflowed == 2
    family.labels("k0", "get").add()
    assert family.series["k0", "get"].value == 2
    assert family.overflowed == 2


def test_units_decide_the_bounds():
    registry = Registry()
    for unit, bounds in (
        ("seconds", SECONDS_BOUNDS),
        ("bytes", BYTES_BOUNDS),
        ("messages", COUNT_BOUNDS),
    ):
        family = registry.histogram(f"hypercache_dist_frame_{unit}", "Frames.")
        assert family.labels().bounds == bounds


def filled():
    registry = Registry()
    registry.gauge("hypercache_dist_ring_epoch", "Epoch.").labels().set(3)
    operations = registry.counter("hypercache_dist_operations_total", "Done.", ("op",))
    operations.labels("get").add(7)
    operations.labels("set").add(2)
    latency = registry.histogram("hypercache_dist_operation_seconds", "Latency.", ("op",))
    for value in (10e-6, 50e-6, 51e-6, 0.4, 60.0):
        latency.labels("get").observe(value)
    return registry


def test_a_snapshot_is_plain_data():
    snapshot = filled().snapshot()
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert list(snapshot) == sorted(snapshot)
    assert snapshot["hypercache_dist_operations_total"] == {
        "kind": "counter",
        "help": "Done.",
        "series": [
            {"labels": {"op": "get"}, "value": 7},
            {"labels": {"op": "set"}, "value": 2},
        ],
    }
    (series,) = snapshot["hypercache_dist_operation_seconds"]["series"]
    assert series["labels"] == {"op": "get"}
    assert sum(series["counts"]) == 5
    assert len(series["counts"]) == len(series["bounds"]) + 1
    assert 0.0 < series["p50"] < series["p95"] <= series["p99"] == 10.0


def parse(text):
    """Read the text format by its grammar: samples by name and labels, types, helps."""
    samples, types, helps = {}, {}, {}
    assert text.endswith("\n") or not text
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            name, help_ = line.removeprefix("# HELP ").split(" ", 1)
            helps[name] = unescape(help_)
        elif line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ")
            types[name] = kind
        else:
            name, labels, value = parse_sample(line)
            assert (name, labels) not in samples
            samples[name, labels] = value
    return samples, types, helps


def unescape(text):
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def parse_sample(line):
    at = next(index for index, char in enumerate(line) if char in "{ ")
    name, labels = line[:at], []
    while line[at] != " ":
        at += 1  # past { or ,
        if line[at] == "}":
            at += 1
            continue
        equals = line.index("=", at)
        label, at, value = line[at:equals], equals + 2, ""
        while line[at] != '"':
            if line[at] == "\\":
                at += 1
                value += {"n": "\n", "\\": "\\", '"': '"'}[line[at]]
            else:
                value += line[at]
            at += 1
        labels.append((label, value))
        at += 1  # past "
        if line[at] == "}":
            at += 1
    return name, tuple(labels), float(line[at + 1 :])


def test_the_text_says_what_the_registry_holds():
    samples, types, helps = parse(render_prometheus(filled()))
    assert types == {
        "hypercache_dist_operation_seconds": "histogram",
        "hypercache_dist_operations_total": "counter",
        "hypercache_dist_ring_epoch": "gauge",
    }
    assert helps["hypercache_dist_ring_epoch"] == "Epoch."
    assert samples["hypercache_dist_ring_epoch", ()] == 3
    assert samples["hypercache_dist_operations_total", (("op", "get"),)] == 7
    name, get = "hypercache_dist_operation_seconds", ("op", "get")
    assert samples[f"{name}_count", (get,)] == 5
    assert samples[f"{name}_sum", (get,)] == pytest.approx(60.400111)
    buckets = [value for key, value in samples.items() if key[0] == f"{name}_bucket"]
    assert buckets == sorted(buckets)
    assert len(buckets) == len(SECONDS_BOUNDS) + 1
    assert samples[f"{name}_bucket", (get, ("le", "5e-05"))] == 2
    assert samples[f"{name}_bucket", (get, ("le", "7e-05"))] == 3
    assert samples[f"{name}_bucket", (get, ("le", "10.0"))] == 4
    assert samples[f"{name}_bucket", (get, ("le", "+Inf"))] == 5


def test_an_empty_registry_is_an_empty_text():
    assert render_prometheus(Registry()) == ""
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")


@given(values=st.lists(st.text(max_size=8), min_size=2, max_size=2), help_=st.text(max_size=12))
def test_labels_and_help_are_escaped(values, help_):
    registry = Registry()
    help_ = "Peers. " + help_
    registry.gauge("hypercache_dist_peers", help_, ("a", "b")).labels(*values).set(1.5)
    samples, _, helps = parse(render_prometheus(registry))
    expected = tuple(zip("ab", values, strict=True))
    assert samples == {("hypercache_dist_peers", expected): 1.5}
    assert helps == {"hypercache_dist_peers": help_}


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e300, 1 << 60, -0.25])
def test_all_numbers_are_written(value):
    registry = Registry()
    registry.gauge("hypercache_dist_peers", "Peers.").labels().set(value)
    assert parse(render_prometheus(registry))[0] == {("hypercache_dist_peers", ()): value}
    registry.gauge("hypercache_dist_peers", "Peers.").labels().set(math.nan)
    assert "hypercache_dist_peers NaN\n" in render_prometheus(registry)
