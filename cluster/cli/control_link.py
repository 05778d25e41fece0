"""One control question to one node, over a connection of its own.

The SDK picks a node for every request; looking after a cluster needs the answer of this very node.
So: dial, greet, ask, read the answer, close.
"""

from collections.abc import Mapping
from typing import Any, Final

import trio

from cluster.core.operations import Refused
from cluster.environment import Environment, RealEnvironment
from cluster.errors import (
    ClusterError,
    ConnectionLost,
    HandshakeRefused,
    InternalError,
    InvalidKey,
    InvalidValue,
    Overloaded,
    ProtocolError,
    Timeout,
    Unavailable,
    error_for,
)
from cluster.net.base import Connection
from cluster.net.greeting import greet
from cluster.net.websocket import WebSocketTransport
from cluster.wire.codec import Codec
from cluster.wire.control import ControlReply, ControlRequest
from cluster.wire.handshake import client_hello
from cluster.wire.messages import FrameHeader, ProtocolFailure

__all__ = ["ask_node"]

REQUEST_ID: Final = 1
SESSION_BITS: Final = 64
_NO_HEADER: Final = FrameHeader(0, 0, 0)
_ERRORS: Final[Mapping[str, type[ClusterError]]] = {
    each.__name__: each
    for each in (InternalError, InvalidKey, InvalidValue, Overloaded, Timeout, Unavailable)
}


async def ask_node(
    address: str,
    topic: str,
    arguments: Mapping[str, str | int],
    timeout_s: float,
    environment: Environment | None = None,
) -> Any:
    """Ask the node at `address` a control question.

    Raises:
        Unavailable: the node cannot be reached, or refused the connection.
        Timeout: it did not answer in time.
        InvalidValue: it refused the question; likewise its other refusals.
    """
    world = environment or RealEnvironment(None, WebSocketTransport())
    deadline = trio.current_time() + timeout_s
    try:
        with trio.fail_at(deadline):
            async with world.transport.dial(address, timeout_s=timeout_s) as connection:
                session = world.random("control").getrandbits(SESSION_BITS)
                codec = Codec()
                await greet(connection, client_hello(session), codec, timeout_s)
                request = ControlRequest(REQUEST_ID, deadline, topic, dict(arguments))
                now = trio.current_time()
                await connection.send(codec.encode(_NO_HEADER, [request], now))
                return _checked(await _answer(connection, codec))
    except (ConnectionLost, HandshakeRefused) as error:
        raise Unavailable(str(error)) from error
    except trio.TooSlowError:
        raise Timeout(f"{address} did not answer within {timeout_s:g} s") from None


async def _answer(connection: Connection, codec: Codec) -> Any:
    while True:
        frame = codec.decode(await connection.receive(), trio.current_time())
        for message in frame.messages:
            if isinstance(message, ControlReply) and message.request_id == REQUEST_ID:
                return message.body
            if isinstance(message, Refused) and message.request_id == REQUEST_ID:
                raise error_for(message.code, message.message, message.retry_after_ms / 1000)
            if isinstance(message, ProtocolFailure):
                raise ProtocolError(f"{connection.remote}: {message.reason}")


def _checked(body: Any) -> Any:
    """The body, or the error that it is."""
    if isinstance(body, dict) and body.keys() == {"error", "message"}:
        kind = _ERRORS.get(str(body["error"]), InternalError)
        raise kind(str(body["message"]))
    return body
