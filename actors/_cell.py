"""The cell of an actor: what survives its restarts.

It owns the path, the mailbox, the counters, the reference, the watchers and the state of life; an
`Incarnation` owns what a crash must wipe out. Mail queued for a crashed actor waits in the cell for
the next incarnation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs

from actors._active import ACTIVE
from actors._behaviour import ChildSpec
from actors._dead_letters import DeadLetter, DeadReason
from actors._envelope import Envelope, FromIncarnation, Order, Tick
from actors._errors import ActorStopped, AskRefused, MailboxFull
from actors._hooks import CrashReport
from actors._incarnation import Incarnation
from actors._lifecycle import State, Step, advance
from actors._mailbox import Mailbox, Overflow
from actors._ref import Ref
from actors.introspection import ActorTree, actor_tree

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable

    import trio

    from actors._reply import Reply
    from actors._restart import Restart
    from actors._system import ActorSystem
    from actors._trace import TraceLog

FLIGHT_RECORDS: Final = 50  # the records of its own that a crash report carries


@attrs.frozen
class _Watcher:
    cell: Cell
    incarnation: int
    message: object
    cause: int
    chain: int


class Cell:
    """One actor, from the making of the system (or `start_child`) to its end."""

    __slots__ = (
        "_current", "_rng", "_slow_s", "_stop_early", "_system", "_trace", "_watchers", "_weigh",
        "crashes", "dead", "dropped", "gate", "handled", "incarnation", "last_error",
        "late_replies", "mailbox", "number", "path", "ref", "refused", "restarts", "spec", "state",
        "took_max_s", "took_total_s", "waited_max_s", "waited_total_s", "waiting_on",
    )  # fmt: skip

    def __init__(self, system: ActorSystem, spec: ChildSpec, path: str, number: int) -> None:
        self._system = system
        self._trace: TraceLog = system.trace
        self._weigh = spec.mailbox.weigh
        self._current: Incarnation | None = None
        self._watchers: list[_Watcher] = []
        self._rng: random.Random | None = None
        self._stop_early = False
        self._slow_s = system.slow_handler_s
        self.spec = spec
        self.path = path
        self.number = number
        self.ref: Ref[Any] = Ref(self, path)
        self.mailbox = Mailbox(spec.mailbox)
        self.state = State.NEW
        self.incarnation = 0
        self.gate: trio.Event | None = None
        self.waiting_on: list[Cell] = []
        self.last_error: BaseException | None = None
        self.handled = self.refused = self.dropped = self.dead = self.late_replies = 0
        self.crashes = self.restarts = 0
        self.waited_total_s = self.waited_max_s = self.took_total_s = self.took_max_s = 0.0

    # Posting: called by anybody, never waits.

    def post(self, message: object, cause: int, chain: int, reply: Reply[Any] | None) -> bool:
        """Put a message on the user lane; False if it was not accepted."""
        trace = self._trace
        now = trace.clock()
        message_id = trace.new_id()
        weight = 0 if self._weigh is None else self._weigh(message)
        envelope = (message, message_id, cause, chain, now, reply, weight)
        type_name = type(message).__name__
        if reply is not None:
            reply.message_id, reply.chain, reply.type_name = message_id, chain, type_name
        mailbox = self.mailbox
        if not mailbox.put(envelope):
            return self._not_accepted(envelope)
        trace.append((
            trace.next_seq(), now, "send", self.path, self.incarnation, message_id, cause, chain,
            type_name, mailbox.length, 0.0, 0.0, "", weight,
        ))  # fmt: skip
        return True

    def hand_over(self, message: object, cause: int, chain: int) -> bool:
        """As `post`, but an idle actor whose handlers never wait handles the message right here."""
        living = self._current
        if living is None or self.state is not State.RUNNING or not living.can_take_over:
            return self.post(message, cause, chain, None)
        weight = 0 if self._weigh is None else self._weigh(message)
        envelope = (message, self.new_id(), cause, chain, self.now(), None, weight)
        self.record("send", envelope)
        living.handle_now(envelope)
        return True

    def try_post(self, message: object, cause: int, chain: int) -> bool:
        """As `post`, but leave a message for a full mailbox with the sender, uncounted."""
        weight = 0 if self._weigh is None else self._weigh(message)
        envelope = (message, self.new_id(), cause, chain, self.now(), None, weight)
        if not self.mailbox.put(envelope):
            return False
        self.record("send", envelope)
        return True

    def post_control(self, message: object, cause: int, chain: int) -> bool:
        """Put a message on the control lane; False if the actor has ended."""
        envelope = (message, self.new_id(), cause, chain, self.now(), None, 0)
        if self.mailbox.closed:
            return self._not_accepted(envelope)
        self.mailbox.put_control(envelope)
        self.record("send", envelope)
        return True

    def post_own(self, incarnation: int, message: object, cause: int, chain: int) -> bool:
        """Put what an incarnation arranged for itself on the control lane."""
        envelope = (message, self.new_id(), cause, chain, self.now(), None, 0)
        if self.mailbox.closed:
            return False  # it was for an actor that is no more: as void as after a restart
        self.mailbox.put_control(FromIncarnation(incarnation, envelope))
        self.record("send", envelope)
        return True

    def post_tick(self, key: Hashable, generation: int, message: object, cause: int) -> None:
        """Put the message of a timer that has fired on the control lane."""
        envelope = (message, self.new_id(), cause, 0, self.now(), None, 0)
        self.mailbox.put_control(Tick(key, generation, envelope))
        self.record("timer", envelope)

    def _not_accepted(self, envelope: Envelope) -> bool:
        if self.mailbox.closed:
            self.bury(envelope, DeadReason.ENDED)
            return False
        overflow = self.spec.mailbox.overflow
        if overflow is Overflow.DROP_OLD:
            for old in self.mailbox.put_newest(envelope):
                self._overflow(old, "drop_old")
            self.record("send", envelope)
            return True
        self._overflow(envelope, overflow.value)
        return False

    def _overflow(self, envelope: Envelope, outcome: str) -> None:
        if outcome == "reject":
            self.refused += 1
        else:
            self.dropped += 1
        self.record("drop", envelope, outcome=outcome)
        if (reply := envelope[5]) is not None:
            full = MailboxFull(f"the mailbox of {self.path} is full ({self.mailbox.length})")
            reply.end(AskRefused(self.path, full), "refused")

    # Records.

    def now(self) -> float:
        """Seconds on the trio clock."""
        return self._trace.clock()

    def new_id(self) -> int:
        """The next message id."""
        return self._trace.new_id()

    def record(
        self,
        kind: str,
        envelope: Envelope,
        *,
        waited: float = 0.0,
        took: float = 0.0,
        outcome: str = "",
    ) -> None:
        """Trace something that happened to a message of this actor."""
        message, message_id, cause, chain, _, _, weight = envelope
        trace = self._trace
        trace.append((
            trace.next_seq(), trace.clock(), kind, self.path, self.incarnation, message_id, cause,
            chain, type(message).__name__, self.mailbox.length, waited, took, outcome, weight,
        ))  # fmt: skip

    def note(
        self,
        kind: str,
        *,
        type_name: str = "",
        message_id: int = 0,
        cause: int = 0,
        chain: int = 0,
        waited: float = 0.0,
        took: float = 0.0,
        outcome: str = "",
    ) -> None:
        """Trace something that happened to this actor, or to an ask of it."""
        trace = self._trace
        trace.append((
            trace.next_seq(), trace.clock(), kind, self.path, self.incarnation, message_id, cause,
            chain, type_name, self.mailbox.length, waited, took, outcome, 0,
        ))  # fmt: skip

    def count(self, waited_s: float, took_s: float, type_name: str) -> None:
        """Add a handled message to the statistics."""
        self.handled += 1
        self.waited_total_s += waited_s
        self.took_total_s += took_s
        if waited_s > self.waited_max_s:  # noqa: PLR1730  # max() costs three times as much here
            self.waited_max_s = waited_s
        if took_s > self.took_max_s:  # noqa: PLR1730  # as above
            self.took_max_s = took_s
        if took_s > self._slow_s:
            self._system.tell_slow(self.path, type_name, took_s)

    def note_ask(self, kind: str, reply: Reply[Any], outcome: str, waited: float) -> None:
        """Trace the end of an ask."""
        self.note(
            kind,
            type_name=reply.type_name,
            message_id=reply.message_id,
            chain=reply.chain,
            waited=waited,
            outcome=outcome,
        )

    def bury(
        self, envelope: Envelope, reason: DeadReason, error: BaseException | None = None
    ) -> None:
        """Make a dead letter of a message, and end its ask if nobody has."""
        message, message_id, _, chain, _, reply, _ = envelope
        self.dead += 1
        self.record("dead", envelope, outcome=reason.value)
        self._system.dead_letters.add(
            DeadLetter(self.now(), self.path, message, message_id, chain, reason, error)
        )
        if reply is not None and reply.open:
            if error is None:
                reply.end(ActorStopped(self.path), "stopped")
            else:
                reply.fail(error)

    # Life: driven by the supervisor.

    @property
    def system(self) -> ActorSystem:
        """The system it belongs to."""
        return self._system

    @property
    def restart(self) -> Restart:
        """Which of its exits are followed by a restart."""
        return self.spec.restart

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.spec.name

    @property
    def current(self) -> Incarnation | None:
        """The incarnation that lives now."""
        return self._current

    @property
    def rng(self) -> random.Random:
        """Its stream of randomness, named by its path; made when first used (2.5 kB)."""
        if self._rng is None:
            self._rng = self._system.stream(self.path)
        return self._rng

    async def incarnate(self, on_ready: Callable[[], None]) -> Exception | None:
        """Live one incarnation; return what ended it if it crashed."""
        self.step(Step.LAUNCH)
        self.incarnation += 1
        self._current = incarnation = Incarnation(self)
        if self._stop_early:
            incarnation.request_stop()
        try:
            await incarnation.run(on_ready)
        finally:
            self._current = None
            self._stop_early = False
            self.waiting_on.clear()
            self.step(Step.EXIT)
        return incarnation.failure

    def step(self, step: Step) -> None:
        """Move on in the life cycle."""
        self.state = advance(self.state, step)

    def request_stop(self, *, final: bool) -> None:  # noqa: ARG002  # groups need to know
        """Begin the ordered stop of the living incarnation, if there is one."""
        self.resume()
        if self._current is None:
            self._stop_early = True  # launched, but its task has not run yet
        else:
            self._current.request_stop()

    def crashed(self, error: Exception) -> None:
        """Count, trace and tell of the crash of the living incarnation."""
        self.crashes += 1
        self.last_error = error
        envelope = ACTIVE.get().in_hand  # for a helper, the message that it was started for
        outcome = type(error).__name__
        if envelope is None:
            self.note("fail", outcome=outcome)
        else:
            self.record("fail", envelope, outcome=outcome)
        if self._system.on_crash:
            self._system.on_crash(
                CrashReport(
                    path=self.path,
                    incarnation=self.incarnation,
                    error=error,
                    message_type="" if envelope is None else type(envelope[0]).__name__,
                    chain=0 if envelope is None else envelope[3],
                    records=tuple(self._trace.last_of(self.path, FLIGHT_RECORDS)),
                )
            )

    def forget_taken(self, reply: Reply[Any]) -> None:
        """A slot that an incarnation kept has been settled or abandoned."""
        if self._current is not None:
            self._current.forget_taken(reply)

    def restarting(self, delay_s: float) -> None:
        """Count and trace that another incarnation follows."""
        self.restarts += 1
        self.note("restart", waited=delay_s)

    def close(self) -> None:
        """End for good: bury the mail that waits, tell the watchers, free the name."""
        if self.state is State.ENDED:
            return
        self.step(Step.END)
        for item in self.mailbox.close():
            if isinstance(item, tuple):
                self.bury(item, DeadReason.QUEUED)
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            self._tell_watcher(watcher)
        self._system.forget(self)

    # Watching and suspending.

    def watch(self, by: Cell, message: object, cause: int, chain: int) -> None:
        """Tell a cell, by its living incarnation, when this one has ended; at once if it has."""
        watcher = _Watcher(by, by.incarnation, message, cause, chain)
        if self.state is State.ENDED:
            self._tell_watcher(watcher)
        else:
            self._watchers.append(watcher)

    def unwatch(self, by: Cell) -> None:
        """Forget all watches of a cell: the incarnation that set them is over."""
        self._watchers = [watcher for watcher in self._watchers if watcher.cell is not by]

    def _tell_watcher(self, watcher: _Watcher) -> None:
        by = watcher.cell
        self.note("watch", outcome=by.path, cause=watcher.cause, chain=watcher.chain)
        by.post_own(watcher.incarnation, watcher.message, watcher.cause, watcher.chain)
        if by.current is not None:
            by.current.forget_watched(self)

    def suspend(self) -> None:
        """Handle no more mail, after the message in hand, until resumed or stopped."""
        if self.gate is None:
            self.gate = self._system.new_gate()
            self.mailbox.put_control(Order.SUSPEND)

    def resume(self) -> None:
        """Handle mail again."""
        if self.gate is not None:
            self.gate.set()
            self.gate = None

    def introspect(self) -> ActorTree:
        """Its statistics and those of its children."""
        return actor_tree(self)
