from hypothesis import given
from hypothesis import strategies as st

from cluster.core.clock import STAMP_BYTES, HybridClock, boot_of, hlc_of, stamp

WALLS = st.integers(1, 1 << 40)
READINGS = st.integers(0, (1 << 64) - 1)


def test_a_reading_is_the_wall_clock_while_that_moves_on():
    clock = HybridClock()
    assert [clock.tick(1000) >> 16, clock.tick(1001) >> 16] == [1000, 1001]
    assert clock.last == 1001 << 16


def test_within_one_millisecond_it_counts():
    clock = HybridClock()
    assert [clock.tick(1000) & 0xFFFF for _ in range(3)] == [0, 1, 2]


def test_a_full_counter_carries_into_the_milliseconds():
    clock = HybridClock()
    clock.observe(1000 << 16 | 0xFFFF, 1000)
    assert clock.tick(1000) == 1001 << 16


def test_a_wall_clock_set_back_is_harmless():
    clock = HybridClock()
    before = clock.tick(5000)
    assert clock.tick(10) == before + 1
    assert clock.observe(before, 10) is None
    assert clock.refused == 0


def test_a_remote_clock_at_the_offset_is_believed_and_beyond_it_refused():
    clock = HybridClock(offset_max_ms=500)
    last = clock.tick(1000)
    skewed = clock.observe(1501 << 16, 1000)
    assert skewed is not None
    assert (skewed.ahead_ms, skewed.remote_ms, skewed.wall_ms) == (501, 1501, 1000)
    assert (clock.last, clock.refused) == (last, 1)
    assert clock.observe(1500 << 16 | 0xFFFF, 1000) is None
    assert clock.tick(1000) == 1501 << 16
    assert clock.refused == 1


@given(st.lists(st.tuples(WALLS, READINGS | st.none()), max_size=50))
def test_ticks_rise_and_are_above_all_that_was_observed(events):
    clock = HybridClock()
    highest = 0
    for wall_ms, observed in events:
        if observed is None:
            reading = clock.tick(wall_ms)
            assert reading > highest
            assert reading >= wall_ms << 16
            highest = reading
        elif clock.observe(observed, wall_ms) is None:
            highest = max(highest, observed)
        else:
            assert observed >> 16 > wall_ms + clock.offset_max_ms
        assert clock.last == highest


@given(st.lists(st.tuples(WALLS, READINGS | st.none()), max_size=50))
def test_a_clock_is_never_further_ahead_than_the_highest_wall_clock_and_the_offset(events):
    clock = HybridClock(offset_max_ms=500)
    for number, (wall_ms, observed) in enumerate(events):
        if observed is None:
            clock.tick(wall_ms)
        else:
            clock.observe(observed, wall_ms)
        highest_ms = max(wall for wall, _ in events[: number + 1]) + 500
        assert clock.last <= (highest_ms << 16 | 0xFFFF) + number + 1


@given(READINGS, READINGS, READINGS, READINGS)
def test_stamps_order_like_reading_and_boot(hlc_a, boot_a, hlc_b, boot_b):
    a, b = stamp(hlc_a, boot_a), stamp(hlc_b, boot_b)
    assert (a < b) == ((hlc_a, boot_a) < (hlc_b, boot_b))
    assert len(a) == STAMP_BYTES
    assert (hlc_of(a), boot_of(a)) == (hlc_a, boot_a)
    assert (hlc_of(a + b"rest of a record"), boot_of(a + b"rest")) == (hlc_a, boot_a)


def test_a_client_is_believed_half_as_far_ahead_as_a_node():
    clock = HybridClock(offset_max_ms=500)
    clock.observe_client((1_250 << 16) + 7, 1_000)
    assert clock.last == (1_250 << 16) + 7, "causality through clients of nodes with close clocks"
    clock.observe_client(1_251 << 16, 1_000)
    assert (clock.last, clock.refused) == ((1_250 << 16) + 7, 1)


def test_no_client_can_push_a_node_to_where_a_peer_that_lags_refuses_it():
    """Whose clock is half of the bound behind, as honest clocks may be."""
    pushed, lagging = HybridClock(offset_max_ms=500), HybridClock(offset_max_ms=500)
    for ahead_ms in range(0, 2_000, 50):
        pushed.observe_client(((10_000 + ahead_ms) << 16) + 0xFFFF, 10_000)
        assert lagging.observe(pushed.tick(10_000), 10_000 - 249) is None
