"""The actor system: one tree of supervision, its names, its trace, its dead letters.

All cells of the static tree exist as soon as the system is made, so that factories can be wired
with references to any of them; `run` then starts them in order. When it ends, for whatever reason,
all have been stopped in reverse order.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Callable
from typing import Any, Final

import trio

from actors._active import ACTIVE, NOBODY
from actors._behaviour import ChildSpec, SupervisorSpec
from actors._cell import FLIGHT_RECORDS, Cell
from actors._dead_letters import DeadLetters
from actors._hooks import CrashReport, Hook, SlowHandler
from actors._ref import Ref
from actors._registry import Registry, join
from actors._supervisor import Supervisor
from actors._timers import Timers
from actors._trace import TraceLog, TraceRecord
from actors.introspection import Tree

STOP_TIMEOUT_S: Final = 10.0
SLOW_HANDLER_S: Final = 0.05


class ActorSystem:
    """All actors of one node.

    Attributes:
        name: The first part of all paths.
        trace: The trace ring.
        dead_letters: The sink of mail that no actor will handle.
        timers: The timers of all actors.
        on_crash: Called with a `CrashReport` at every crash.
        stop_deadline: When all graces end, on the trio clock; infinite until the stop begins.
        slow_handler_s: Handlers that take longer are told to `on_slow`.
    """

    def __init__(
        self,
        name: str,
        root: SupervisorSpec,
        *,
        rng: random.Random,
        trace: TraceLog | None = None,
        stop_timeout_s: float = STOP_TIMEOUT_S,
        on_crash: Callable[[CrashReport], None] | None = None,
        on_slow: Callable[[SlowHandler], None] | None = None,
        slow_handler_s: float = SLOW_HANDLER_S,
    ) -> None:
        self.name = name
        self.trace = TraceLog(name, prefix=0) if trace is None else trace
        self.dead_letters = DeadLetters()
        self.timers = Timers()
        self.on_crash: Hook[CrashReport] = Hook("on_crash", on_crash)
        self.slow_handler_s = slow_handler_s if on_slow is not None else math.inf
        self.stop_deadline = math.inf
        self._on_slow: Hook[SlowHandler] = Hook("on_slow", on_slow)
        self._stop_timeout_s = stop_timeout_s
        self._seed = rng.getrandbits(64)
        self._numbers = itertools.count()
        self._registry = Registry()
        self._has_run = False
        self._root = self.make_group(root, join("", name), final=True, top=True)

    # Making things.

    def make_group(
        self, spec: SupervisorSpec, parent: str, *, final: bool = False, top: bool = False
    ) -> Supervisor:
        """Make a group and all cells below it."""
        path = parent if top else join(parent, spec.name)
        group = Supervisor(self, spec, path, final=final)
        for child in spec.children:
            if isinstance(child, SupervisorSpec):
                group.add(self.make_group(child, path))
            else:
                group.add(self.make_cell(child, path))
        return group

    def make_cell(self, spec: ChildSpec, parent: str) -> Cell:
        """Make a cell and give it its path.

        Raises:
            NameTaken: If the path has an owner.
            ValueError: If the name is no name.
        """
        if not spec.name:
            raise ValueError(f"an actor below {parent} has no name")
        path = join(parent, spec.name)
        cell = Cell(self, spec, path, next(self._numbers))
        self._registry.add(path, cell)
        return cell

    def forget(self, cell: Cell) -> None:
        """Free the path of a cell that has ended."""
        self._registry.remove(cell.path)

    def stream(self, name: str) -> random.Random:
        """A stream of randomness of its own: one more draw in one place changes no other."""
        digest = hashlib.blake2b(f"{self._seed}:{name}".encode(), digest_size=16).digest()
        return random.Random(int.from_bytes(digest, "big"))  # noqa: S311  # reproducible on purpose

    def new_gate(self) -> trio.Event:
        """What a suspended actor waits for."""
        return trio.Event()

    def tell_slow(self, path: str, type_name: str, took_s: float) -> None:
        """Tell of a handler that took long."""
        self._on_slow(SlowHandler(path, type_name, took_s))

    # Using it.

    def ref(self, path: str) -> Ref[Any]:
        """The reference to an actor, by its absolute path or one relative to the system.

        Raises:
            NoSuchActor: If there is none.
        """
        return self.find(path, beside=f"/{self.name}/")

    def find(self, path: str, *, beside: str) -> Ref[Any]:
        """As `ref`, relative to the siblings of `beside`."""
        return self._registry.find(path, beside).ref

    def new_id(self) -> int:
        """A message id, unique over all systems whose traces have different prefixes."""
        return self.trace.new_id()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start everything in order, serve until `stop`, stop everything in reverse order.

        A cancel from outside leads to the same ordered stop. A system runs once.

        Raises:
            StartFailed: If an actor could not start; the ones before it have been stopped.
            RestartLimit: If crashes went over the limit of the root group.
        """
        assert not self._has_run, "an actor system runs once: its cells have ended"
        self._has_run = True
        self.trace.bind_clock(trio.lowlevel.current_clock().current_time)
        async with trio.open_nursery() as nursery:
            timers = trio.CancelScope(shield=True)  # stopping actors still have timers
            nursery.start_soon(self._run_timers, timers, name=f"/{self.name}/timers")
            try:
                failure = await self._root.incarnate(task_status.started)
            finally:
                timers.cancel("all actors have ended")
        if failure is not None:
            raise failure

    async def _run_timers(self, scope: trio.CancelScope) -> None:
        ACTIVE.set(NOBODY)
        with scope:
            await self.timers.run()

    def stop(self) -> None:
        """Begin the ordered stop; `run` returns when it is over. Also before `run`."""
        self._root.request_stop(final=True)

    def stop_begins(self, group: Supervisor) -> None:
        """A group begins to stop; if it is the root, every grace ends at a common deadline."""
        if group is self._root:
            self.stop_deadline = trio.current_time() + self._stop_timeout_s
            for cell in self._registry.cells():
                if cell.current is not None:
                    cell.current.hurry(self.stop_deadline)

    def suspend(self, path: str) -> None:
        """Let an actor handle no more mail, after the message in hand; its mailbox fills."""
        self._registry.find(path, f"/{self.name}/").suspend()

    def resume(self, path: str) -> None:
        """Let a suspended actor handle mail again."""
        self._registry.find(path, f"/{self.name}/").resume()

    def flight_recorder(self, path: str, count: int = FLIGHT_RECORDS) -> list[TraceRecord]:
        """The last trace records of one actor, oldest first."""
        return self.trace.last_of(path, count)

    def introspect(self) -> Tree:
        """The whole tree with states, queues, times and waits, as it is now."""
        return self._root.introspect()
