"""References: the only way to reach an actor.

`tell` never waits, so two actors with full mailboxes cannot block each other. `ask` waits for an
answer and ends in one of five ways: a value, `AskFailed`, `ActorStopped`, `AskTimeout` or
`AskCycle`. `offer` waits for room; it is for the edge to a network, where the socket carries the
pressure on, and is refused inside handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio

from actors._active import ACTIVE
from actors._errors import ActorStopped, AskCycle, OfferInHandler
from actors._reply import Reply, Request

if TYPE_CHECKING:
    from actors._cell import Cell

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")

ASK_TIMEOUT_S: Final = 5.0


class Ref(Generic[M_contra]):
    """A reference to one actor, valid through all its restarts. There is one per actor."""

    __slots__ = ("_cell", "path")

    def __init__(self, cell: Cell, path: str) -> None:
        self._cell = cell
        self.path = path

    def __repr__(self) -> str:
        return f"Ref({self.path})"

    def tell(self, message: M_contra, *, cause: int = 0, chain: int = 0) -> bool:
        """Send a message and never wait.

        False if it was not accepted: the mailbox refused it, or the actor has ended (then it is a
        dead letter).
        """
        return self._cell.post(message, cause, chain, None)

    def hand_over(self, message: M_contra, *, cause: int = 0, chain: int = 0) -> bool:
        """As `tell`; an idle actor that promises `never_waits` handles the message at once.

        It does so in the task of the caller, which saves a turn of the event loop. Everything else
        is as ever: one message at a time, in the order of sending, traced, and a crash is the
        actor's. For edges, where mail comes in from outside; inside a handler it is a `tell`.
        """
        if ACTIVE.get().blocks is not None:
            return self._cell.post(message, cause, chain, None)
        return self._cell.hand_over(message, cause, chain)

    def tell_control(self, message: M_contra, *, cause: int = 0, chain: int = 0) -> bool:
        """Send on the control lane, which overtakes all user mail and has no bound.

        For what is bounded by its nature: one notice per event of which there are few.
        """
        return self._cell.post_control(message, cause, chain)

    async def ask(
        self,
        request: Request[R],
        *,
        timeout_s: float = ASK_TIMEOUT_S,
        cause: int = 0,
        chain: int = 0,
    ) -> R:
        """Send a request and wait for its answer, no longer than any deadline around allows.

        Raises:
            AskFailed: The actor failed it, crashed on it, or refused it (`AskRefused`).
            ActorStopped: The actor has ended, or ended before it answered.
            AskTimeout: The deadline passed; the request may still be executed.
            AskCycle: The actor waits for the one that asks.
        """
        cell = self._cell
        now = cell.now()
        deadline = min(now + timeout_s, trio.current_effective_deadline())
        asker = ACTIVE.get().blocks
        reply: Reply[R] = Reply(cell, deadline, now)
        if asker is not None and waits_for(cell, asker):
            error = AskCycle(asker.path, self.path)
            reply.type_name = type(request).__name__
            reply.message_id, reply.chain = cell.new_id(), chain
            reply.end(error, "cycle")
            await trio.lowlevel.checkpoint()
            raise error
        cell.post(request, cause, chain, reply)
        if asker is None:
            return await reply.wait()
        asker.waiting_on.append(cell)
        try:
            return await reply.wait()
        finally:
            asker.waiting_on.remove(cell)

    async def offer(self, message: M_contra, *, cause: int = 0, chain: int = 0) -> None:
        """Send a message, waiting until the mailbox has room.

        Raises:
            OfferInHandler: When called by a handler.
            ActorStopped: If the actor has ended.
        """
        if ACTIVE.get().blocks is not None:
            raise OfferInHandler(f"a handler may not wait for room at {self.path}; use tell")
        await trio.lowlevel.checkpoint()
        mailbox = self._cell.mailbox
        while not self._cell.try_post(message, cause, chain):
            if mailbox.closed:
                raise ActorStopped(self.path)
            await mailbox.wait_for_room()
        mailbox.pass_room_on()


def waits_for(cell: Cell, target: Cell) -> bool:
    """Whether `cell` is `target`, or waits for it through any number of handlers.

    All actors live in one thread, so the answer is exact; the walk is a few steps, as handlers
    rarely wait.
    """
    reached = [cell]
    for hop in reached:  # grows while it is walked
        if hop is target:
            return True
        reached.extend(other for other in hop.waiting_on if other not in reached)
    return False
