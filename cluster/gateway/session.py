"""The session of one client: the one writer of its connection.

Replies that wait leave together, at once when the connection is idle. Control requests are answered
here too, beside the data, a bounded number at a time. The reader of the connection is the front
door's; it tells the session to hang up when the connection has ended.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from actors import Behaviour, Context
from cluster.core.operations import ClientReply, FailureCode, ReadReply, Refused
from cluster.environment import Environment
from cluster.errors import ClusterError, InvalidKey, InvalidValue, Overloaded, Timeout
from cluster.net.base import Connection
from cluster.services.local import Replies
from cluster.services.outbox import Outbox
from cluster.services.traffic import Traffic
from cluster.wire.codec import Codec
from cluster.wire.control import ControlReply, ControlRequest
from cluster.wire.messages import FrameHeader, RingState

__all__ = ["Answer", "ClientSession", "HangUp", "SendRing"]

_NO_HEADER: Final = FrameHeader(0, 0, 0)

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


class ClientSession(Behaviour[Any]):
    """The actor; see the module."""

    def __init__(
        self,
        connection: Connection,
        codec: Codec,
        environment: Environment,
        traffic: Traffic,
        answer: Answer,
    ) -> None:
        self._connection: Final = connection
        self._outbox: Final = Outbox(codec, traffic, _too_large)
        self._environment: Final = environment
        self._answer: Final = answer
        self._asked = 0

    def receive(self, ctx: Context[Any], message: Any) -> None:
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
        elif isinstance(message, HangUp):
            ctx.stop()

    def settled(self, _ctx: Context[Any]) -> Awaitable[None] | None:
        """Write what waits."""
        return self._outbox.write(self._connection) if self._outbox else None

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
