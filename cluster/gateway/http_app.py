"""The HTTP face as a Starlette application: paths to questions, answers and errors to responses.

It holds nothing but the control face. Every request has the time limit of the node,
and only so many are worked on at once: management must not be able to take a node down.
"""

import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from loguru import logger
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cluster.core import record as records
from cluster.errors import (
    ClusterError,
    Draining,
    InternalError,
    InvalidKey,
    InvalidValue,
    Overloaded,
    ProtocolError,
    Timeout,
    Unavailable,
)
from cluster.gateway.arguments import Arguments
from cluster.gateway.bodies import error_body, stamp_text
from cluster.gateway.control import ControlFace
from cluster.gateway.endpoints import ENDPOINTS, Endpoint, openapi
from cluster.gateway.metrics_page import CONTENT_TYPE, render_prometheus

__all__ = ["make_app"]

_Page: TypeAlias = Callable[[Request], Awaitable[Response]]

REQUESTS_MAX: Final = 32
"""Requests worked on at once; further ones are refused at once."""
RETRY_AFTER_S: Final = 1.0
QUERY_FIELDS_MAX: Final = 20

STATUS_BY_ERROR: Final[Mapping[type[ClusterError], int]] = {
    InvalidKey: 400,
    InvalidValue: 400,
    ProtocolError: 400,
    Overloaded: 429,
    InternalError: 500,
    Draining: 503,
    Unavailable: 503,
    Timeout: 504,
}
CONTENT_TYPE_BY_ENCODING: Final[Mapping[int, str]] = {
    records.BYTES: "application/octet-stream",
    records.STR: "text/plain; charset=utf-8",
    records.MSGPACK: "application/msgpack",
    records.CUSTOM: "application/octet-stream",
}


def make_app(control: ControlFace) -> Starlette:
    """The application of one node."""
    pages = _Pages(control)
    own: Mapping[str, _Page] = {
        "/healthz": pages.healthz,
        "/readyz": pages.readyz,
        "/metrics": pages.metrics,
        "/internal/get": pages.internal_get,
        "/openapi.json": pages.openapi,
    }
    gate = _Gate()
    routes = [
        Route(each.path, gate.guard(own.get(each.path) or pages.topic(each)), methods=["GET"])
        for each in ENDPOINTS
    ]
    # Starlette's own: no such path, no such method.
    return Starlette(routes=routes, exception_handlers={HTTPException: _refused})


class _Pages:
    """One function per page."""

    def __init__(self, control: ControlFace) -> None:
        self._control = control
        self._timeout_s = control.timeout_s

    def topic(self, endpoint: Endpoint) -> _Page:
        """The page that shows the answer to a control topic."""

        async def page(request: Request) -> Response:
            query = _query(request)
            return JSONResponse(await self._control.answer(endpoint.topic, query, self._timeout_s))

        return page

    async def healthz(self, _: Request) -> Response:
        """The process runs and its loop turns."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """Whether this node serves."""
        reason = await self._control.readiness(self._timeout_s)
        if reason:
            raise Unavailable(reason)
        return JSONResponse({"status": "ready"})

    async def metrics(self, _: Request) -> Response:
        """Metrics as text."""
        return Response(
            render_prometheus(self._control.registry), headers={"content-type": CONTENT_TYPE}
        )

    async def internal_get(self, request: Request) -> Response:
        """The own copy of a key."""
        given = Arguments("get", _query(request))
        given.allow("key", "key_b64")
        copy = await self._control.own_copy(given.key(), self._timeout_s)
        if copy is None:
            raise HTTPException(404, "this node holds no visible copy of the key")
        headers = {
            "content-type": CONTENT_TYPE_BY_ENCODING[copy.encoding],
            "x-hypercache-stamp": stamp_text(copy.stamp),
        }
        if copy.expires_at_ms:
            # Seconds since the epoch, as the SDK has them.
            headers["x-hypercache-expires"] = f"{copy.expires_at_ms / 1000:.3f}"
        return Response(copy.value, headers=headers)

    async def openapi(self, _: Request) -> Response:
        """The description of this API."""
        return JSONResponse(openapi())


class _Gate:
    """Lets a bounded number of requests in, and turns errors into responses."""

    def __init__(self) -> None:
        self._inside = 0

    def guard(self, page: _Page) -> _Page:
        """The page behind the gate."""

        async def guarded(request: Request) -> Response:
            if self._inside >= REQUESTS_MAX:
                return _error(
                    Overloaded(f"{REQUESTS_MAX} requests are being worked on", RETRY_AFTER_S)
                )
            self._inside += 1
            try:
                return await page(request)
            except ClusterError as error:
                return _error(error)
            except HTTPException:
                raise
            except Exception:  # noqa: BLE001 - a bug in one page costs one response, and is logged
                logger.exception("an HTTP page failed")
                return _error(InternalError("this page failed; the log of the node says why"))
            finally:
                self._inside -= 1

        return guarded


def _error(error: ClusterError) -> Response:
    status = STATUS_BY_ERROR.get(type(error), 500)
    headers = {}
    if isinstance(error, Overloaded):
        headers["retry-after"] = f"{max(1, round(error.retry_after_s))}"
    return JSONResponse(error_body(error), status, headers)


def _refused(request: Request, error: Exception) -> Response:
    """What Starlette refuses, in the shape of all errors."""
    assert isinstance(error, HTTPException), "registered for this class"
    names = {404: "NotFound", 405: "MethodNotAllowed"}
    message = error.detail
    if error.status_code == 404 and message == "Not Found":  # noqa: PLR2004 - the code itself
        message = f"no page {request.url.path}; /openapi.json lists them"
    body = {"error": names.get(error.status_code, "HTTPException"), "message": message}
    return JSONResponse(body, error.status_code, error.headers)


def _query(request: Request) -> dict[str, Any]:
    """The query by name; bytes that are no UTF-8 survive as surrogates.

    Raises:
        InvalidValue: a name appears twice, or there are too many.
    """
    raw = request.scope["query_string"].decode("latin-1")
    try:
        pairs = urllib.parse.parse_qsl(
            raw,
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except ValueError as error:
        raise InvalidValue(f"the query cannot be read: {error}") from None
    query: dict[str, Any] = {}
    for name, value in pairs:
        if name in query:
            raise InvalidValue(f"{name!r:.80} is given twice")
        query[name] = value
    return query
