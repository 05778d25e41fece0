"""The life of a cell, and groups of one."""

import pytest

from actors import InvalidTransition, single
from actors._lifecycle import TRANSITIONS, State, Step, advance


def test_every_state_is_reached_and_all_but_the_end_are_left():
    assert set(TRANSITIONS.values()) | {State.NEW} == set(State)
    assert {before for before, _ in TRANSITIONS} == set(State) - {State.ENDED}


def test_a_whole_life():
    state = State.NEW
    for step in (Step.LAUNCH, Step.READY, Step.EXIT, Step.LAUNCH, Step.STOP, Step.READY, Step.EXIT):
        state = advance(state, step)
    assert advance(state, Step.END) is State.ENDED


@pytest.mark.parametrize("state", list(State))
def test_whatever_is_not_in_the_table_is_a_bug(state):
    for step in Step:
        if (state, step) not in TRANSITIONS:
            with pytest.raises(InvalidTransition, match=f"{state.value} cannot take"):
                advance(state, step)


def test_single_unwraps_groups_of_one_only():
    inner = ValueError("x")
    assert single(ExceptionGroup("a", [ExceptionGroup("b", [inner])])) is inner
    two = ExceptionGroup("two", [inner, KeyError("y")])
    assert single(two) is two
    assert single(inner) is inner
