"""A bounded lane for users and a control lane that overtakes it, on trio memory channels.

There is no waiting on two channels at once, so control mail drops a wake token into the user
channel: one at most, in a place of its own, and only while the owner waits. Both lanes are drained
without waiting, sixteen times cheaper than one `receive` per message.

The mailbox belongs to the cell, not to an incarnation: closing the last receiving end would throw
the queued mail away, and mail survives a restart. What may go on the control lane is bounded by
construction: one stop, one notice per watch, one tick per timer key, one result per helper.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any, Final

import attrs
import trio
from attrs.validators import ge, optional

from actors._envelope import ControlItem, Envelope

MAILBOX_CAPACITY: Final = 1024


class Overflow(enum.Enum):
    """What happens to a message for a full mailbox. Whatever it is, the sender never waits.

    A sender that may wait, at the edge to a network, uses `Ref.offer`, with any policy.
    """

    REJECT = "reject"
    """It is refused: `tell` returns False, an ask ends. For whatever must shed load early."""
    DROP_NEW = "drop_new"
    """As REJECT, counted as expected: newer mail, or the same again, will come anyway."""
    DROP_OLD = "drop_old"
    """The oldest waiting message makes room."""


@attrs.frozen(kw_only=True)
class MailboxSpec:
    """How much may wait for an actor."""

    capacity: int = attrs.field(default=MAILBOX_CAPACITY, validator=ge(1))
    """Messages on the user lane."""
    overflow: Overflow = Overflow.REJECT
    weigh: Callable[[Any], int] | None = None
    """The weight of a message, usually its bytes; traced as such."""
    weight_max: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """The sum of weights that may wait. One message is always accepted into an empty lane, so
    that one heavier than the limit does not wait for ever."""


class _Wake(enum.Enum):
    """The token that wakes an owner whose user lane is empty."""

    WAKE = "wake"


WAKE: Final = _Wake.WAKE


class Mailbox:
    """The two lanes. One owner takes; anyone puts, and never waits."""

    __slots__ = (
        "_control_in", "_control_out", "_held", "_offers", "_receive", "_room", "_send",
        "_user_in", "_user_out", "_waiting", "_wake_queued", "_weight_max", "capacity", "closed",
        "control_length", "length", "peak", "weight",
    )  # fmt: skip

    def __init__(self, spec: MailboxSpec) -> None:
        self.capacity = spec.capacity
        self._weight_max = math.inf if spec.weight_max is None else spec.weight_max
        # One place more than the capacity, for the wake token.
        self._user_in, self._user_out = trio.open_memory_channel[Envelope | _Wake](
            spec.capacity + 1
        )
        self._control_in, self._control_out = trio.open_memory_channel[ControlItem](math.inf)
        # Bound once: these two run for every message.
        self._send: Callable[[Envelope], None] = self._user_in.send_nowait
        self._receive: Callable[[], Envelope | _Wake] = self._user_out.receive_nowait
        self._room = trio.lowlevel.ParkingLot()
        self._held: Envelope | None = None  # fetched from the channel, not yet taken
        self._offers = 0  # senders that wait for room
        self._waiting = False
        self._wake_queued = False
        self.closed = False
        self.length = 0
        self.control_length = 0
        self.peak = 0
        self.weight = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits and the owner waits for something."""
        return self._waiting and not self.length and not self.control_length

    def put(self, envelope: Envelope) -> bool:
        """Queue a user message; False without room (the caller applies the policy) or closed."""
        length = self.length
        if self.closed or (
            length and (length >= self.capacity or self.weight + envelope[6] > self._weight_max)
        ):
            return False
        self.length = length = length + 1
        self.weight += envelope[6]
        if length > self.peak:  # noqa: PLR1730  # max() costs three times as much here
            self.peak = length
        self._send(envelope)
        return True

    def put_newest(self, envelope: Envelope) -> list[Envelope]:
        """Queue a user message and return the oldest ones, taken out to make room for it."""
        dropped: list[Envelope] = []
        while not self.put(envelope):
            if self._held is None and not self._user_out.statistics().current_buffer_used:
                # The one message there is has been handed to the waiting owner, which has not run
                # yet: it cannot be taken back, and has left the channel, so there is a place.
                self.length -= 1
                self.put(envelope)
                self.length += 1
                break
            dropped.append(self._take_oldest())
        return dropped

    def _take_oldest(self) -> Envelope:
        control, self.control_length = self.control_length, 0  # look past the control lane
        oldest = self.take()
        self.control_length = control
        assert type(oldest) is tuple
        return oldest

    def put_control(self, item: ControlItem) -> None:
        """Queue on the control lane, ahead of all user mail."""
        self.control_length += 1
        self._control_in.send_nowait(item)
        if self._waiting and not self._wake_queued:
            self._wake_queued = True
            self._user_in.send_nowait(WAKE)

    def take(self) -> ControlItem | None:
        """The next item: control first, then user mail; None if nothing waits."""
        if self.control_length:
            self.control_length -= 1
            return self._control_out.receive_nowait()
        if not self.length:
            return None
        envelope = self._held
        if envelope is None:
            item = self._receive()
            if item is WAKE:
                self._wake_queued = False
                item = self._receive()
            assert item is not WAKE, "two wake tokens in one mailbox"
            envelope = item
        else:
            self._held = None
        self.length -= 1
        self.weight -= envelope[6]
        if self._offers:
            self._room.unpark()
        return envelope

    async def wait(self) -> None:
        """Wait until something may be there to take; always a checkpoint.

        An item handed over by the channel is held, so that a cancel in the same instant loses
        nothing.
        """
        if self.length or self.control_length:
            await trio.lowlevel.checkpoint()
            return
        self._waiting = True
        try:
            item = await self._user_out.receive()
        finally:
            self._waiting = False
        if item is WAKE:
            self._wake_queued = False
        else:
            self._held = item

    async def wait_for_room(self) -> None:
        """Wait until a message was taken or the mailbox was closed. For edges only."""
        self._offers += 1
        try:
            await self._room.park()
        finally:
            self._offers -= 1

    def pass_room_on(self) -> None:
        """Wake the next waiting sender: one message taken may leave room for several."""
        if self._offers and self.length < self.capacity:
            self._room.unpark()

    def close(self) -> list[ControlItem]:
        """Close both lanes for ever and return what was still in them, in order of taking."""
        left: list[ControlItem] = []
        while (item := self.take()) is not None:
            left.append(item)
        self.closed = True
        self._user_in.close()
        self._user_out.close()
        self._control_in.close()
        self._control_out.close()
        self._room.unpark_all()
        return left
