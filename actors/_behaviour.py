"""What a user of the runtime writes and declares: behaviours, children, groups.

A behaviour is the replaceable half of an actor: its factory builds it anew for every incarnation,
while the cell keeps name, mailbox and counters. A factory must build everything; a captured dict
would carry corrupted state over the restart that was to get rid of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeAlias, TypeVar

import attrs
from attrs.validators import ge, gt

from actors._mailbox import MailboxSpec
from actors._restart import INTENSITY, PERIOD_S, Backoff, Restart, Strategy

if TYPE_CHECKING:
    from actors._context import Context

M = TypeVar("M")

GRACE_S: Final = 5.0
START_TIMEOUT_S: Final = 30.0


@attrs.frozen(kw_only=True)
class RestartLimits:
    """How often the children of a group may crash before the group gives up."""

    intensity: int = attrs.field(default=INTENSITY, validator=ge(0))
    """Restarts within period_s; one more is too many."""
    period_s: float = attrs.field(default=PERIOD_S, validator=gt(0.0))
    backoff: Backoff = attrs.field(factory=Backoff)


class Behaviour(Generic[M]):
    """An actor's code and state for one incarnation. All methods run in the actor's own task."""

    child_limits: ClassVar[RestartLimits] = RestartLimits()
    """For the children started with `Context.start_child`."""

    never_waits: ClassVar[bool] = False
    """Promises that `receive` and `settled` are plain functions, so that `Ref.hand_over` can let
    an idle actor handle a message in the task of the caller."""

    async def started(self, ctx: Context[M]) -> None:
        """Prepare; mail waits. An exception is a start failure."""

    def receive(self, ctx: Context[M], message: M) -> Awaitable[None] | None:
        """Handle one message: a plain def on hot paths, or an async def.

        One message at a time: nothing else of this actor runs until it is done. An exception
        crashes the incarnation.
        """
        raise NotImplementedError(f"{type(self).__name__} has no receive()")

    def settled(self, ctx: Context[M]) -> Awaitable[None] | None:
        """Called after a batch of messages, before the actor yields or waits.

        Output gathered by several `receive` calls leaves as one batch from here. Costs nothing
        unless it is overridden.
        """

    async def stopping(self, ctx: Context[M]) -> None:
        """Clean up at an ordered stop, within the grace; children have stopped, helpers run."""


@attrs.frozen
class ChildSpec:
    """An actor as a child of a group."""

    name: str
    factory: Callable[[], Behaviour[Any]]
    restart: Restart = Restart.PERMANENT
    grace_s: float = attrs.field(default=GRACE_S, validator=ge(0.0))
    """How long an ordered stop waits for the message in hand and for `stopping`."""
    mailbox: MailboxSpec = attrs.field(factory=MailboxSpec)
    start_timeout_s: float = attrs.field(default=START_TIMEOUT_S, validator=gt(0.0))
    """How long `started` may take; longer is a start failure."""


@attrs.frozen
class SupervisorSpec:
    """A group of children, started in order and stopped in reverse order.

    A name adds a level to the paths below it; an empty one does not.
    """

    name: str
    children: tuple[Spec, ...]
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = attrs.field(default=INTENSITY, validator=ge(0))
    """Restarts within period_s; one more and the group gives up, and its parent decides."""
    period_s: float = attrs.field(default=PERIOD_S, validator=gt(0.0))
    backoff: Backoff = attrs.field(factory=Backoff)


Spec: TypeAlias = ChildSpec | SupervisorSpec
