"""The reply slot of an ask: one answer at most, and one end exactly.

A slot is open, settled or abandoned. Late and second answers are counted and traced, never
raised: the server must not crash because its client was impatient, which is what a reply channel
of size one would do. The slot is an `Event` and a value, a twentieth of the price of a channel.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from actors._errors import ActorStopped, AskError, AskFailed, AskTimeout

if TYPE_CHECKING:
    from actors._cell import Cell

R = TypeVar("R")


class Request(Generic[R]):
    """Base of messages that are asked; `R` is the type of the answer.

    It holds nothing: `ref.ask(message)` takes the type of its result from here.
    """

    __slots__ = ()


class SlotState(enum.Enum):
    """Where a reply slot is in its life."""

    OPEN = "open"
    SETTLED = "settled"
    ABANDONED = "abandoned"


class Reply(Generic[R]):
    """The answer to one ask, to be given now or kept for later (`Context.take_reply`)."""

    __slots__ = (
        "_answered", "_asked_at", "_cell", "_error", "_event", "_value",
        "chain", "deadline", "message_id", "state", "taken", "type_name",
    )  # fmt: skip

    def __init__(self, cell: Cell, deadline: float, asked_at: float) -> None:
        self._cell = cell
        self._event = trio.Event()
        self._value: R | None = None
        self._error: AskError | None = None
        self._asked_at = asked_at
        self.deadline = deadline
        """When the asker gives up, in seconds on the trio clock."""
        self.state = SlotState.OPEN
        self._answered = False
        self.taken = False
        self.message_id = 0
        self.chain = 0
        self.type_name = ""

    @property
    def open(self) -> bool:
        """Whether an answer would still reach somebody."""
        return self.state is SlotState.OPEN

    @property
    def answered(self) -> bool:
        """Whether an answer was given, whoever was still there to hear it."""
        return self._answered

    def send(self, value: R) -> bool:
        """Answer. False if nobody waits any more, or an answer was given before."""
        self._answered = True
        if self.state is not SlotState.OPEN:
            return self._late("value")
        self._value = value
        self._settle("ok")
        return True

    def fail(self, error: BaseException) -> bool:
        """Answer with a failure: the asker gets `AskFailed` with `error` as its cause."""
        return self.end(AskFailed(self._cell.path, error), "failed")

    def end(self, error: AskError, outcome: str) -> bool:
        """End the ask with an error of the runtime, raised at the asker as it is."""
        self._answered = True
        if self.state is not SlotState.OPEN:
            return self._late(outcome)
        self._error = error
        self._settle(outcome)
        return True

    def stop(self) -> bool:
        """End the ask because the actor ends."""
        return self.end(ActorStopped(self._cell.path), "stopped")

    async def wait(self) -> R:
        """Wait for the end of the ask.

        Raises:
            AskError: One of the four ends that are no value.
        """
        try:
            with trio.CancelScope(deadline=self.deadline):
                await self._event.wait()
        finally:
            if self.state is SlotState.OPEN:
                self._abandon()
        if self._error is not None:
            raise self._error
        if self.state is SlotState.ABANDONED:
            raise AskTimeout(self._cell.path, self._cell.now() - self._asked_at)
        return self._value  # type: ignore[return-value]  # settled without error: it is an R

    def _settle(self, outcome: str) -> None:
        self.state = SlotState.SETTLED
        self._event.set()
        self._finish("reply", outcome)

    def _abandon(self) -> None:
        """From here on the address is dead (Erlang's process alias)."""
        self.state = SlotState.ABANDONED
        expired = self._cell.now() >= self.deadline
        self._finish("expire", "timeout" if expired else "cancelled")

    def _finish(self, kind: str, outcome: str) -> None:
        if self.taken:
            self._cell.forget_taken(self)
        self._cell.note_ask(kind, self, outcome, self._cell.now() - self._asked_at)

    def _late(self, outcome: str) -> bool:
        self._cell.late_replies += 1
        self._cell.note_ask("late", self, outcome, self._cell.now() - self._asked_at)
        return False
