"""Loads come within their bounds, by single shifts where possible and by chains where not."""

import pytest

from cluster.core.bounded_load import Balancer, Bounds, bounds_around


def balancer(held, takers, costs, bounds, may_shift=lambda *_: True):
    return Balancer(held, takers, costs, [Bounds(*pair) for pair in bounds], may_shift)


@pytest.mark.parametrize(
    ("fair", "epsilon", "bounds"),
    [
        (96.0, 0.05, Bounds(91, 101)),
        (100.0, 0.05, Bounds(95, 105)),
        (99.999999999, 0.05, Bounds(95, 105)),
        (0.3, 0.05, Bounds(0, 1)),
        (7.0, 0.0, Bounds(7, 7)),
        (7.5, 0.0, Bounds(7, 8)),
    ],
)
def test_bounds_are_whole_and_around_the_fair_share(fair, epsilon, bounds):
    assert bounds_around(fair, epsilon) == bounds


def test_the_cheapest_shifts_are_taken():
    costs = [[1.0, 9.0, 5.0], [1.0, 2.0, 5.0], [1.0, 9.0, 4.0], [1.0, 3.0, 9.0]]
    work = balancer([[0], [0], [0], [0]], [range(3)] * 4, costs, [(0, 2), (0, 1), (0, 4)])
    assert work.balance()
    assert work.held == [[0], [1], [2], [0]]


def test_a_member_is_filled_from_those_above_their_floor():
    costs = [[1.0, 2.0, 9.0], [1.0, 2.0, 2.0], [1.0, 2.0, 3.0]]
    work = balancer([[0], [0], [1]], [range(3)] * 3, costs, [(1, 3), (1, 3), (1, 3)])
    assert work.balance()
    assert work.held == [[0], [2], [1]]
    assert work.loads == [1, 1, 1]


def test_a_chain_leads_out_where_no_single_shift_does():
    """0 is over its cap and may give to 1 only, which is full and may give to 2."""
    work = balancer([[0], [0], [1]], [[0, 1], [0, 1], [1, 2]], [[0.0] * 3] * 3, [(0, 1)] * 3)
    assert work.balance()
    assert work.loads == [1, 1, 1]
    assert work.held[2] == [2]


def test_a_chain_fills_who_is_under_its_floor():
    """2 is under its floor and may take from 1 only, which may not give without taking from 0."""
    bounds = [(0, 2), (1, 2), (1, 2)]
    work = balancer([[0], [0], [1]], [[0, 1], [0, 1], [1, 2]], [[0.0] * 3] * 3, bounds)
    assert work.balance()
    assert work.loads == [1, 1, 1]


def test_impossible_bounds_are_admitted():
    work = balancer([[0], [0]], [[0], [0, 1]], [[0.0] * 2] * 2, [(0, 0), (0, 2)])
    assert not work.balance()
    work = balancer([[0], [0]], [[0], [0]], [[0.0] * 2] * 2, [(0, 2), (1, 2)])
    assert not work.balance()


def test_a_shift_that_is_forbidden_is_not_made():
    work = balancer(
        [[0], [0]],
        [range(2)] * 2,
        [[0.0, 1.0], [0.0, 9.0]],
        [(1, 1), (1, 1)],
        may_shift=lambda partition, *_: partition == 1,
    )
    assert work.balance()
    assert work.held == [[0], [1]]


def test_nobody_holds_two_units_of_a_partition():
    held = [[0, 1], [0, 1], [0, 1], [0, 2]]
    work = balancer(held, [range(4)] * 4, [[0.0] * 4] * 4, [(2, 2)] * 4)
    assert work.balance()
    assert work.loads == [2, 2, 2, 2]
    assert all(len(set(holders)) == 2 for holders in held)
