"""The ring keeper: owns the ring state and publishes immutable views of it.

A shell around `core.ring_state`: members that introduce themselves, frames that name another ring,
and rings that peers send come in; a new view goes out to everyone who routes by it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from actors import Behaviour, Context, Ref
from cluster.core.membership import MemberEntry
from cluster.core.metrics import Registry
from cluster.core.ring import RingMember, RingOutline, RingView
from cluster.core.ring_state import RingOutput, RingState
from cluster.core.values import CoreError
from cluster.services.local import (
    Bound,
    FrameObserved,
    GetRing,
    MemberMet,
    RingAsked,
    RingChanged,
    RingHeard,
    RingStatus,
    SendTo,
    TellAgain,
)
from cluster.wire.messages import RingRequest
from cluster.wire.messages import RingState as RingStateMessage

__all__ = ["RingKeeper"]


class RingKeeper(Behaviour[Any]):
    """The actor; see the module."""

    def __init__(
        self,
        make_state: Callable[[str], RingState],
        registry: Registry,
        *,
        expected: int,
        subscribers: Callable[[], Sequence[Ref[Any]]],
        peers: Callable[[], Ref[Any]],
        sources: Callable[[], Sequence[Ref[Any]]],
        log: Callable[[str, str], None],
    ) -> None:
        """Prepare.

        Args:
            make_state: makes the core of the address that this node can be dialled at.
            registry: where the epoch and conflicts are shown.
            expected: members to wait for before founding; 0: never found.
            subscribers: who is told `RingChanged`.
            peers: by whom messages reach other nodes.
            sources: who is asked at every start: where this node listens, and for the ring.
            log: takes a level and a line for people.
        """
        self._make_state: Final = make_state
        self._expected: Final = expected
        self._subscribers: Final = subscribers
        self._peers: Final = peers
        self._sources: Final = sources
        self._log: Final = log
        self._epoch: Final = registry.gauge(
            "hypercache_dist_ring_epoch", "Epoch of the ring in force; 0: none."
        ).labels()
        self._conflicts: Final = registry.counter(
            "hypercache_dist_ring_conflicts_total", "Rings heard of that contradict the own one."
        ).labels()
        self._refused: Final = registry.counter(
            "hypercache_dist_rings_refused_total", "Rings heard of that were malformed."
        ).labels()
        self._state: RingState | None = None
        self._conflict = ""
        self._met = 1

    async def started(self, ctx: Context[Any]) -> None:
        """Ask for what was published before."""
        self._ask_sources(ctx)

    def _ask_sources(self, ctx: Context[Any]) -> None:
        for source in self._sources():
            source.tell_control(TellAgain(ctx.ref), cause=ctx.message_id)

    def receive(self, ctx: Context[Any], message: Any) -> None:
        """Let the core decide, publish what it says."""
        state = self._state
        if isinstance(message, Bound):
            if state is None:
                self._state = state = self._make_state(message.address)
                self._do(ctx, state.start(), "")
                # A ring that was told before this could not be judged yet.
                self._ask_sources(ctx)
        elif isinstance(message, TellAgain):
            if state is not None and state.view is not None:
                message.to.tell_control(RingChanged(state.view), cause=ctx.message_id)
        elif isinstance(message, GetRing):
            view = None if state is None else state.view
            ctx.reply(RingStatus(view, self._expected, self._met, self._conflict))
        elif state is not None:
            self._on_event(ctx, state, message)

    def _on_event(self, ctx: Context[Any], state: RingState, message: Any) -> None:
        if isinstance(message, MemberMet):
            self._on_met(ctx, state, message.entry, message)
        elif isinstance(message, FrameObserved):
            heard = state.hear(message.sender, message.epoch, message.digest)
            self._do(ctx, heard, message.sender)
        elif isinstance(message, RingHeard):
            try:
                learned = state.learn(message.sender, RingOutline.from_wire(message.view))
            except CoreError as error:
                self._refused.value += 1
                self._log("warning", f"{message.sender} sent a ring that is none: {error}")
                return
            self._do(ctx, learned, message.sender)
        elif isinstance(message, RingAsked):
            self._do(ctx, RingOutput(tell=True), message.sender)

    def _on_met(
        self, ctx: Context[Any], state: RingState, entry: MemberEntry, message: MemberMet
    ) -> None:
        try:
            member = RingMember(entry.id, entry.address, entry.weight, entry.zone)
        except CoreError as error:
            self._refused.value += 1
            self._log("warning", f"a member introduced itself wrongly: {error}")
            return
        self._do(ctx, state.meet(member, message.epoch, message.digest), entry.id)
        self._met = state.met

    def _do(self, ctx: Context[Any], output: RingOutput, other: str) -> None:
        if output.changed is not None:
            self._publish(ctx, output.changed)
        if output.conflict is not None:
            self._conflicts.value += 1
            if output.conflict != self._conflict:
                self._conflict = output.conflict
                self._log("error", output.conflict)
        if output.ask:
            ctx.tell(self._peers(), SendTo(other, RingRequest()))
        if output.tell and self._state is not None and self._state.view is not None:
            view = list(self._state.view.as_wire())
            ctx.tell(self._peers(), SendTo(other, RingStateMessage(view)))

    def _publish(self, ctx: Context[Any], view: RingView) -> None:
        self._epoch.set(view.epoch)
        members = ", ".join(member.id for member in view.members)
        self._log("info", f"ring of epoch {view.epoch}, digest {view.digest:016x}: {members}")
        for subscriber in self._subscribers():
            subscriber.tell_control(RingChanged(view), cause=ctx.message_id)
