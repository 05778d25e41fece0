"""Delays grow, are jittered over the whole interval, and start over."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.backoff import Backoff


def test_the_limit_doubles_up_to_the_maximum_and_starts_over():
    backoff = Backoff(0.1, 1.0, random.Random(1))
    limits = []
    for _ in range(6):
        limits.append(backoff.limit_s)
        assert 0.0 <= backoff.next_delay() <= limits[-1]
    assert limits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.failures == 6
    backoff.reset()
    assert (backoff.limit_s, backoff.failures) == (0.1, 0)


def test_a_delay_is_drawn_from_the_whole_interval():
    backoff = Backoff(1.0, 1.0, random.Random(7))
    delays = sorted(backoff.next_delay() for _ in range(2000))
    assert delays[0] < 0.01
    assert delays[-1] > 0.99
    assert sum(delays) / len(delays) == pytest.approx(0.5, abs=0.03)


def test_the_same_seed_gives_the_same_delays():
    first, second = (Backoff(0.05, 5.0, random.Random(3)) for _ in range(2))
    assert [first.next_delay() for _ in range(9)] == [second.next_delay() for _ in range(9)]


@given(
    first_s=st.floats(1e-6, 10.0),
    growth=st.floats(1.0, 1e6),
    factor=st.floats(1.0, 1e3),
    failures=st.integers(1, 300),
)
def test_no_number_of_failures_exceeds_the_maximum(first_s, growth, factor, failures):
    backoff = Backoff(first_s, first_s * growth, random.Random(0), factor=factor)
    for _ in range(failures):
        before = backoff.limit_s
        assert backoff.next_delay() <= before <= backoff.limit_s <= first_s * growth


@pytest.mark.parametrize(
    ("first_s", "max_s", "factor"),
    [
        (0.0, 1.0, 2.0),
        (-1.0, 1.0, 2.0),
        (2.0, 1.0, 2.0),
        (1.0, math.inf, 2.0),
        (math.nan, 1.0, 2.0),
        (1.0, 2.0, 0.5),
        (1.0, 2.0, math.nan),
        (1.0, 2.0, math.inf),
    ],
)
def test_senseless_limits_are_refused(first_s, max_s, factor):
    with pytest.raises(ValueError, match="backoff"):
        Backoff(first_s, max_s, random.Random(0), factor=factor)
