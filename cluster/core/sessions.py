"""Outcomes kept to answer repeats: a client that lost its connection asks again with the same id.

A client that has sent a write and got no answer may send it again only to the same node, with the
same request id: here the repeat is recognised, and answered with what the first one came to instead
of being done twice. An outcome is kept until the client says that it has it (`Settled`), at most
`OUTCOMES_MAX` of a session, and for `IDLE_S` after the session's connection ended.

What is under way is never forgotten: a repeat of it would be done twice. Whoever has too much under
way is refused. Nor is a late copy of what the client has settled begun: it would undo what the
client has done since.
"""

import itertools
from typing import Final

import attrs

from cluster.core.operations import ClientReply

__all__ = ["Session", "Sessions"]

OUTCOMES_MAX: Final = 20_000
FORGOTTEN_AT_ONCE: Final = OUTCOMES_MAX // 8
UNDER_WAY_MAX: Final = OUTCOMES_MAX - FORGOTTEN_AT_ONCE
"""Writes of a session that are under way; the rest of the room is for outcomes, so that making room
always finds enough of them to be worth the search."""

IDLE_S: Final = 60.0


@attrs.define(eq=False)
class Session:
    """One client: its writes that are under way (None) or done (the reply), by request id."""

    session_id: int
    outcomes: dict[int, ClientReply | None] = attrs.field(factory=dict)
    under_way: int = 0
    """How many of the outcomes are None."""
    settled_below: int = 0
    """The client has the outcome of every write below this id."""
    gone_at: float | None = None
    """When its connection ended; None while it lasts."""


class Sessions:
    """The sessions that a node knows."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}
        self.forgotten = 0
        """Outcomes dropped for the limit before the client had settled them."""

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session_id: int) -> Session:
        """The session with this id, which is connected now."""
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session(session_id)
        session.gone_at = None
        return session

    def begin(self, session: Session, request_id: int) -> bool:
        """Remember that this write is under way; False if too many are."""
        if session.under_way >= UNDER_WAY_MAX:
            return False
        outcomes = session.outcomes
        if len(outcomes) >= OUTCOMES_MAX:
            finished = (number for number, reply in outcomes.items() if reply is not None)
            oldest = list(itertools.islice(finished, FORGOTTEN_AT_ONCE))
            self._drop(session, oldest)
            self.forgotten += len(oldest)
        outcomes[request_id] = None
        session.under_way += 1
        return True

    def end(self, session_id: int, request_id: int, reply: ClientReply) -> None:
        """Remember what the write came to, if its session still wants to know."""
        session = self._sessions.get(session_id)
        if session is not None and request_id in session.outcomes:
            session.under_way -= session.outcomes[request_id] is None
            session.outcomes[request_id] = reply

    def settle(self, session: Session, below: int) -> None:
        """The client has every outcome below this id. Ids grow, so the oldest stand first."""
        session.settled_below = max(session.settled_below, below)
        self._drop(session, list(itertools.takewhile(below.__gt__, session.outcomes)))

    @staticmethod
    def _drop(session: Session, request_ids: list[int]) -> None:
        """Drop outcomes at the front; one by one, each would look for the front again."""
        for request_id in request_ids:
            session.under_way -= session.outcomes.pop(request_id) is None

    def gone(self, session_id: int, now: float) -> None:
        """The connection of a session ended; sessions that ended `IDLE_S` ago are forgotten."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.gone_at = now
        old = [
            s.session_id
            for s in self._sessions.values()
            if s.gone_at is not None and s.gone_at + IDLE_S <= now
        ]
        for session_id_ in old:
            del self._sessions[session_id_]
