"""Where replies go: to the newest connection of a session, and to none that has ended."""

from cluster.services.callers import ENDED_MAX, Callers

FIRST, SECOND = object(), object()


def test_replies_go_to_where_requests_come_from():
    callers = Callers()
    assert callers.get(7) is None
    assert callers.heard(7, 1, FIRST)
    assert callers.heard(8, 2, SECOND)
    assert (callers.get(7), callers.get(8)) == (FIRST, SECOND)


def test_a_late_frame_of_the_connection_before_does_not_turn_them_back():
    callers = Callers()
    callers.heard(7, 1, FIRST)
    assert callers.heard(7, 2, SECOND)
    assert not callers.heard(7, 1, FIRST)
    assert not callers.gone(7, 1), "the session lives on"
    assert callers.get(7) is SECOND
    assert callers.heard(7, 2, SECOND)


def test_news_of_the_end_may_overtake_the_last_frames():
    callers = Callers()
    assert callers.gone(7, 3)
    assert not callers.heard(7, 3, FIRST)
    assert not callers.heard(7, 2, FIRST)
    assert len(callers) == 0
    assert callers.heard(7, 4, SECOND)
    assert callers.gone(7, 4)
    assert callers.gone(7, 1)
    assert not callers.heard(7, 4, SECOND)


def test_what_is_kept_of_the_ended_is_bounded():
    callers = Callers()
    for session_id in range(ENDED_MAX + 1):
        callers.heard(session_id, session_id, FIRST)
        callers.gone(session_id, session_id)
    assert not callers.heard(1, 1, FIRST)
    assert callers.heard(0, 0, FIRST), "forgotten: as many frames fit into no mailbox"
