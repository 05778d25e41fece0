import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.bench.measure import Sample, percentile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7], 0.5, 7),
        ([1, 2], 0.5, 1),
        ([1, 2, 3], 0.5, 2),
        (list(range(1, 101)), 0.95, 95),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 101)), 1.0, 100),
        (list(range(1, 1001)), 0.999, 999),
    ],
)
def test_nearest_rank(values, share, expected):
    assert percentile(values, share) == expected


@given(st.lists(st.integers(), min_size=1), st.floats(0.001, 1.0))
def test_a_percentile_is_the_least_value_that_enough_do_not_exceed(values, share):
    values.sort()
    found = percentile(values, share)
    enough = share * len(values) - 1e-6
    assert sum(value <= found for value in values) >= enough
    assert found == values[0] or sum(value < found for value in values) < share * len(values) + 1e-6


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_share_is_above_0_and_at_most_1(share):
    with pytest.raises(AssertionError, match="share"):
        percentile([1], share)


def test_there_is_no_percentile_of_nothing():
    with pytest.raises(AssertionError, match="nothing"):
        percentile([], 0.5)


def sample(**changes):
    fields = {
        "operations": 200,
        "elapsed_s": 2.0,
        "client_cpu_s": 0.004,
        "node_cpu_s": 0.02,
        "latencies_us": [1000, 3000],
    }
    return Sample(**fields | changes)


def test_figures_have_the_units_of_their_names():
    figures = sample().figures()
    assert figures.operations_per_s == 100
    assert (figures.p50_ms, figures.p99_ms) == (1.0, 3.0)
    assert figures.client_cpu_us == pytest.approx(20)
    assert figures.node_cpu_us == pytest.approx(100)


def test_node_cpu_is_unknown_for_nodes_elsewhere():
    assert sample(node_cpu_s=None).figures().node_cpu_us is None


def test_merged_slices_count_like_one_measurement():
    merged = Sample.merge([sample(warm_operations=5), sample(operations=600, latencies_us=[9000])])
    assert merged.operations == 800
    assert merged.elapsed_s == 4.0
    assert merged.node_cpu_s == pytest.approx(0.04)
    assert merged.warm_operations == 5
    assert merged.figures().p99_ms == 9.0


def test_a_slice_without_node_cpu_makes_the_whole_unknown():
    assert Sample.merge([sample(), sample(node_cpu_s=None)]).node_cpu_s is None
