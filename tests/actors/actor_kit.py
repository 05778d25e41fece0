"""Small actors and systems that several tests use."""

import inspect
import random
from collections.abc import Callable
from typing import Any

import attrs

from actors import (
    ActorSystem,
    Backoff,
    Behaviour,
    ChildSpec,
    Context,
    MailboxSpec,
    Request,
    Restart,
    Strategy,
    SupervisorSpec,
)

QUICK = Backoff(first_s=0.01, factor=1.0, jitter=0.0)


@attrs.frozen
class Get(Request[int]):
    """Asks for a number."""

    number: int = 0


class Scripted(Behaviour[Any]):
    """Runs the message if it is callable: `message(self, ctx)`. Logs its life."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    async def started(self, ctx: Context[Any]) -> None:
        self.log.append(f"{self.name} started {ctx.incarnation}")

    def receive(self, ctx: Context[Any], message: Any) -> Any:
        if callable(message):
            result = message(self, ctx)
            return result if inspect.isawaitable(result) else None
        self.log.append(f"{self.name} {message}")
        return None

    async def stopping(self, ctx: Context[Any]) -> None:
        self.log.append(f"{self.name} stopping {ctx.incarnation}")


def child(
    name: str,
    log: list[str] | None = None,
    *,
    factory: Callable[[], Behaviour[Any]] | None = None,
    restart: Restart = Restart.PERMANENT,
    grace_s: float = 5.0,
    mailbox: MailboxSpec | None = None,
) -> ChildSpec:
    kept: list[str] = [] if log is None else log
    return ChildSpec(
        name,
        factory or (lambda: Scripted(name, kept)),
        restart=restart,
        grace_s=grace_s,
        mailbox=mailbox or MailboxSpec(),
    )


def group(
    name: str,
    *children: ChildSpec | SupervisorSpec,
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    intensity: int = 3,
    backoff: Backoff = QUICK,
) -> SupervisorSpec:
    return SupervisorSpec(name, children, strategy=strategy, intensity=intensity, backoff=backoff)


def system(*children: ChildSpec | SupervisorSpec, **options: Any) -> ActorSystem:
    spec = group(
        "",
        *children,
        **{key: options.pop(key) for key in ("strategy", "intensity", "backoff") if key in options},
    )
    return ActorSystem("n1", spec, rng=random.Random(7), **options)


def boom(_self: Any, _ctx: Any) -> None:
    raise ValueError("boom")
