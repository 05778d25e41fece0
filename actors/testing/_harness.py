"""A behaviour step by step, without trio: deliver a message, look at what it did.

Everything the behaviour does through its context is recorded (`_fake_context`). Time stands still
until `advance`. Coroutines are driven to their end in one go: a handler that really waits fails
the test; asks are answered at once by what was arranged with `on_ask`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from actors._behaviour import Behaviour
from actors._errors import NoReply
from actors._incarnation import Outcome
from actors.testing._fake_context import (
    FakeContext,
    FakeRef,
    FakeReply,
    FakeTask,
    HarnessError,
    Told,
    World,
)

M = TypeVar("M")


class Harness(Generic[M]):
    """Drives one behaviour.

    Attributes:
        world: What the behaviour has done: told, timers, tasks, watches, children, notes.
    """

    def __init__(
        self,
        behaviour: Behaviour[M],
        *,
        path: str = "/test/actor",
        now: float = 0.0,
        rng: random.Random | None = None,
    ) -> None:
        self.behaviour = behaviour
        self.world = World(path, now, rng or random.Random(0))  # noqa: S311  # reproducible
        self._context: FakeContext[M] = FakeContext(self.world)

    # Steps.

    def start(self) -> None:
        """Run `started`."""
        drive(self.behaviour.started(self._context))

    def deliver(self, message: M, *, chain: int = 0) -> None:
        """Handle one message."""
        self._handle(message, chain, None)

    def request(self, message: M, *, chain: int = 0) -> FakeReply:
        """Handle one ask.

        Raises:
            NoReply: If the handler neither answered nor took the reply.
        """
        reply = FakeReply()
        self._handle(message, chain, reply)
        if reply.open and not reply.taken:
            raise NoReply(f"{type(message).__name__} was not answered")
        return reply

    def settle(self) -> None:
        """Run `settled`, as after a batch."""
        drive(self.behaviour.settled(self._context))

    def stop(self) -> None:
        """Run `stopping`."""
        drive(self.behaviour.stopping(self._context))

    def advance(self, seconds: float) -> None:
        """Let time pass; timers that come up are handled in order."""
        end = self.world.now + seconds
        while (key := self._next_timer(end)) is not None:
            self.world.now = max(self.world.now, self.world.timers[key][0])
            self.fire(key)
        self.world.now = end

    def fire(self, key: Hashable) -> None:
        """Handle the message of a timer now.

        Raises:
            HarnessError: If no such timer is set.
        """
        if key not in self.world.timers:
            raise HarnessError(f"no timer {key!r}; set are {list(self.world.timers)}")
        _, message = self.world.timers.pop(key)
        self._handle(message, 0, None)

    def finish_task(self, name: str, outcome: Outcome[Any]) -> None:
        """End the first helper of this name and handle its message, if it has one.

        Raises:
            HarnessError: If no such helper runs.
        """
        for task in self.world.tasks:
            if task.name == name:
                self.world.tasks.remove(task)
                if task.then is not None:
                    self._handle(task.then(outcome), 0, None)
                elif outcome.error is not None:
                    raise outcome.error
                return
        raise HarnessError(f"no helper {name!r}; running are {self.tasks}")

    # What it did.

    @property
    def now(self) -> float:
        """The time, in seconds."""
        return self.world.now

    @property
    def told(self) -> Sequence[Told]:
        """All messages sent since `take_told`."""
        return self.world.told

    @property
    def timers(self) -> dict[Hashable, tuple[float, Any]]:
        """Due time and message of each timer, by key."""
        return self.world.timers

    @property
    def tasks(self) -> Sequence[FakeTask]:
        """The helpers that run."""
        return self.world.tasks

    def take_told(self) -> list[Told]:
        """All messages sent so far; forgets them."""
        told, self.world.told = self.world.told, []
        return told

    def ref(self, path: str) -> FakeRef:
        """A reference whose messages are recorded; also what `lookup` finds from now on."""
        return self.world.ref(path)

    def on_ask(self, path: str, answer: Callable[[Any], Any]) -> None:
        """Answer asks of this actor; an exception that is returned is raised at the asker."""
        self.world.answers[self.world.absolute(path)] = answer

    # Driving.

    def _handle(self, message: Any, chain: int, reply: FakeReply | None) -> None:
        with self.world.handling(chain, reply):
            drive(self.behaviour.receive(self._context, message))

    def _next_timer(self, until: float) -> Hashable | None:
        """The first timer that is due: in order of time, then of setting."""
        due = [(timer[0], key) for key, timer in self.world.timers.items() if timer[0] <= until]
        return min(due, key=lambda entry: entry[0])[1] if due else None


def drive(waiting: Awaitable[None] | None) -> None:
    """Run a coroutine to its end.

    Raises:
        HarnessError: If it waits.
    """
    if waiting is None:
        return
    steps = waiting.__await__()
    try:
        next(steps)
    except StopIteration:
        return
    close = getattr(waiting, "close", None)
    if close is not None:
        close()
    raise HarnessError("the handler waits for something that only a running system has")
