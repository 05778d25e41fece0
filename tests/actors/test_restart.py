"""The restart policy: pure decisions over data."""

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Backoff, MailboxSpec, Restart, Strategy
from actors._restart import GiveUp, LetGo, RestartChildren, RestartPolicy

NO_DELAY = Backoff(first_s=0.0, jitter=0.0)
P, T, X = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


def policy(strategy=Strategy.ONE_FOR_ONE, intensity=3, backoff=NO_DELAY):
    return RestartPolicy(strategy, intensity, 30.0, backoff, random.Random(1))


def names(*restarts):
    return [(f"c{index}", restart) for index, restart in enumerate(restarts)]


@pytest.mark.parametrize(
    ("restart", "failed", "restarted"),
    [(P, True, True), (P, False, True), (T, True, True), (T, False, False), (X, True, False),
     (X, False, False)],
)  # fmt: skip
def test_restart_types(restart, failed, restarted):
    decision = policy().on_exit(0, names(restart), failed=failed, now=0.0)
    assert decision == (RestartChildren((), (0,), 0.0) if restarted else LetGo())


@pytest.mark.parametrize(
    ("strategy", "stop", "start"),
    [
        (Strategy.ONE_FOR_ONE, (), (1,)),
        (Strategy.ONE_FOR_ALL, (3, 2, 0), (0, 1, 3)),
        (Strategy.REST_FOR_ONE, (3, 2), (1, 3)),
    ],
)
def test_strategies(strategy, stop, start):
    decision = policy(strategy).on_exit(1, names(P, P, X, P), failed=True, now=0.0)
    assert decision == RestartChildren(stop, start, 0.0)


def test_gives_up_at_one_more_than_the_intensity_within_the_period():
    rules = policy(intensity=2)
    exits = [rules.on_exit(0, names(P), failed=True, now=now) for now in (0.0, 10.0, 29.0)]
    assert exits[2] == GiveUp(2)
    assert isinstance(rules.on_exit(0, names(P), failed=True, now=31.0), RestartChildren)


def test_intensity_counts_all_children_together():
    rules = policy(intensity=1)
    assert isinstance(rules.on_exit(0, names(P, P), failed=True, now=0.0), RestartChildren)
    assert rules.on_exit(1, names(P, P), failed=True, now=1.0) == GiveUp(1)


@given(
    attempt=st.integers(0, 10_000),
    first=st.floats(0.001, 10),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1),
    seed=st.integers(),
)
def test_a_backoff_stays_within_its_bounds(attempt, first, factor, jitter, seed):
    backoff = Backoff(first_s=first, factor=factor, max_s=20.0, jitter=jitter)
    delay_s = backoff.delay_s(attempt, random.Random(seed))
    full = min(20.0, first * factor ** min(attempt, 64))
    assert full * (1 - jitter) <= delay_s <= full


def test_limits_are_checked():
    with pytest.raises(ValueError, match="factor"):
        Backoff(factor=0.5)
    with pytest.raises(ValueError, match="capacity"):
        MailboxSpec(capacity=0)
    assert attrs.evolve(NO_DELAY, first_s=1.0).delay_s(0, random.Random(0)) == 1.0
