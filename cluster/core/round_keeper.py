"""What the write half and the read half of the coordinator do alike with their rounds.

Rounds gather requests until `flush` starts them. From then on a round is looked at when something
is to be repeated or a deadline has come: requests end each at their own deadline, and a round
without open requests is over. What a round sends, repeats and tells at its end is its half's.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from cluster.core.exchange import Exchange, Rounds
from cluster.core.pending import Part, Pending
from cluster.core.quorum import ReadRound, WriteRound

__all__ = ["RoundKeeper"]

RoundT = TypeVar("RoundT", bound=WriteRound | ReadRound)


class RoundKeeper(ABC, Generic[RoundT]):
    """The rounds of one kind of one node."""

    def __init__(self, exchange: Exchange, settled: Callable[[Pending], None]) -> None:
        """Prepare; `settled` is called with every request whose last part is closed."""
        self._x: Final = exchange
        self._settled: Final = settled
        self._gathering: dict[Hashable, RoundT] = {}
        """Rounds that still take requests, by what requests in one round have in common."""
        self._full: list[RoundT] = []
        self.rounds: Final[Rounds[RoundT]] = Rounds()

    def flush(self) -> None:
        """Start every round that was gathered."""
        while self._gathering:
            gathered = [*self._full, *self._gathering.values()]
            self._full, self._gathering = [], {}
            for round_ in gathered:
                self.start(round_)

    def tick(self) -> None:
        """End what is past its deadline, repeat what was not answered."""
        now = self._x.now
        for round_ in self.rounds.due(now):
            if now >= round_.deadline:
                self._expire(round_, now)
            if self.rounds.get(round_.round_id) is None:
                continue
            if now < round_.repeat_at:
                self.rounds.look_again(round_)
                continue
            round_.attempt += 1
            self._repeat(round_)
            self.rounds.wake_again(round_, now)

    def _expire(self, round_: RoundT, now: float) -> None:
        for part in round_.parts:
            if part.open and part.request.deadline <= now:
                self._time_out(round_, part)
                self._close(part)
        left = [part.request.deadline for part in round_.parts if part.open]
        if left:
            round_.deadline = min(left)
        else:
            self._end(round_)

    def _close(self, part: Part) -> None:
        part.open = False
        part.request.open_parts -= 1
        if part.request.open_parts == 0:
            self._settled(part.request)

    @abstractmethod
    def start(self, round_: RoundT) -> None:
        """Begin a round: own copy, messages to others."""

    @abstractmethod
    def _repeat(self, round_: RoundT) -> None:
        """Send again what was not answered."""

    @abstractmethod
    def _time_out(self, round_: RoundT, part: Part) -> None:
        """Let the keys of a request that are still open in a round fail."""

    @abstractmethod
    def _end(self, round_: RoundT) -> None:
        """The round is over."""
