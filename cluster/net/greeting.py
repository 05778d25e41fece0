"""The handshake on a connection: `Hello` one way, `Welcome` or `Reject` the other.

The dialler chooses the codec; the acceptor recognises it and answers in the same. What is decided
is the business of `wire.handshake` and of the `judge` handed in; what the connection is used for
afterwards is the caller's.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

import trio

from cluster.errors import ConnectionLost, HandshakeRefused, ProtocolError
from cluster.net.base import CLOSE_PROTOCOL_ERROR, CLOSE_REFUSED, Connection
from cluster.wire.codec import Codec, CodecName, FrameLimits, codec_of
from cluster.wire.handshake import Hello, Reject, Welcome, objection
from cluster.wire.messages import FrameHeader, ProtocolFailure

Judge: TypeAlias = Callable[[Hello], Welcome | Reject]

GREETING_TIMEOUT_S: Final = 5.0
_NO_HEADER: Final = FrameHeader(0, 0, 0)


class DialledMyselfError(HandshakeRefused):
    """Raised when a node finds itself at the other end; seed lists may name every node."""


class OutdatedBootError(HandshakeRefused):
    """Raised when the other end knows a later boot of the node that dials.

    Attributes:
        known_boot: that boot.
    """

    def __init__(self, message: str, known_boot: int) -> None:
        super().__init__(message)
        self.known_boot = known_boot


async def greet(
    connection: Connection, hello: Hello, codec: Codec, timeout_s: float = GREETING_TIMEOUT_S
) -> Welcome:
    """Introduces the dialler.

    Raises:
        HandshakeRefused: one side refused the other; the message says who and why.
            `DialledMyselfError` if the other end is this node, `OutdatedBootError` if it knows a
            later boot of this one.
        ProtocolError: the other side answered something else.
        ConnectionLost: the connection ended, or there was no answer in time.
    """
    now = trio.current_time()
    with trio.move_on_after(timeout_s):
        await connection.send(codec.encode(_NO_HEADER, [hello], now))
        answer = _single(codec, await connection.receive(), now)
        if isinstance(answer, Reject):
            raise _refusal(answer, f"{connection.remote} refused the connection: {answer.reason}")
        if isinstance(answer, ProtocolFailure):
            raise ProtocolError(f"{connection.remote} did not understand: {answer.reason}")
        if not isinstance(answer, Welcome):
            raise ProtocolError(f"{type(answer).__name__} as answer to Hello")
        reason = objection(answer, hello)
        if reason is not None:
            await connection.aclose(reason, CLOSE_REFUSED)
            raise HandshakeRefused(f"refused the connection to {connection.remote}: {reason}")
        return answer
    raise ConnectionLost(f"{connection.remote} did not answer Hello within {timeout_s:g} s")


def _refusal(answer: Reject, text: str) -> HandshakeRefused:
    if answer.known_boot:
        return OutdatedBootError(text, answer.known_boot)
    return DialledMyselfError(text) if answer.myself else HandshakeRefused(text)


async def welcome(
    connection: Connection,
    judge: Judge,
    limits: FrameLimits,
    timeout_s: float = GREETING_TIMEOUT_S,
) -> tuple[Hello, Welcome, Codec]:
    """Receives the dialler; returns the codec that the connection speaks.

    Raises:
        HandshakeRefused: `judge` refused; the dialler has been told the reason.
        ProtocolError: the dialler sent no `Hello`; it has been told.
        ConnectionLost: the connection ended, or no `Hello` came in time.
    """
    now = trio.current_time()
    with trio.move_on_after(timeout_s):
        frame = await connection.receive()
        try:
            codec = _shared_codec(codec_of(frame), limits)
        except ProtocolError as error:
            await connection.aclose(str(error), CLOSE_PROTOCOL_ERROR)
            raise
        try:
            hello = _single(codec, frame, now)
            if not isinstance(hello, Hello):
                raise ProtocolError(f"{type(hello).__name__} before Hello")  # noqa: TRY301 - told below
        except ProtocolError as error:
            failure = ProtocolFailure(str(error))
            await connection.send(codec.encode(_NO_HEADER, [failure], now))
            raise
        answer = judge(hello)
        await connection.send(codec.encode(_NO_HEADER, [answer], now))
        if isinstance(answer, Reject):
            name = hello.id or "a client"
            raise HandshakeRefused(f"refused {name} at {connection.remote}: {answer.reason}")
        return hello, answer, codec
    raise ConnectionLost(f"{connection.remote} did not say Hello within {timeout_s:g} s")


@lru_cache
def _shared_codec(name: CodecName, limits: FrameLimits) -> Codec:
    """One codec for all connections alike: its buffer grows to the largest message it has seen."""
    return Codec(name, limits)


def _single(codec: Codec, frame: bytes, now: float) -> object:
    messages = codec.decode(frame, now).messages
    if len(messages) != 1:
        raise ProtocolError(f"{len(messages)} messages in a frame of the handshake, expected one")
    return messages[0]
