"""What travels through a mailbox.

On the user lane every item is an **envelope**, a plain tuple: building one costs a tenth of the
smallest class, and every message needs one. On the control lane there are envelopes too, and
three kinds of events that must be judged at the moment they are taken out, because the actor may
have moved on since they were queued: `Tick`, `FromIncarnation` and `Order`.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Any, TypeAlias

import attrs

from actors._reply import Reply

# (message, message id, cause id, chain id, sent at, reply slot of an ask, weight)
Envelope: TypeAlias = tuple[object, int, int, int, float, Reply[Any] | None, int]


class Order(enum.Enum):
    """What the runtime asks of an actor."""

    STOP = "stop"
    SUSPEND = "suspend"


@attrs.frozen
class Tick:
    """A timer has fired; void if its key was set or cancelled since."""

    key: Hashable
    generation: int
    envelope: Envelope


@attrs.frozen
class FromIncarnation:
    """A message that an incarnation arranged for itself: a helper's outcome, a watch.

    Void if the actor has been restarted since: the state it speaks of is gone.
    """

    incarnation: int
    envelope: Envelope


ControlItem: TypeAlias = Envelope | Tick | FromIncarnation | Order
