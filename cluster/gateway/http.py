"""The actor that serves HTTP: Hypercorn's trio worker as a helper task.

The listening socket is opened once, by whoever builds the node (`open_listener`), and outlives this
actor: a restart serves on with the same port, and a port that is taken is known before anything is
started. An ordered stop accepts nothing more, lets requests finish within `HTTP_GRACE_S`, and ends
the rest.
"""

import errno
import os
import socket
from typing import Any, Final

import hypercorn.config
import hypercorn.logging
import hypercorn.trio
import trio
from loguru import logger
from starlette.applications import Starlette

from actors import Behaviour, Context

__all__ = ["HTTP_GRACE_S", "HttpFace", "bound_address", "open_listener"]

HTTP_GRACE_S: Final = 2.0
"""How long requests may take to finish at a stop. The grace of the actor has to be longer."""
KEEP_ALIVE_S: Final = 5.0
"""How long a connection may be silent, before its first request too."""
REQUEST_HEAD_BYTES_MAX: Final = 16 * 1024
"""Request line and headers; a head that is not complete after so many bytes is refused."""
BACKLOG: Final = 128


def open_listener(address: str) -> socket.socket:
    """A listening socket at `host:port`; port 0 picks a free one.

    Raises:
        OSError: with a line for people in `strerror`: the port is taken, or the name unknown.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(found[0][0], socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(error.errno, f"cannot serve HTTP at {address}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[0][4])
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        taken = "; stop what runs there, or choose another port with --http"
        hint = taken if error.errno == errno.EADDRINUSE else ""
        raise OSError(
            error.errno, f"cannot serve HTTP at {address}: {error.strerror}{hint}"
        ) from None
    return listener


def bound_address(listener: socket.socket) -> str:
    """Where a listener is bound, as `host:port`."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class HttpFace(Behaviour[Any]):
    """Serves one application on one listening socket. Takes no messages."""

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        self._app = app
        self._listener = listener
        self._stop = trio.Event()
        self._stopped = trio.Event()

    async def started(self, ctx: Context[Any]) -> None:
        """Begin to serve; a failure of the server is a crash of this actor."""
        ctx.start_task(self._serve, name="hypercorn")

    async def stopping(self, ctx: Context[Any]) -> None:
        """Let requests finish, for a while."""
        del ctx
        self._stop.set()
        await self._stopped.wait()

    async def _serve(self) -> None:
        config = _config()
        # Hypercorn closes what it is given; the listener has to survive a restart.
        config.bind = [f"fd://{os.dup(self._listener.fileno())}"]
        try:
            await hypercorn.trio.serve(
                self._app,  # type: ignore[arg-type]  # Starlette's scope is wider than Hypercorn's
                config,
                shutdown_trigger=self._stop.wait,
                mode="asgi",
            )
        finally:
            self._stopped.set()


def _config() -> hypercorn.config.Config:
    config = hypercorn.config.Config()
    config.logger_class = _Log
    config.accesslog = None
    config.errorlog = None
    config.backlog = BACKLOG
    config.graceful_timeout = HTTP_GRACE_S
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.h11_max_incomplete_size = REQUEST_HEAD_BYTES_MAX
    config.include_server_header = False
    return config


class _Log(hypercorn.logging.Logger):
    """Hypercorn's log in the node's: what is ordinary at level debug, no line per request."""

    async def info(self, message: str, *args: Any, **_: Any) -> None:
        """Lifecycle, which the node tells itself."""
        logger.debug("http: {}", _filled(message, args))

    async def warning(self, message: str, *args: Any, **_: Any) -> None:
        """Something odd."""
        logger.warning("http: {}", _filled(message, args))

    async def error(self, message: str, *args: Any, **_: Any) -> None:
        """Something wrong."""
        logger.error("http: {}", _filled(message, args))

    async def exception(self, message: str, *args: Any, **_: Any) -> None:
        """Something wrong, with the exception being handled."""
        logger.exception("http: {}", _filled(message, args))


def _filled(message: str, args: tuple[Any, ...]) -> str:
    return message % args if args else message
