"""What every transport does with an accepted connection: run its handler, end it with a reason."""

from loguru import logger

from cluster.errors import ConnectionLost, HandshakeRefused, ProtocolError
from cluster.net.base import (
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL_ERROR,
    CLOSE_NORMAL,
    CLOSE_PROTOCOL_ERROR,
    CLOSE_REFUSED,
    BadFrame,
    Connection,
    Handler,
    OnError,
)


async def run_handler(connection: Connection, handler: Handler, on_error: OnError) -> None:
    """Serves one connection and closes it. Raises no `Exception`.

    A handler that raises ends its connection: `ConnectionLost` quietly (`BadFrame` goes to
    `on_error`: its other side has been told), anything else is told to
    the other side (a `ProtocolError` or `HandshakeRefused` with its text) and to `on_error`.
    """
    code, reason = CLOSE_GOING_AWAY, "going away"
    try:
        await handler(connection)
        code, reason = CLOSE_NORMAL, ""
    except ConnectionLost as lost:
        code, reason = CLOSE_NORMAL, str(lost)
        if isinstance(lost, BadFrame):
            on_error(connection.remote, lost)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection only
        code, reason = _close_code_of(error)
        on_error(connection.remote, error)
    finally:
        await connection.aclose(reason, code)


def log_error(remote: str, error: Exception) -> None:
    """What a transport does with the error of a handler unless told otherwise."""
    if isinstance(error, ProtocolError | HandshakeRefused):
        logger.warning("connection of {} ended: {}", remote, error)
    else:
        logger.opt(exception=error).error("connection of {} ended by an error", remote)


def _close_code_of(error: Exception) -> tuple[int, str]:
    if isinstance(error, ProtocolError):
        return CLOSE_PROTOCOL_ERROR, str(error)
    if isinstance(error, HandshakeRefused):
        return CLOSE_REFUSED, str(error)
    return CLOSE_INTERNAL_ERROR, "internal error"
