import pytest

from cluster.bench.statistics import NodeCounters, Pauses, counters_of, pauses_of


def series(value, field="value", **labels):
    return {"labels": labels, field: value}


METRICS = {
    "hypercache_dist_frames_total": {
        "series": [
            series(10, kind="peer", direction="out"),
            series(99, kind="peer", direction="in"),
            series(5, kind="client", direction="out"),
        ]
    },
    "hypercache_dist_frame_messages": {
        "series": [series(40, "sum", kind="peer"), series(20, "sum", kind="client")]
    },
    "hypercache_dist_frame_bytes_total": {"series": [series(9000, kind="peer", direction="out")]},
}


def test_what_was_sent_adds_up():
    assert counters_of(METRICS) == NodeCounters(15, 60, 9000)


def test_what_a_node_does_not_count_is_unknown():
    assert counters_of({}) == NodeCounters(None, None, None)


def test_nodes_add_up():
    assert NodeCounters.add([counters_of(METRICS), NodeCounters(5, 40, None)]) == NodeCounters(
        20, 100, 9000
    )


def test_no_nodes_count_nothing():
    assert NodeCounters.add([]) == NodeCounters(None, None, None)


def test_traffic_is_what_was_counted_since():
    traffic = NodeCounters(35, 460, 29_000).since(counters_of(METRICS)).traffic(operations=100)
    assert traffic.frames_per_operation == pytest.approx(0.2)
    assert traffic.messages_per_frame == pytest.approx(20)
    assert traffic.bytes_per_operation == pytest.approx(200)


def test_without_frames_there_is_no_traffic_to_speak_of():
    assert NodeCounters(None, 1, 1).traffic(10) is None
    assert NodeCounters(0, 0, 0).traffic(10) is None


def lag(counts, longest_s):
    buckets = {"labels": {}, "bounds": [0.001, 0.005, 0.05], "counts": counts}
    return {
        "hypercache_dist_loop_lag_seconds": {"series": [buckets]},
        "hypercache_dist_loop_lag_max_seconds": {"series": [series(longest_s)]},
    }


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (lag([1, 0, 1, 0], 0.04), lag([9, 0, 1, 0], 0.04), 0.001),  # late at the start only
        (lag([1, 0, 0, 0], 0.001), lag([9, 2, 0, 0], 0.004), 0.004),
        (lag([1, 0, 0, 0], 0.001), lag([9, 2, 0, 1], 0.3), 0.3),
        ({}, {}, None),
    ],
)
def test_lag_is_that_since_the_first_reading(before, after, expected):
    assert pauses_of(before, after, {}).loop_lag_s == expected


def test_the_store_is_found_in_the_tree_of_actors():
    tree = {
        "path": "/n1",
        "took_max_s": 9.0,
        "children": [
            {"path": "/n1", "children": [{"path": "/n1/replicator", "took_max_s": 0.002}]},
            {"path": "/n1/peers", "took_max_s": 7.0, "children": []},
        ],
    }
    assert pauses_of({}, {}, tree).handler_s == 0.002


def test_the_longest_of_the_known_pauses_counts():
    assert Pauses(0.001, None, 0.003).longest_s == 0.003
    assert Pauses(None, None, None).longest_s is None
