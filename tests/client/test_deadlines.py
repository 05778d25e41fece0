"""Operations by deadline: due in time and in order, told about once, and swept when done."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from cluster.client._deadlines import SWEEP_SLACK, Deadlines
from cluster.client._operation import ReadOperation
from cluster.core.values import Level


def operation(deadline):
    return ReadOperation(Level.QUORUM, deadline, [b"k"])


def test_only_an_earlier_deadline_is_told():
    told = []
    deadlines = Deadlines(told.append)
    for deadline in (5.0, 6.0, 4.0, 4.0, 7.0):
        deadlines.add(operation(deadline), 5)
    assert told == [5.0, 4.0]
    assert deadlines.earliest() == 4.0


def test_after_a_look_the_next_deadline_is_known_and_earlier_ones_are_told_again():
    told = []
    deadlines = Deadlines(told.append)
    first, second, third = operation(1.0), operation(2.0), operation(3.0)
    for active, each in enumerate((third, first, second), 1):
        deadlines.add(each, active)
    assert deadlines.due(2.0, 3) == [first, second]
    assert deadlines.earliest() == 3.0
    deadlines.add(operation(2.5), 2)
    assert told == [3.0, 1.0, 2.5]
    third.done = True
    assert len(deadlines.due(2.5, 1)) == 1
    assert deadlines.earliest() == inf


def test_what_is_done_is_swept_before_and_after_a_look():
    deadlines = Deadlines(lambda _: None)
    for turn in range(1000):
        each = operation(1e6 + turn)
        deadlines.add(each, 1)
        if turn % 10 == 0:  # so that it moves on to the heap while it is open
            assert deadlines.due(1.0, 1) == []
        each.done = True
        assert len(deadlines) <= 2 * (2 + SWEEP_SLACK) + 1


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 20)),
            st.tuples(st.just("done"), st.integers(0, 50)),
            st.tuples(st.just("look"), st.integers(0, 3)),
        ),
        max_size=200,
    )
)
def test_like_a_list_that_is_searched(events):
    wake_at = inf

    def wake(when):
        nonlocal wake_at
        wake_at = min(wake_at, when)

    deadlines = Deadlines(wake)
    known, now = [], 0.0
    for what, number in events:
        waiting = [each for each in known if not each.done]
        if what == "add":
            known.append(operation(now + number))
            deadlines.add(known[-1], len(waiting) + 1)
        elif what == "done" and number < len(known):
            known[number].done = True
        elif what == "look":
            now += number
            due = deadlines.due(now, len(waiting))
            assert due == sorted(due, key=lambda each: each.deadline)
            assert set(map(id, due)) == {id(each) for each in waiting if each.deadline <= now}
            for each in due:
                each.done = True
            wake_at = deadlines.earliest()
        left = [each for each in known if not each.done]
        assert deadlines.in_order() == left
        assert wake_at <= min((each.deadline for each in left), default=inf)
