"""The HTTP endpoints as one table, from which both the routes and `/openapi.json` are made."""

from typing import Any, Final

import attrs

from cluster.options import release

__all__ = ["ENDPOINTS", "Endpoint", "Parameter", "openapi"]

OPENAPI_VERSION: Final = "3.1.0"
JSON: Final = "application/json"


@attrs.frozen
class Parameter:
    """A query parameter."""

    name: str
    help: str
    type: str = "string"
    required: bool = False


@attrs.frozen
class Endpoint:
    """One path, all of them GET.

    With a topic it shows the answer of the control face to that topic; without one `http_app` has a
    function for it.
    """

    path: str
    summary: str
    topic: str = ""
    parameters: tuple[Parameter, ...] = ()
    content: str = JSON
    failures: tuple[int, ...] = ()


_KEY_B64: Final = Parameter("key_b64", "the key in base64, in place of `key`")

ENDPOINTS: Final = (
    Endpoint("/healthz", "The process runs."),
    Endpoint("/readyz", "This node serves; 503 with the reason otherwise.", failures=(503, 504)),
    Endpoint("/metrics", "Metrics for Prometheus.", content="text/plain"),
    Endpoint("/cluster/members", "Every member as this node sees it.", "members"),
    Endpoint(
        "/cluster/ring",
        "Who owns how much of the ring; with a key also its partition and owners.",
        "ring",
        (Parameter("key", "show the owners of this key"), _KEY_B64),
        failures=(400,),
    ),
    Endpoint("/dist/status", "What this node says of itself.", "status"),
    Endpoint("/dist/stats", "Every metric as JSON.", "stats"),
    Endpoint("/dist/latency", "Latency histograms of operations.", "latency"),
    Endpoint("/dist/config", "Every option of this node.", "config"),
    Endpoint(
        "/internal/get",
        "This node's own copy of a key: the raw value; for debugging.",
        parameters=(Parameter("key", "the key, percent-encoded"), _KEY_B64),
        content="application/octet-stream",
        failures=(400, 404),
    ),
    Endpoint(
        "/internal/keys",
        "A page of this node's own keys.",
        "keys",
        (
            Parameter("cursor", "where to go on; from the page before"),
            Parameter("limit", "most keys of a page, 1 to 1000", "integer"),
            Parameter("prefix", "only keys that begin so"),
            Parameter("prefix_b64", "the prefix in base64"),
            Parameter("match", "only keys like this: * ? [a-z]"),
            Parameter("match_b64", "the pattern in base64"),
        ),
        failures=(400,),
    ),
    Endpoint("/actors", "The tree of actors: states, queues, times.", "actors"),
    Endpoint(
        "/actors/trace",
        "The trace records in memory of one request.",
        "trace",
        (Parameter("chain", "hexadecimal id of the request", required=True),),
        failures=(400,),
    ),
    Endpoint("/openapi.json", "This description."),
)

_STATUS: Final = {
    400: "An argument is unknown, missing or bad.",
    404: "Absent, deleted or expired.",
    429: "A limit was reached; try again after Retry-After.",
    500: "The node failed while it worked on this.",
    503: "Not served now.",
    504: "No answer in time.",
}
_ALWAYS: Final = (429, 500, 504)
_ERROR_SCHEMA: Final = {
    "type": "object",
    "required": ["error", "message"],
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
}


def openapi() -> dict[str, Any]:
    """The description of all endpoints."""
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "HyperCache node", "version": release()},
        "paths": {each.path: {"get": _operation(each)} for each in ENDPOINTS},
        "components": {"schemas": {"Error": _ERROR_SCHEMA}},
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    failed = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: dict[str, Any] = {
        "200": {"description": "Done.", "content": {endpoint.content: {}}},
    }
    for code in sorted({*_ALWAYS, *endpoint.failures}):
        responses[str(code)] = {"description": _STATUS[code], "content": failed}
    return {
        "summary": endpoint.summary,
        "operationId": endpoint.path.strip("/").replace("/", "_").replace(".", "_"),
        "parameters": [
            {
                "name": each.name,
                "in": "query",
                "required": each.required,
                "description": each.help,
                "schema": {"type": each.type},
            }
            for each in endpoint.parameters
        ],
        "responses": responses,
    }
