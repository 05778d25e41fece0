"""The session of one client: the one writer of its connection.

Replies that wait leave together, at once when the connection is idle. Control requests are answered
here too, beside the data, a bounded number at a time. The reader of the connection is the front
door's; it tells the session to hang up when the connection has ended.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs
import trio

from actors import Behaviour, Context
from cluster.core.operations import ClientReply, FailureCode, ReadReply, Refused
from cluster.environment import Environment
from cluster.errors import ClusterError, ConnectionLost, InvalidKey, InvalidValue, Timeout
from cluster.net.base import CLOSE_GOING_AWAY, Connection
from cluster.services.local import Replies
from cluster.services.traffic import Traffic
from cluster.wire.codec import Codec
from cluster.wire.control import ControlReply, ControlRequest
from cluster.wire.messages import FrameHeader, RingState

__all__ = ["Answer", "ClientSession", "HangUp", "SendRing"]

SEND_TIMEOUT_S: Final = 10.0
"""A client that takes no bytes for so long is cut off."""

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
        self._codec: Final = codec
        self._environment: Final = environment
        self._traffic: Final = traffic
        self._answer: Final = answer
        self._header = FrameHeader(0, 0, 0)
        self._parts: list[bytes] = []
        self._asked = 0

    def receive(self, ctx: Context[Any], message: Any) -> None:
        """Encode what is to be sent."""
        if isinstance(message, Replies):
            self._header = message.header
            now = ctx.now()
            encode = self._codec.encode_message
            try:
                self._parts += [encode(reply, now) for reply in message.replies]
            except ValueError:
                self._parts += [self._encode_reply(reply, now) for reply in message.replies]
        elif isinstance(message, ControlRequest):
            self._ask(ctx, message)
        elif isinstance(message, SendRing):
            self._header = message.header
            self._parts.append(self._codec.encode_message(message.state, ctx.now()))
        elif isinstance(message, _Answered):
            self._asked -= 1
            self._parts.append(self._encode_reply(message.message, ctx.now()))
        elif isinstance(message, HangUp):
            ctx.stop()

    async def settled(self, _ctx: Context[Any]) -> None:
        """Write what waits."""
        parts, self._parts = self._parts, []
        if not parts:
            return
        codec, start = self._codec, 0
        try:
            with trio.fail_after(SEND_TIMEOUT_S):
                while start < len(parts):
                    end = codec.fitting(parts, start)
                    frame = codec.assemble(self._header, parts[start:end])
                    await self._connection.send(frame)
                    self._traffic.sent(end - start, len(frame))
                    start = end
        except ConnectionLost:
            self._traffic.dropped.value += len(parts) - start
        except trio.TooSlowError:
            self._traffic.dropped.value += len(parts) - start
            reason = f"no bytes taken for {SEND_TIMEOUT_S:g} s"
            await self._connection.aclose(reason, CLOSE_GOING_AWAY)

    # ------------------------------------------------------------------ control

    def _ask(self, ctx: Context[Any], request: ControlRequest) -> None:
        if self._asked >= CONTROL_MAX:
            text = f"{CONTROL_MAX} control requests are worked on: wait for their answers"
            refused = Refused(request.request_id, FailureCode.OVERLOADED, text, 100)
            self._parts.append(self._codec.encode_message(refused, ctx.now()))
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
            message = Refused(request.request_id, _code_of(error), str(error))
        ctx.ref.tell_control(_Answered(message))

    def _encode_reply(self, message: ClientReply | ControlReply, now: float) -> bytes:
        """Encode a reply, or, if no frame can carry it, one that says so."""
        try:
            return self._codec.encode_message(message, now)
        except ValueError as error:
            code = FailureCode.INTERNAL
            if isinstance(message, ReadReply):
                code = FailureCode.OVERLOADED
            refused = Refused(message.request_id, code, f"{error}: ask for fewer keys at once")
            return self._codec.encode_message(refused, now)


def _code_of(error: ClusterError) -> FailureCode:
    if isinstance(error, (InvalidValue, InvalidKey)):
        return FailureCode.INVALID
    return FailureCode.TIMEOUT if isinstance(error, Timeout) else FailureCode.INTERNAL
