"""A probe actor that keeps what it gets, and a system for the length of a block."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Generic, TypeVar

import trio

from actors._behaviour import Behaviour, ChildSpec
from actors._context import Context
from actors._errors import single
from actors._mailbox import MailboxSpec
from actors._reply import Request
from actors._system import ActorSystem

M = TypeVar("M")

PATIENCE_S: Final = 5.0


class Probe(Generic[M]):
    """Keeps all messages over restarts and answers asks; put `spec(name)` into a tree."""

    def __init__(self, answer: Callable[[M], object] | None = None) -> None:
        """Make a probe.

        Args:
            answer: Gives the answers to asks; without it asks are kept unanswered.
        """
        self.messages: list[M] = []
        self._answer = answer
        self._news = trio.Event()

    def spec(self, name: str, mailbox: MailboxSpec | None = None) -> ChildSpec:
        """The probe as a child."""
        return ChildSpec(name, lambda: _ProbeBehaviour(self), mailbox=mailbox or MailboxSpec())

    def take(self, ctx: Context[M], message: M) -> None:
        """Keep a message, as the probe's actor does."""
        self.messages.append(message)
        if isinstance(message, Request):
            if self._answer is None:
                ctx.take_reply()
            else:
                ctx.reply(self._answer(message))
        self._news.set()
        self._news = trio.Event()

    async def wait_for(self, matches: Callable[[M], bool], *, timeout_s: float = PATIENCE_S) -> M:
        """The first message that matches, from the first on; waits for it.

        Raises:
            AssertionError: If none came in time; shows what did.
        """
        with trio.move_on_after(timeout_s):
            while True:
                for message in self.messages:
                    if matches(message):
                        return message
                await self._news.wait()
        raise AssertionError(f"no message matched within {timeout_s} s; got {self.messages}")

    async def wait_count(self, count: int, *, timeout_s: float = PATIENCE_S) -> list[M]:
        """All messages, once there are that many. Raises as `wait_for` does."""
        with trio.move_on_after(timeout_s):
            while len(self.messages) < count:
                await self._news.wait()
            return list(self.messages)
        raise AssertionError(
            f"{len(self.messages)} instead of {count} messages in {timeout_s} s: {self.messages}"
        )


class _ProbeBehaviour(Behaviour[Any]):
    def __init__(self, probe: Probe[Any]) -> None:
        self._probe = probe

    def receive(self, ctx: Context[Any], message: Any) -> None:
        self._probe.take(ctx, message)


@contextlib.asynccontextmanager
async def running(system: ActorSystem) -> AsyncIterator[ActorSystem]:
    """Run a system for the length of the block, then stop it in order.

    A single error, of the block or of the system, is raised as it is, in no group.
    """
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(system.run)
            try:
                yield system
            finally:
                system.stop()
    except BaseExceptionGroup as group:
        error = single(group)
        raise error from error.__cause__
