import io
import json

import pytest
from rich.console import Console

from cluster.bench.measure import Sample
from cluster.bench.report import print_report
from cluster.bench.results import CellResult, Memory, Results, targets
from cluster.bench.statistics import Pauses, Traffic
from cluster.bench.workload import Cell, Kind

SEQUENTIAL = Cell(Kind.SET, 1, 0)
PARALLEL = Cell(Kind.SET, 32, 0)
BATCH = Cell(Kind.SET, 1, 1_000)


def sample(operations=100, p50_us=1000, node_cpu_s=0.01):
    return Sample(operations, 1.0, 0.001, node_cpu_s, [p50_us] * 3)


def results(*cells, **fields):
    return Results(setup={"keys": 1}, cells=list(cells), **fields)


def test_a_ratio_is_product_by_bare_with_the_spread_of_its_slices():
    result = CellResult(PARALLEL, [sample(50), sample(70)], [sample(100), sample(100)])
    ratio = result.ratio("operations_per_s")
    assert ratio.value == pytest.approx(0.6)
    assert (ratio.low, ratio.high) == (pytest.approx(0.5), pytest.approx(0.7))


def test_there_is_no_ratio_to_what_was_not_measured():
    assert CellResult(PARALLEL, [sample()], []).ratio("p50_ms") is None
    assert CellResult(PARALLEL, [], [sample()]).ratio("p50_ms") is None
    elsewhere = CellResult(PARALLEL, [sample(node_cpu_s=None)], [sample()])
    assert elsewhere.ratio("node_cpu_us") is None


@pytest.mark.parametrize(
    ("cell", "product", "met"),
    [
        (SEQUENTIAL, sample(p50_us=1500), [True]),
        (SEQUENTIAL, sample(p50_us=1501), [False]),
        (PARALLEL, sample(50, node_cpu_s=0.01), [True, True]),
        (PARALLEL, sample(49, node_cpu_s=0.0099), [False, False]),
        (BATCH, sample(55), [True]),
        (BATCH, sample(54), [False]),
        (Cell(Kind.GET, 1, 0), sample(), []),
    ],
)
def test_targets_of_ratios(cell, product, met):
    found = targets(results(CellResult(cell, [product], [sample()])))
    assert [target.met for target in found] == met


def test_targets_without_a_yardstick():
    memory = Memory(
        records=10, loaded_bytes=290, overwritten_bytes=401, pauses=Pauses(0.006, 0.001, None)
    )
    found = targets(results(idle_share=0.009, memory=memory))
    assert [target.met for target in found] == [True, True, False, False]


def test_a_pause_that_nobody_measured_has_no_verdict():
    memory = Memory(
        records=10, loaded_bytes=1, overwritten_bytes=1, pauses=Pauses(None, None, None)
    )
    assert len(targets(results(memory=memory))) == 2


def test_json_holds_everything_and_is_plain():
    result = CellResult(PARALLEL, [sample(50)], [sample()], Traffic(0.1, 30.0, 300.0))
    body = json.loads(json.dumps(results(result, idle_share=0.001).as_json()))
    [cell] = body["cells"]
    assert (cell["workload"], cell["in_flight"], cell["batch"]) == ("set", 32, 0)
    assert cell["product"]["operations_per_s"] == 50
    assert cell["ratio"]["operations_per_s"]["value"] == 0.5
    assert cell["traffic"]["messages_per_frame"] == 30
    assert [target["met"] for target in body["targets"]] == [True, True, True]


def printed(found):
    text = io.StringIO()
    print_report(found, Console(file=text, width=120))
    return text.getvalue()


def test_the_report_shows_figures_ratios_and_verdicts():
    result = CellResult(PARALLEL, [sample(40)], [sample()], Traffic(0.1, 30.0, None))
    memory = Memory(1000, 250.4, 380.0, Pauses(0.004, None, None))
    text = printed(results(result, bytes_per_record=255.0, idle_share=0.004, memory=memory))
    for part in ("set, 32 in flight", "0.40 (0.40..0.40)", "missed", "met", "250 bytes per record"):
        assert part in text
    assert "0.40% of one core" in text
    assert "loop lag 4.0 ms" in text


def test_a_report_of_one_side_has_no_ratios():
    text = printed(results(CellResult(BATCH, [sample(node_cpu_s=None)], [])))
    assert "set_many 1,000" in text
    assert "Product /" not in text
    assert "Targets" not in text
