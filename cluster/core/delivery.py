"""Delivery: write rounds that are done, on their way to the owners that have not acked yet.

A client is answered once enough owners have its write; the round goes on for the others, within
limits, for as long as one of them can be reached. What is let go of is not lost: who missed it is
behind, and is repaired as such.
"""

from typing import Final

from cluster.core.exchange import Exchange, Rounds
from cluster.core.quorum import WriteRound

__all__ = ["Delivery"]

ROUNDS_MAX: Final = 4096
BYTES_MAX: Final = 32 << 20
"""Rounds that may be kept, and what they may hold; beyond it the oldest is let go of."""


class Delivery:
    """The rounds of one node that are done and not delivered."""

    def __init__(self, exchange: Exchange, rounds: Rounds[WriteRound]) -> None:
        self._x: Final = exchange
        self._rounds: Final = rounds
        self._under_way: dict[int, WriteRound] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, round_: WriteRound) -> None:
        """A round is done."""
        if round_.delivered:
            return
        if self._is_hopeless(round_):
            self._let_go(round_)
            return
        self._under_way[round_.round_id] = round_
        self._bytes += round_.size_bytes
        while len(self._under_way) > ROUNDS_MAX or self._bytes > BYTES_MAX:
            self._let_go(next(iter(self._under_way.values())))

    def end(self, round_: WriteRound) -> None:
        """A round is over, delivered or not."""
        self._rounds.drop(round_)
        if self._under_way.pop(round_.round_id, None) is not None:
            self._bytes -= round_.size_bytes

    def look_again(self) -> None:
        """A peer cannot be reached any more: let go of what was only waiting for it."""
        for round_ in list(self._under_way.values()):
            if self._is_hopeless(round_):
                self._let_go(round_)

    def _is_hopeless(self, round_: WriteRound) -> bool:
        others = self._x.routes.to(round_.owners).others
        return all(node in round_.acked for node in others)

    def _let_go(self, round_: WriteRound) -> None:
        self._x.counters.rounds_let_go += 1
        self.end(round_)
