"""The session of one client: the one writer of its connection.

Replies that wait leave together, at once when the connection is idle. Control requests are answered
here too, beside the data, a bounded number at a time. The reader of the connection is the front
door's; it tells the session to hang up when the connection has ended.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from actors import Behaviour, Context
from cluster.core.clock import STAMP_BYTES
from cluster.core.operations import ClientReply, FailureCode, ReadReply, Refused, TouchReply
from cluster.environment import Environment
from cluster.errors import ClusterError, InvalidKey, InvalidValue, Overloaded, Timeout
from cluster.net.base import CLOSE_REFUSED, Connection
from cluster.services.local import CutOff, Replies
from cluster.services.outbox import Outbox
from cluster.services.traffic import Traffic
from cluster.wire.codec import Codec
from cluster.wire.control import ControlReply, ControlRequest
from cluster.wire.messages import FrameHeader, RingState

__all__ = ["Answer", "ClientSession", "HangUp", "SendRing", "weigh"]

_NO_HEADER: Final = FrameHeader(0, 0, 0)

FAILURE_BYTES: Final = 200
"""What a failure of one key takes: its text."""

CUT_OFF: Final = "too many replies wait for this client: it does not read them fast enough"

CONTROL_MAX: Final = 16
"""Control requests of one client that are worked on at a time."""

Answer: TypeAlias = Callable[[str, Mapping[str, Any], float], Awaitable[Any]]
"""Answers a control request: topic, arguments, timeout in seconds."""


@attrs.frozen
class HangUp:
    """The connection has ended."""


@attrs.frozen
class SendRing:
    """The client knows another ring than this node: tell it ours."""

    header: FrameHeader
    state: RingState


@attrs.frozen
class _Answered:
    message: ControlReply | Refused


def weigh(message: Any) -> int:
    """Bytes that a message holds while it waits; about, and small ones count as nothing."""
    if not isinstance(message, Replies):
        return 0
    total = 0
    for reply in message.replies:
        if isinstance(reply, Refused):
            continue
        total += FAILURE_BYTES * len(reply.failures)
        if isinstance(reply, ReadReply):
            total += sum(len(record) for record in reply.records if record is not None)
        else:
            stamps = reply.stamps if isinstance(reply, TouchReply) else reply.restamped
            total += STAMP_BYTES * len(stamps)
    return total


class ClientSession(Behaviour[Any]):
    """The actor; see the module."""

    def __init__(
        self,
        connection: Connection,
        codec: Codec,
        environment: Environment,
        traffic: Traffic,
        answer: Answer,
        *,
        on_cut_off: Callable[[str, str], None],
    ) -> None:
        """Prepare.

        Args:
            connection: written by this actor alone.
            codec: of the connection.
            environment: the clock of deadlines.
            traffic: counts.
            answer: answers control requests.
            on_cut_off: told the address of a client that is cut off, and why.
        """
        self._on_cut_off: Final = on_cut_off
        self._connection: Final = connection
        self._outbox: Final = Outbox(codec, traffic, _too_large)
        self._environment: Final = environment
        self._answer: Final = answer
        self._asked = 0
        self._is_cut_off = False

    def receive(self, ctx: Context[Any], message: Any) -> Awaitable[None] | None:
        """Encode what is to be sent."""
        if isinstance(message, Replies):
            self._outbox.put(message.header, message.replies, ctx.now())
        elif isinstance(message, ControlRequest):
            self._ask(ctx, message)
        elif isinstance(message, SendRing):
            self._outbox.put(message.header, [message.state], ctx.now())
        elif isinstance(message, _Answered):
            self._asked -= 1
            self._outbox.put(_NO_HEADER, [message.message], ctx.now())
        elif isinstance(message, CutOff):
            return None if self._is_cut_off else self._cut_off(ctx)
        elif isinstance(message, HangUp):
            ctx.stop()
        return None

    def settled(self, _ctx: Context[Any]) -> Awaitable[None] | None:
        """Write what waits."""
        return self._outbox.write(self._connection) if self._outbox else None

    async def _cut_off(self, ctx: Context[Any]) -> None:
        """An answer was lost for want of room: the client must not wait for it in vain."""
        self._is_cut_off = True
        self._on_cut_off(self._connection.remote, CUT_OFF)
        self._outbox.clear()
        ctx.stop()
        await self._connection.aclose(CUT_OFF, CLOSE_REFUSED)

    # ------------------------------------------------------------------ control

    def _ask(self, ctx: Context[Any], request: ControlRequest) -> None:
        if self._asked >= CONTROL_MAX:
            text = f"{CONTROL_MAX} control requests are worked on: wait for their answers"
            refused = Refused(request.request_id, FailureCode.OVERLOADED, text, 100)
            self._outbox.put(_NO_HEADER, [refused], ctx.now())
            return
        self._asked += 1
        ctx.start_task(self._work, ctx, request, name=f"control-{request.request_id}")

    async def _work(self, ctx: Context[Any], request: ControlRequest) -> None:
        timeout_s = max(0.0, request.deadline - self._environment.now())
        message: ControlReply | Refused
        try:
            body = await self._answer(request.topic, request.arguments, timeout_s)
            message = ControlReply(request.request_id, body)
        except ClusterError as error:
            message = _refused(request.request_id, error)
        ctx.ref.tell_control(_Answered(message))


def _too_large(message: ClientReply | ControlReply, error: ValueError) -> Refused:
    """What is answered in place of a reply that no frame can carry."""
    code = FailureCode.OVERLOADED if isinstance(message, ReadReply) else FailureCode.INTERNAL
    return Refused(message.request_id, code, f"{error}: ask for fewer keys at once")


def _refused(request_id: int, error: ClusterError) -> Refused:
    """The error of a control request as an answer."""
    if isinstance(error, Overloaded):
        retry_after_ms = round(error.retry_after_s * 1000)
        return Refused(request_id, FailureCode.OVERLOADED, str(error), retry_after_ms)
    code = FailureCode.INTERNAL
    if isinstance(error, (InvalidValue, InvalidKey)):
        code = FailureCode.INVALID
    elif isinstance(error, Timeout):
        code = FailureCode.TIMEOUT
    return Refused(request_id, code, str(error))
