import pytest

from cluster.bench.main import main, make_parser, make_plan
from cluster.bench.workload import Cell, Kind


def plan(*arguments):
    return make_plan(make_parser().parse_args(arguments))


def test_everything_is_measured_by_default():
    default = plan()
    assert len(default.cells) == 13
    assert Cell(Kind.MIXED, 128, 0) in default.cells
    assert Cell(Kind.SET, 1, 1_000) in default.cells
    assert (default.keys, default.value_bytes) == (100_000, 100)
    assert default.product
    assert default.bare
    assert default.memory_records == 0
    assert default.steps == 13 * 2 * 8 + 3


def test_what_is_named_is_measured_and_nothing_else():
    assert plan("--workload", "set", "--in-flight", "8").cells == [Cell(Kind.SET, 8, 0)]
    assert plan("--workload", "get", "--batch", "10").cells == [Cell(Kind.GET, 1, 10)]
    both = plan("--workload", "set", "--in-flight", "8", "--batch", "10")
    assert both.cells == [Cell(Kind.SET, 8, 0), Cell(Kind.SET, 1, 10)]


def test_memory_alone_measures_memory_alone():
    only = plan("--memory")
    assert only.memory_records == 1_000_000
    assert only.cells == []
    assert not only.product
    assert not only.bare
    assert only.steps == 1
    assert plan("--memory", "500").memory_records == 500
    assert plan("--memory", "500", "--workload", "set").cells


def test_a_running_cluster_is_measured_without_the_yardstick():
    there = plan("--target", "127.0.0.1:7946", "--target", "[::1]:7947")
    assert there.targets == ["127.0.0.1:7946", "[::1]:7947"]
    assert not there.bare


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ("--in-flight 0", "--in-flight"),
        ("--in-flight 1.5", "'1.5' is no whole number"),
        ("--batch 10001", "--batch"),
        ("--batch x", "--batch"),
        ("--value-size -1", "--value-size"),
        ("--keys 0", "--keys"),
        ("--seconds 0", "--seconds"),
        ("--seconds nan", "--seconds"),
        ("--seconds x", "--seconds"),
        ("--memory 0", "--memory"),
        ("--target 127.0.0.1", "--target"),
        ("--target :7946", "--target"),
        ("--target a:99999", "--target"),
        ("--workload scan", "--workload"),
        ("--bogus", "--bogus"),
        ("--no-bare --only-bare", "--only-bare"),
        ("--target a:1 --memory", "--target"),
        ("--only-bare --memory", "--memory"),
        ("--keys 10 --batch 100", "--batch 100"),
        ("--keys 10000000 --value-size 1000000", "--value-size"),
    ],
)
def test_a_bad_option_ends_with_one_line_that_names_it(arguments, part, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert part in printed.err
