"""Which actor, if any, the running code belongs to.

A handler runs in the task of its actor, a helper in a task of its own. `ACTIVE` tells them apart:
an ask from a handler blocks the actor and counts in the wait-for graph, one from a helper does
not; and what a helper sends is caused by the message in whose handling it was started, not by
whatever the actor happens to handle now. Every task of the runtime sets the variable first thing,
because trio copies the context of the spawning task.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from actors._cell import Cell
    from actors._envelope import Envelope


class Active(Protocol):
    """Anything on whose behalf messages are sent."""

    @property
    def in_hand(self) -> Envelope | None:
        """The message being handled, the cause of whatever is sent now."""

    @property
    def blocks(self) -> Cell | None:
        """The actor that stands still while this code waits; None for a helper."""


@attrs.frozen
class Detached:
    """A task that belongs to no handler: a helper, or code outside of the actors."""

    in_hand: Envelope | None
    blocks: None = None


NOBODY = Detached(None)
ACTIVE: ContextVar[Active] = ContextVar("actors_active", default=NOBODY)
