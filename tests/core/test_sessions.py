"""Outcomes kept for repeats: what is remembered, how long, and what is dropped."""

from cluster.core.operations import FailureCode, Refused
from cluster.core.sessions import (
    FORGOTTEN_AT_ONCE,
    IDLE_S,
    OUTCOMES_MAX,
    UNDER_WAY_MAX,
    Sessions,
)


def outcome(request_id):
    return Refused(request_id, FailureCode.TIMEOUT, "late")


def test_a_write_under_way_is_known_without_an_outcome():
    sessions = Sessions()
    session = sessions.get(7)
    sessions.begin(session, 1)
    assert sessions.get(7) is session
    assert session.outcomes == {1: None}


def test_the_outcome_is_kept_until_it_is_settled():
    sessions = Sessions()
    session = sessions.get(7)
    for request_id in (1, 2, 5):
        sessions.begin(session, request_id)
        sessions.end(7, request_id, outcome(request_id))
    sessions.settle(session, 3)
    assert session.outcomes == {5: outcome(5)}
    sessions.settle(session, 5)
    assert session.outcomes == {5: outcome(5)}, "below means below"
    sessions.settle(session, 6)
    assert session.outcomes == {}


def test_settling_stops_at_the_first_that_the_client_has_not():
    sessions = Sessions()
    session = sessions.get(7)
    for request_id in (9, 2):
        sessions.begin(session, request_id)
    sessions.settle(session, 5)
    assert list(session.outcomes) == [9, 2], "ids grow, so the oldest stand first"


def test_an_outcome_that_nobody_waits_for_is_not_kept():
    sessions = Sessions()
    sessions.end(7, 1, outcome(1))
    assert len(sessions) == 0
    session = sessions.get(7)
    sessions.end(7, 1, outcome(1))
    assert session.outcomes == {}


def test_sessions_do_not_share_ids():
    sessions = Sessions()
    for session_id in (7, 8):
        sessions.begin(sessions.get(session_id), 1)
    sessions.end(7, 1, outcome(1))
    assert sessions.get(8).outcomes == {1: None}


def finish(sessions, session, request_id):
    assert sessions.begin(session, request_id)
    sessions.end(session.session_id, request_id, outcome(request_id))


def test_beyond_the_limit_the_oldest_outcomes_are_forgotten_and_counted():
    sessions = Sessions()
    session = sessions.get(7)
    for request_id in range(OUTCOMES_MAX + 3):
        finish(sessions, session, request_id)
    assert len(session.outcomes) == OUTCOMES_MAX + 3 - FORGOTTEN_AT_ONCE
    assert next(iter(session.outcomes)) == FORGOTTEN_AT_ONCE
    assert sessions.forgotten == FORGOTTEN_AT_ONCE


def test_what_is_under_way_is_never_forgotten():
    """Its repeat would be done a second time."""
    sessions = Sessions()
    session = sessions.get(7)
    for request_id in range(10):
        assert sessions.begin(session, request_id)
    for request_id in range(10, OUTCOMES_MAX + 1):
        finish(sessions, session, request_id)
    assert list(session.outcomes)[:11] == [*range(10), 10 + FORGOTTEN_AT_ONCE]
    assert session.under_way == 10


def test_who_has_too_much_under_way_is_refused_until_something_ends():
    sessions = Sessions()
    session = sessions.get(7)
    for request_id in range(UNDER_WAY_MAX):
        assert sessions.begin(session, request_id)
    assert not sessions.begin(session, UNDER_WAY_MAX)
    assert UNDER_WAY_MAX not in session.outcomes
    sessions.end(7, 5, outcome(5))
    sessions.end(7, 5, outcome(5))
    assert sessions.begin(session, UNDER_WAY_MAX)
    assert not sessions.begin(session, UNDER_WAY_MAX + 1)
    sessions.settle(session, 10)
    assert session.under_way == UNDER_WAY_MAX - 9
    assert sessions.forgotten == 0


def test_it_is_known_how_far_the_client_has_settled():
    sessions = Sessions()
    session = sessions.get(7)
    for below in (5, 9, 3):
        sessions.settle(session, below)
    assert session.settled_below == 9


def test_a_session_outlives_its_connection_for_a_while():
    sessions = Sessions()
    session = sessions.get(7)
    sessions.begin(session, 1)
    sessions.gone(7, now=100.0)
    sessions.gone(8, now=100.0 + IDLE_S - 1)
    assert sessions.get(7).outcomes == {1: None}


def test_it_is_forgotten_when_another_one_leaves_after_that():
    sessions = Sessions()
    sessions.get(7)
    sessions.get(8)
    sessions.gone(7, now=100.0)
    sessions.gone(8, now=100.0 + IDLE_S)
    assert len(sessions) == 1


def test_a_session_that_came_back_is_not_idle():
    sessions = Sessions()
    session = sessions.get(7)
    sessions.begin(session, 1)
    sessions.gone(7, now=100.0)
    assert sessions.get(7) is session
    sessions.get(8)
    sessions.gone(8, now=100.0 + 2 * IDLE_S)
    assert sessions.get(7).outcomes == {1: None}
