"""What the node holds, as JSON-like bodies: the shapes that users of HTTP and control see.

Pure functions from the answers of actors to plain data. Which question gets which body is said in
`control`.
"""

import base64
import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from cluster.core import record as records
from cluster.core.ring import RingView
from cluster.core.values import Stamp
from cluster.errors import ClusterError
from cluster.services.local import Members, RingStatus

if TYPE_CHECKING:
    from actors.tracing import TraceRecord

__all__ = [
    "ENCODING_NAMES",
    "STATE_ALIVE",
    "error_body",
    "members_body",
    "plain",
    "ring_body",
    "ring_head",
    "stamp_text",
    "text_or_b64",
    "trace_row",
]

STATE_ALIVE: Final = "alive"
FIRST_INCARNATION: Final = 0
"""Refutations of a member within its boot; nobody is suspected while membership is static."""

ENCODING_NAMES: Final[Mapping[int, str]] = {
    records.BYTES: "bytes",
    records.STR: "str",
    records.MSGPACK: "msgpack",
    records.CUSTOM: "custom",
}

_STAMP_HALF: Final = 8


def members_body(members: Members) -> dict[str, Any]:
    """The body of `members`."""
    return {
        "members": [
            {
                "id": each.id,
                "address": each.address,
                "state": each.state,
                "incarnation": [each.boot, FIRST_INCARNATION],
                "zone": each.zone,
                "weight": each.weight,
                "warming": each.warming,
            }
            for each in members
        ]
    }


def ring_head(view: RingView | None) -> dict[str, Any]:
    """Epoch, digest and phase; epoch 0 while there is no ring."""
    if view is None:
        return {"epoch": 0, "digest": "", "phase": "none"}
    return {"epoch": view.epoch, "digest": f"{view.digest:016x}", "phase": view.phase}


def ring_body(status: RingStatus, key: bytes | None) -> dict[str, Any]:
    """The body of `ring`; with a key also its partition and owners, the primary first."""
    view = status.view
    body = {**ring_head(view), "nodes": _shares(view), "change": None}
    if status.conflict:
        body["conflict"] = status.conflict
    if key is not None:
        body["partition"] = None if view is None else view.partition_of(key)
        body["owners"] = [] if view is None else list(view.owners_of(key))
    return body


def _shares(view: RingView | None) -> list[dict[str, Any]]:
    if view is None:
        return []
    copies = {member.id: 0 for member in view.members}
    primaries = dict(copies)
    for owners in view.table.rows:
        primaries[owners[0]] += 1
        for owner in owners:
            copies[owner] += 1
    return [
        {"id": node_id, "copies": copies[node_id], "primaries": primaries[node_id]}
        for node_id in copies
    ]


def stamp_text(stamp: Stamp) -> str:
    """A stamp as the SDK prints it: clock and boot id, 16 hexadecimal digits each."""
    return f"{stamp[:_STAMP_HALF].hex()}-{stamp[_STAMP_HALF:].hex()}"


def text_or_b64(data: bytes) -> str | dict[str, str]:
    """Bytes as text if they are UTF-8, else as `{"b64": ...}`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(data).decode()}


def error_body(error: ClusterError) -> dict[str, str]:
    """The body of an error."""
    return {"error": type(error).__name__, "message": str(error)}


def trace_row(record: "TraceRecord") -> dict[str, Any]:
    """A trace record with its ids in hexadecimal, as everything that prints traces shows them."""
    row = attrs.asdict(record)
    return row | {name: f"{row[name]:x}" for name in ("message_id", "cause_id", "chain_id")}


def plain(value: Any) -> Any:
    """Attrs objects, enums and tuples of any depth as mappings, names and lists."""
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if attrs.has(type(value)):
        return {
            field.name: plain(getattr(value, field.name)) for field in attrs.fields(type(value))
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not _finite(value):
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _finite(value: float) -> bool:
    return value - value == 0
