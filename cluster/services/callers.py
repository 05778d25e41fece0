"""Where the replies for each client session go: by the newest of its connections.

A client that lost its connection comes back by another one under the same session. What is still
read from the old one, or waits in a mailbox while the news of its end has overtaken it, must not
turn the replies back to where nobody is.
"""

from typing import Any, Final

from actors import Ref

__all__ = ["Callers"]

ENDED_MAX: Final = 8192
"""Ended connections that are remembered: twice as many as frames fit into a mailbox."""


class Callers:
    """Connections that are open, and those that ended a moment ago, by session."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[int, Ref[Any]]] = {}
        self._ended: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._open)

    def get(self, session_id: int) -> Ref[Any] | None:
        """Where replies go; None if the client is gone."""
        known = self._open.get(session_id)
        return None if known is None else known[1]

    def heard(self, session_id: int, connection: int, reply_to: Ref[Any]) -> bool:
        """A frame came by a connection; False if that has ended or is not the newest."""
        known = self._open.get(session_id)
        if known is not None and known[0] >= connection:
            return known[0] == connection
        if self._ended.get(session_id, -1) >= connection:
            return False
        self._open[session_id] = (connection, reply_to)
        return True

    def gone(self, session_id: int, connection: int) -> bool:
        """A connection ended; True if it was the last of its session."""
        known = self._open.get(session_id)
        if known is not None and known[0] > connection:
            return False
        self._open.pop(session_id, None)
        # Taken out first, so that the oldest stand in front.
        ended = max(connection, self._ended.pop(session_id, -1))
        self._ended[session_id] = ended
        if len(self._ended) > ENDED_MAX:
            del self._ended[next(iter(self._ended))]
        return True
