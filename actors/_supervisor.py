"""A group of children: starts them in order, restarts them, stops them in reverse order.

The nursery gives parenthood for free, but neither order nor restarts: cancelling one ends its
tasks in an order that differs from run to run. So every child runs in a shielded scope in a task
that never raises, tells of its end as data, and is stopped by this supervisor alone. What follows
an exit is decided by `RestartPolicy`; here it is only carried out.

A cancel from outside, an ordered stop and an escalation all take the same way out.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from actors._active import ACTIVE, NOBODY
from actors._behaviour import SupervisorSpec
from actors._errors import RestartLimit, StartFailed
from actors._restart import GiveUp, LetGo, Restart, RestartChildren, RestartPolicy
from actors.introspection import GroupTree

if TYPE_CHECKING:
    from actors._system import ActorSystem
    from actors.introspection import Tree


class Child(Protocol):
    """A cell or a group, as its supervisor sees it."""

    path: str

    @property
    def restart(self) -> Restart:
        """Which of its exits are followed by a restart."""

    async def incarnate(self, on_ready: Callable[[], None]) -> Exception | None:
        """Live once, shielded; return the error that ended it, if one did."""

    def request_stop(self, *, final: bool) -> None:
        """Begin the ordered stop; final if there will be no other incarnation."""

    def restarting(self, delay_s: float) -> None:
        """Another incarnation will follow."""

    def close(self) -> None:
        """End for good. Called once it lives no more."""

    def introspect(self) -> Tree:
        """What it is and does now."""


@attrs.define(eq=False)
class Slot:
    """A child and what its supervisor knows of it."""

    child: Child
    run: int = 0
    """Counts the incarnations; tells a fresh exit from one that was dealt with."""
    running: bool = False
    ready: bool = False
    leaving: bool = False
    """It is being stopped for good by `retire`."""
    due: float = math.inf
    """When its next incarnation starts."""
    failure: Exception | None = None
    begun: trio.Event = attrs.field(factory=trio.Event)
    """Ready, or over before that."""
    over: trio.Event = attrs.field(factory=trio.Event)
    gone: trio.Event = attrs.field(factory=trio.Event)
    """Ended for good."""


class Supervisor:
    """One group, for as many incarnations as its own parent grants it."""

    def __init__(
        self, system: ActorSystem, spec: SupervisorSpec, path: str, *, final: bool
    ) -> None:
        self.spec = spec
        self.path = path
        self.restart = Restart.PERMANENT
        self.restarts = 0
        self.running = False
        self._system = system
        self._final = final
        self._slots: list[Slot] = []
        self._policy = RestartPolicy(
            spec.strategy, spec.intensity, spec.period_s, spec.backoff,
            system.stream(f"{path}/supervisor"),
        )  # fmt: skip
        self._exits_in, self._exits_out = trio.open_memory_channel[tuple[Slot, int]](math.inf)
        # Made before it is entered: a stop may come before the task of the group has run.
        self._serving = trio.CancelScope()
        self._nursery: trio.Nursery
        self._over = trio.Event()

    def add(self, child: Child) -> None:
        """Take in a child of the static tree: it starts with the group."""
        self._slots.append(Slot(child))

    def add_now(self, child: Child) -> None:
        """Take in a child that starts as soon as the group runs."""
        slot = Slot(child, due=-math.inf)
        self._slots.append(slot)
        self._exits_in.send_nowait((slot, -1))  # wakes the loop, which starts what is due

    # One incarnation of the group.

    async def incarnate(self, on_ready: Callable[[], None]) -> Exception | None:
        """Start all children, supervise them, stop them; return why if not asked to."""
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    with self._serving:
                        await self._start_all()
                        on_ready()
                        await self._serve()
                except (RestartLimit, StartFailed) as error:
                    failure = error
                finally:
                    self._system.stop_begins(self)
                    with trio.CancelScope(shield=True):
                        await self._stop_all()
        finally:
            self.running = False
            self._serving = trio.CancelScope()
            self._over.set()
        return failure

    async def _start_all(self) -> None:
        await trio.lowlevel.checkpoint()  # a stop that came first ends it here
        self.running = True
        for slot in tuple(self._slots):
            if slot.due == math.inf:
                await self._start(slot)
                if not slot.ready:
                    raise _start_failed(slot)

    async def _start(self, slot: Slot) -> None:
        """Start a child and wait until it is ready or has failed."""
        slot.run += 1
        slot.due = math.inf
        slot.running, slot.ready, slot.failure = True, False, None
        slot.begun, slot.over = trio.Event(), trio.Event()
        self._nursery.start_soon(self._host, slot, slot.run, name=slot.child.path)
        await slot.begun.wait()

    async def _host(self, slot: Slot, run: int) -> None:
        """The only task of a child. No exception of a child gets past it."""
        ACTIVE.set(NOBODY)

        def on_ready() -> None:
            slot.ready = True
            slot.begun.set()

        with trio.CancelScope(shield=True):
            slot.failure = await slot.child.incarnate(on_ready)
        slot.running = False
        slot.begun.set()
        slot.over.set()
        self._exits_in.send_nowait((slot, run))

    async def _serve(self) -> None:
        while True:
            item = await self._next_exit()
            if item is not None:
                await self._on_exit(*item)
            else:
                await self._start_due()

    async def _next_exit(self) -> tuple[Slot, int] | None:
        """The next exit, or None once a restart is due. Exits come first: they may change it."""
        with contextlib.suppress(trio.WouldBlock):
            return self._exits_out.receive_nowait()
        due = min((slot.due for slot in self._slots), default=math.inf)
        if due > trio.current_time():
            with trio.CancelScope(deadline=due):
                return await self._exits_out.receive()
        return None

    # Exits and restarts.

    async def _on_exit(self, slot: Slot, run: int) -> None:
        if slot.leaving:
            if slot.running:
                slot.child.request_stop(final=True)
            else:
                self._remove(slot)
            return
        if run != slot.run or slot.running:
            return  # dealt with already, or the wake-up of `add`
        now = trio.current_time()
        children = [(other.child.path, other.child.restart) for other in self._slots]
        index = self._slots.index(slot)
        failed = slot.failure is not None
        match self._policy.on_exit(index, children, failed=failed, now=now):
            case LetGo():
                self._remove(slot)
            case GiveUp(restarts):
                raise RestartLimit(
                    f"{slot.child.path} ended after {restarts} restarts of children of "
                    f"{self.path} within {self.spec.period_s} s"
                ) from slot.failure
            case RestartChildren() as decision:
                await self._plan_restart(decision, now)

    async def _plan_restart(self, decision: RestartChildren, now: float) -> None:
        """Stop the others now; the starts follow when the backoff has passed."""
        stopped = [self._slots[index] for index in decision.stop]
        again = [self._slots[index] for index in decision.start]
        for slot in stopped:
            await self._stop(slot, final=False)
        for slot in again:
            slot.due = now + decision.delay_s
            slot.child.restarting(decision.delay_s)
        for slot in stopped:
            if slot not in again:
                self._remove(slot)

    async def _start_due(self) -> None:
        now = trio.current_time()
        for slot in [slot for slot in self._slots if slot.due <= now]:
            if slot.leaving:
                self._remove(slot)
                continue
            await self._start(slot)
            if not slot.ready:
                return  # its exit is in the feed and may concern the ones after it

    def _remove(self, slot: Slot) -> None:
        """Let a child go that lives no more; its name is free from now on."""
        if slot in self._slots:
            self._slots.remove(slot)
            self._policy.forget(slot.child.path)
            slot.child.close()
            slot.gone.set()

    async def retire(self, child: Child) -> None:
        """Stop a child for good and wait until it is gone."""
        for slot in self._slots:
            if slot.child is child:
                slot.leaving = True
                self._exits_in.send_nowait((slot, slot.run))
                await slot.gone.wait()
                return

    # Stopping.

    def request_stop(self, *, final: bool) -> None:
        """Begin the ordered stop of the group."""
        self._final = self._final or final
        self._serving.cancel(f"ordered stop of {self.path}")

    async def shut_down(self) -> None:
        """Stop the group and wait until it is over."""
        self.request_stop(final=True)
        await self._over.wait()

    def restarting(self, delay_s: float) -> None:  # noqa: ARG002  # cells trace it
        """Count a restart of the whole group."""
        self.restarts += 1

    def close(self) -> None:
        """End all children for good, last started first."""
        for slot in reversed(self._slots):
            slot.child.close()
            slot.gone.set()

    def introspect(self) -> GroupTree:
        """The group and everything below it."""
        children = tuple(slot.child.introspect() for slot in self._slots)
        return GroupTree(
            path=self.path,
            strategy=self.spec.strategy.value,
            running=self.running,
            restarts=self.restarts,
            children=children,
        )

    async def _stop_all(self) -> None:
        for slot in reversed(self._slots):
            await self._stop(slot, final=self._final)
            if self._final:
                slot.child.close()
                slot.gone.set()

    async def _stop(self, slot: Slot, *, final: bool) -> None:
        """Stop a child, if it lives, and wait; its exit counts as dealt with."""
        slot.due = math.inf
        if slot.running:
            slot.child.request_stop(final=final)
            await slot.over.wait()
        slot.run += 1


def _start_failed(slot: Slot) -> StartFailed:
    if isinstance(slot.failure, StartFailed):
        return slot.failure
    error = StartFailed(f"{slot.child.path} did not start: {slot.failure}")
    error.__cause__ = slot.failure
    return error
