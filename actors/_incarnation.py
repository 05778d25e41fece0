"""One incarnation of an actor: its behaviour, its task, its helpers, its children.

The actor's task waits for mail, drains up to `BATCH` messages without waiting, lets the behaviour
settle, and yields: an unbounded drain would starve every other task. Whatever ends the incarnation
is recorded as data; no exception of an actor ever reaches the nursery of its supervisor.

It runs shielded, so that only its own supervisor can end it: by asking for an ordered stop, with a
grace after which it is cancelled. A cancel from outside makes the supervisors stop in order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import attrs
import trio

from actors._active import ACTIVE, NOBODY, Detached
from actors._behaviour import Behaviour, ChildSpec, SupervisorSpec
from actors._context import Context
from actors._dead_letters import DeadReason
from actors._envelope import ControlItem, Envelope, FromIncarnation, Order, Tick
from actors._errors import NoReply, StartFailed
from actors._lifecycle import Step

if TYPE_CHECKING:
    from actors._cell import Cell
    from actors._ref import Ref
    from actors._reply import Reply
    from actors._supervisor import Supervisor

T = TypeVar("T")

BATCH: Final = 64


@attrs.frozen
class Outcome(Generic[T]):
    """What became of a helper task: a value, or the error that it raised."""

    value: T | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def unwrap(self) -> T:
        """The value; raises the error if there is none."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error it is a T


class Incarnation:
    """What a crash wipes out."""

    __slots__ = (
        "_behaviour", "_cell", "_context", "_group", "_nursery", "_scope", "_taken", "_watched",
        "failure", "helpers", "in_hand", "stopping",
    )  # fmt: skip

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._behaviour: Behaviour[Any]
        self._nursery: trio.Nursery
        self._context: Context[Any] = Context(cell, self)
        self._group: Supervisor | None = None
        self._scope = trio.CancelScope(shield=True)
        self._taken: dict[int, Reply[Any]] = {}
        self._watched: dict[Cell, None] = {}  # in order, unlike a set
        self.in_hand: Envelope | None = None
        self.failure: Exception | None = None
        self.stopping = False
        self.helpers = 0

    @property
    def blocks(self) -> Cell:
        """Code of this task keeps its actor from doing anything else."""
        return self._cell

    @property
    def group(self) -> Supervisor | None:
        """The supervisor of the children started so far, if any."""
        return self._group

    # From beginning to end.

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Live. Never raises an Exception; `failure` says what went wrong, if anything did."""
        ACTIVE.set(self)
        with self._scope:
            async with trio.open_nursery() as self._nursery:
                try:
                    await self._live(on_ready)
                except Exception as error:  # noqa: BLE001  # turned into data, for the supervisor
                    self.crash(error)
                except BaseException:
                    self._lose_in_hand(DeadReason.CANCELLED)
                    raise
                finally:
                    self._nursery.cancel_scope.cancel("the incarnation of its actor is over")
        self._end()

    async def _live(self, on_ready: Callable[[], None]) -> None:
        cell = self._cell
        if self.stopping:
            return  # the stop came before the task had run
        began = cell.now()
        self._behaviour = cell.spec.factory()
        try:
            with trio.fail_after(cell.spec.start_timeout_s):
                await self._behaviour.started(self._context)
        except trio.TooSlowError as error:
            limit_s = cell.spec.start_timeout_s
            raise StartFailed(f"{cell.path} was not ready within {limit_s} s") from error
        cell.step(Step.READY)
        cell.note("start", took=cell.now() - began)
        on_ready()
        await self._serve()
        await self._stop_children()
        await self._behaviour.stopping(self._context)

    def _end(self) -> None:
        cell = self._cell
        if self.failure is not None:
            outcome = type(self.failure).__name__
        else:
            outcome = "killed" if self._scope.cancelled_caught else "normal"
        cell.system.timers.cancel_all(cell.number)
        for watched in self._watched:
            watched.unwatch(cell)
        self._end_taken()
        cell.note("stop", outcome=outcome)

    def crash(self, error: Exception) -> None:
        """End the incarnation with an error: of a handler, a helper or the group of children."""
        if self.failure is None:
            self.failure = error
            self._cell.crashed(error)
            self._nursery.cancel_scope.cancel(f"{self._cell.path} crashed")
        if ACTIVE.get() is self:
            self._lose_in_hand(DeadReason.CRASHED)
        self._end_taken()

    def _lose_in_hand(self, reason: DeadReason) -> None:
        envelope, self.in_hand = self.in_hand, None
        if envelope is not None:
            self._cell.bury(envelope, reason, self.failure)

    def _end_taken(self) -> None:
        """No asker learns of the end of this incarnation by its own deadline."""
        taken, self._taken = self._taken, {}
        for reply in taken.values():
            if self.failure is None:
                reply.stop()
            else:
                reply.fail(self.failure)

    # The ordered stop.

    def request_stop(self) -> None:
        """Stop after the message in hand; be cancelled when the grace is over."""
        if self.stopping:
            return
        self.stopping = True
        self._cell.step(Step.STOP)
        self._set_grace()
        self._cell.mailbox.put_control(Order.STOP)

    def _set_grace(self) -> None:
        system = self._cell.system
        grace_ends = self._cell.now() + self._cell.spec.grace_s
        self._scope.deadline = min(grace_ends, system.stop_deadline)

    def hurry(self, deadline: float) -> None:
        """Let a grace that has begun end by this time."""
        if self.stopping:
            self._scope.deadline = min(self._scope.deadline, deadline)

    async def _stop_children(self) -> None:
        """Each child has a grace of its own, so that of the parent starts when they are done."""
        if self._group is not None:
            self._scope.deadline = self._cell.system.stop_deadline
            await self._group.shut_down()
            self._set_grace()

    # The loop.

    async def _serve(self) -> None:
        cell = self._cell
        settled = self._behaviour.settled
        # An override costs a call per batch; the default costs nothing.
        settles = type(self._behaviour).settled is not Behaviour.settled
        while not self.stopping:
            if cell.gate is not None:
                await cell.gate.wait()
                continue
            await cell.mailbox.wait()
            await self._drain()
            if settles:
                waiting = settled(self._context)
                if waiting is not None:
                    await waiting

    async def _drain(self) -> None:
        """Handle what waits, up to the budget: the hottest loop, so all is fetched once."""
        cell, context, count = self._cell, self._context, self._cell.count
        mailbox, trace = cell.mailbox, cell.system.trace
        take, receive = mailbox.take, self._behaviour.receive
        append, next_seq, clock = trace.append, trace.next_seq, trace.clock
        path, number = cell.path, cell.incarnation
        began = clock()
        for _ in range(BATCH):
            item = take()
            if type(item) is not tuple:
                if item is None:
                    break
                item = self._judge(item)  # what is inside, if it still counts
                if item is None:
                    if self.stopping or cell.gate is not None:
                        break
                    continue
            message, message_id, cause, chain, sent_at, reply, weight = item
            if reply is not None and self._expired(item, reply, began):
                continue
            type_name = type(message).__name__
            waited = began - sent_at
            append((
                next_seq(), began, "deliver", path, number, message_id, cause, chain, type_name,
                mailbox.length, waited, 0.0, "", weight,
            ))  # fmt: skip
            self.in_hand = item
            waiting = receive(context, message)
            if waiting is not None:
                await waiting
            if reply is not None and reply.open and not reply.taken:
                raise NoReply(f"{path} returned from {type_name} without an answer")
            self.in_hand = None
            now = clock()
            append((
                next_seq(), now, "handle", path, number, message_id, cause, chain, type_name,
                mailbox.length, 0.0, now - began, "", weight,
            ))  # fmt: skip
            count(waited, now - began, type_name)
            began = now

    @property
    def can_take_over(self) -> bool:
        """Whether `handle_now` may be used: idle, and with handlers that never wait."""
        return (
            self._behaviour.never_waits
            and self._cell.mailbox.idle
            and self.in_hand is None
            and not self.stopping
            and self.failure is None
            and self._cell.gate is None
        )

    def handle_now(self, envelope: Envelope) -> None:
        """Handle one message as `_drain` would, in the task of the caller."""
        cell = self._cell
        message, message_id, cause, chain, sent_at, _, weight = envelope
        append, next_seq = cell.system.trace.append, cell.system.trace.next_seq
        type_name = type(message).__name__
        append((
            next_seq(), sent_at, "deliver", cell.path, cell.incarnation, message_id, cause, chain,
            type_name, 0, 0.0, 0.0, "", weight,
        ))  # fmt: skip
        token = ACTIVE.set(self)
        self.in_hand = envelope
        try:
            waiting = self._behaviour.receive(self._context, message)
            self.in_hand = None
            waiting = waiting or self._behaviour.settled(self._context)
            assert waiting is None, f"{cell.path} promised never to wait"
        except Exception as error:  # noqa: BLE001  # turned into data, as in `run`
            self.crash(error)
            return
        finally:
            ACTIVE.reset(token)
        now = cell.now()
        append((
            next_seq(), now, "handle", cell.path, cell.incarnation, message_id, cause, chain,
            type_name, 0, 0.0, now - sent_at, "", weight,
        ))  # fmt: skip
        cell.count(0.0, now - sent_at, type_name)

    def _judge(self, item: ControlItem) -> Envelope | None:
        """The message inside a control event, unless the actor has moved on since."""
        cell = self._cell
        if isinstance(item, Tick):
            valid = cell.system.timers.claim(cell.number, item.key, item.generation)
            return item.envelope if valid else None
        if isinstance(item, FromIncarnation):
            return item.envelope if item.incarnation == cell.incarnation else None
        return None  # an order is only there to wake the loop, which looks at the flags

    def _expired(self, envelope: Envelope, reply: Reply[Any], now: float) -> bool:
        """Drop an ask unhandled if its asker has given up, or is about to."""
        if reply.open and reply.deadline > now:
            return False
        self._cell.record("drop", envelope, outcome="expired", waited=now - envelope[4])
        return True

    # What a handler can do; `Context` is the face of these.

    def take(self, reply: Reply[Any]) -> None:
        """Keep a reply slot beyond the handler."""
        reply.taken = True
        self._taken[reply.message_id] = reply

    def forget_taken(self, reply: Reply[Any]) -> None:
        """A kept slot has been settled or abandoned."""
        self._taken.pop(reply.message_id, None)

    def watch(self, target: Cell, message: object) -> None:
        """Have this incarnation told of the end of another actor."""
        cause, chain = origin()
        self._watched[target] = None
        target.watch(self._cell, message, cause, chain)

    def forget_watched(self, target: Cell) -> None:
        """A watched actor has ended."""
        self._watched.pop(target, None)

    def start_task(
        self,
        fn: Callable[..., Awaitable[T]],
        args: tuple[Any, ...],
        then: Callable[[Outcome[T]], Any] | None,
        name: str,
    ) -> None:
        """Run a helper beside the actor, until the end of the incarnation at most."""
        self.helpers += 1
        origin_of_helper = Detached(ACTIVE.get().in_hand)
        self._nursery.start_soon(
            self._help, origin_of_helper, fn, args, then, name=f"{self._cell.path}#{name}"
        )

    async def _help(
        self,
        active: Detached,
        fn: Callable[..., Awaitable[T]],
        args: tuple[Any, ...],
        then: Callable[[Outcome[T]], Any] | None,
    ) -> None:
        ACTIVE.set(active)
        try:
            outcome = await _outcome(fn, args)
            if then is not None:
                cause, chain = origin()
                self._cell.post_own(self._cell.incarnation, then(outcome), cause, chain)
            elif outcome.error is not None:
                self.crash(outcome.error)
        except Exception as error:  # noqa: BLE001  # `then` raised: the actor's code, its crash
            self.crash(error)
        finally:
            self.helpers -= 1

    def start_child(self, spec: ChildSpec) -> Ref[Any]:
        """Make a child in the group of this actor; it starts soon, mail waits for it."""
        system = self._cell.system
        if self._group is None:
            limits = self._behaviour.child_limits
            group = SupervisorSpec(
                "", (), intensity=limits.intensity, period_s=limits.period_s,
                backoff=limits.backoff,
            )  # fmt: skip
            self._group = system.make_group(group, self._cell.path, final=True)
            self._nursery.start_soon(self._run_group, self._group, name=f"{self._cell.path}/*")
        child = system.make_cell(spec, self._cell.path)
        self._group.add_now(child)
        return child.ref

    async def _run_group(self, group: Supervisor) -> None:
        ACTIVE.set(NOBODY)
        failure = await group.incarnate(lambda: None)
        if failure is not None:
            self.crash(failure)


async def _outcome(fn: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> Outcome[T]:
    try:
        return Outcome(value=await fn(*args))
    except Exception as error:  # noqa: BLE001  # handed on as a value
        return Outcome(error=error)


def origin() -> tuple[int, int]:
    """Message id and chain of the message that the running code works on; zeros without one."""
    envelope = ACTIVE.get().in_hand
    return (0, 0) if envelope is None else (envelope[1], envelope[3])
