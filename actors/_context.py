"""What an actor can do besides handling a message: the face of its incarnation.

A context belongs to one incarnation. What is sent through it carries the cause (the message being
handled) and the chain (the client request) on; in a helper task these are the ones of the message
in whose handling the helper was started.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from actors._active import ACTIVE
from actors._errors import NotAnAsk
from actors._ref import ASK_TIMEOUT_S, Ref
from actors._reply import Reply, Request

if TYPE_CHECKING:
    from actors._behaviour import ChildSpec
    from actors._cell import Cell
    from actors._incarnation import Incarnation, Outcome
    from actors._system import ActorSystem

M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")


class Context(Generic[M]):
    """The world of one incarnation of an actor.

    Attributes:
        path: The actor's path.
        ref: Its reference.
        incarnation: Its number, from 1.
    """

    __slots__ = ("_cell", "_incarnation", "incarnation", "path", "ref")

    def __init__(self, cell: Cell, incarnation: Incarnation) -> None:
        self._cell = cell
        self._incarnation = incarnation
        self.path = cell.path
        self.ref: Ref[M] = cell.ref
        self.incarnation = cell.incarnation

    @property
    def system(self) -> ActorSystem:
        """The system this actor lives in."""
        return self._cell.system

    @property
    def rng(self) -> random.Random:
        """This actor's own stream of randomness, named by its path; it goes on over restarts."""
        return self._cell.rng

    @property
    def message_id(self) -> int:
        """The id of the message being handled; 0 if there is none."""
        envelope = ACTIVE.get().in_hand
        return 0 if envelope is None else envelope[1]

    @property
    def chain(self) -> int:
        """The chain of the message being handled; 0 if it has none."""
        envelope = ACTIVE.get().in_hand
        return 0 if envelope is None else envelope[3]

    def now(self) -> float:
        """Seconds on the trio clock."""
        return self._cell.now()

    # Sending.

    def tell(self, ref: Ref[T], message: T, *, chain: int | None = None) -> bool:
        """`Ref.tell` with the cause, and the chain unless one is given."""
        envelope = ACTIVE.get().in_hand
        if envelope is None:
            return ref.tell(message, chain=chain or 0)
        return ref.tell(message, cause=envelope[1], chain=envelope[3] if chain is None else chain)

    async def ask(
        self, ref: Ref[Any], request: Request[R], *, timeout_s: float = ASK_TIMEOUT_S
    ) -> R:
        """`Ref.ask` with cause and chain, ending no later than the ask being handled."""
        envelope = ACTIVE.get().in_hand
        if envelope is None:
            return await ref.ask(request, timeout_s=timeout_s)
        outer = envelope[5]
        if outer is not None:
            timeout_s = min(timeout_s, outer.deadline - self._cell.now())
        return await ref.ask(request, timeout_s=timeout_s, cause=envelope[1], chain=envelope[3])

    # Answering.

    def reply(self, value: object) -> None:
        """Answer the ask being handled.

        Raises:
            NotAnAsk: If there is none, or it was answered.
        """
        self._slot().send(value)

    def fail(self, error: BaseException) -> None:
        """Answer the ask being handled with a failure. Raises as `reply` does."""
        self._slot().fail(error)

    def take_reply(self) -> Reply[Any]:
        """Take the slot of the ask being handled, to answer it later. Raises as `reply` does.

        If the incarnation ends before that, the ask ends with it.
        """
        slot = self._slot()
        self._incarnation.take(slot)
        return slot

    def _slot(self) -> Reply[Any]:
        incarnation = self._incarnation
        envelope = incarnation.in_hand
        # A helper runs beside whatever message the actor has in hand by now.
        slot = None if envelope is None or ACTIVE.get() is not incarnation else envelope[5]
        if slot is None or slot.taken or slot.answered:
            raise NotAnAsk(f"{self.path} handles no ask that waits for an answer")
        return slot

    # Timers, helpers, watches.

    def set_timer(self, key: Hashable, delay_s: float, message: M) -> None:
        """Have a message delivered on the control lane after a delay.

        Setting a key again replaces its timer, even one whose message is already on its way.
        Timers end with the incarnation.
        """
        due = self._cell.now() + max(0.0, delay_s)
        self._cell.system.timers.set(self._cell, key, due, (message, self.message_id))

    def cancel_timer(self, key: Hashable) -> None:
        """Drop the timer of a key, even if its message is already on its way."""
        self._cell.system.timers.cancel(self._cell.number, key)

    def start_task(
        self,
        fn: Callable[..., Awaitable[T]],
        *args: object,
        then: Callable[[Outcome[T]], M] | None = None,
        name: str | None = None,
    ) -> None:
        """Run `fn(*args)` beside the actor.

        Its outcome comes back as the message `then(outcome)`, on the control lane, unless the
        actor has been restarted. It is cancelled when the incarnation ends. Without `then` an
        exception crashes the actor.
        """
        label = name or str(getattr(fn, "__name__", "helper"))
        self._incarnation.start_task(fn, args, then, label)

    def watch(self, ref: Ref[Any], message: M) -> None:
        """Have a message delivered once the other actor has ended; at once if it has already.

        A restart is no end.
        """
        self._incarnation.watch(ref._cell, message)  # noqa: SLF001  # one package

    # Children and life.

    def start_child(self, spec: ChildSpec) -> Ref[Any]:
        """Start a child of this actor, in a one_for_one group with `Behaviour.child_limits`.

        It is restarted by its spec, and stopped before this actor stops or restarts.

        Raises:
            NameTaken: If a child of this name has not ended yet.
        """
        return self._incarnation.start_child(spec)

    async def stop_child(self, ref: Ref[Any]) -> None:
        """Stop a child for good and wait until it has ended and its name is free."""
        group = self._incarnation.group
        if group is not None:
            await group.retire(ref._cell)  # noqa: SLF001  # one package

    def stop(self) -> None:
        """Stop this actor after the message in hand."""
        if self._cell.current is self._incarnation:
            self._cell.request_stop(final=False)

    def lookup(self, path: str) -> Ref[Any]:
        """The actor with an absolute path, or with one relative to the siblings of this actor.

        Raises:
            NoSuchActor: If there is none.
        """
        return self._cell.system.find(path, beside=self.path)

    # Tracing.

    def notes(
        self,
        type: str,  # noqa: A002  # the name of the field
        chains: Iterable[int],
        *,
        message_id: int | None = 0,
        cause: int = 0,
        outcome: str = "",
        bytes: int = 0,  # noqa: A002  # the name of the field
    ) -> None:
        """A `note` for each chain of a batch; with `cause` 0 each is caused by its chain.

        With `message_id` None each is the begin of its chain, and has its id.

        Cheaper than as many calls: for what is noted per request on a hot path.
        """
        trace = self._cell.system.trace
        append, next_seq, now = trace.append, trace.next_seq, trace.clock()
        path, incarnation = self.path, self.incarnation
        for chain in chains:
            append((
                next_seq(), now, "note", path, incarnation,
                chain if message_id is None else message_id, cause or chain, chain,
                type, 0, 0.0, 0.0, outcome, bytes,
            ))  # fmt: skip

    def note(
        self,
        type: str,  # noqa: A002  # the name of the field
        *,
        chain: int = 0,
        message_id: int = 0,
        cause: int = 0,
        outcome: str = "",
        bytes: int = 0,  # noqa: A002  # the name of the field
        took: float = 0.0,
        actor: str | None = None,
    ) -> None:
        """Trace something that travels inside a batch and so has no envelope of its own."""
        trace = self._cell.system.trace
        trace.append((
            trace.next_seq(), trace.clock(), "note", actor or self.path, self.incarnation,
            message_id, cause, chain, type, 0, 0.0, took, outcome, bytes,
        ))  # fmt: skip
