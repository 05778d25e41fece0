"""A trace record as a line of text or as a JSON object. Ids are hexadecimal in both."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

import attrs

from actors._trace import TraceLog, TraceRecord

ID_FIELDS: Final = ("message_id", "cause_id", "chain_id")
WALL_FROM: Final = 1e8  # smaller times are not of a wall clock (a simulated run): shown as seconds


@attrs.frozen
class Entry:
    """A record, the node it is from, and its time on the wall clock, by the node's anchor."""

    wall_s: float
    node: str
    record: TraceRecord


def text(entry: Entry) -> str:
    """One line: when, where, what, to which message, why."""
    record = entry.record
    parts = [
        time_text(entry.wall_s),
        entry.node,
        f"{record.kind:<7}",
        f"{record.actor or '-'}.{record.incarnation}",
        record.type or "-",
    ]
    parts += [
        f"{label}={value:x}"
        for label, value in (
            ("id", record.message_id),
            ("cause", record.cause_id),
            ("chain", record.chain_id),
        )
        if value
    ]
    if record.queue_len:
        parts.append(f"queue={record.queue_len}")
    if record.waited:
        parts.append(f"waited={record.waited * 1000:.3f}ms")
    if record.took:
        parts.append(f"took={record.took * 1000:.3f}ms")
    if record.bytes:
        parts.append(f"size={record.bytes}")
    if record.outcome:
        parts.append(record.outcome)
    return " ".join(parts)


def line_of(record: TraceRecord, trace: TraceLog) -> str:
    """One line, as `python -m actors` would print it, for a record that is still in the ring."""
    return text(Entry(trace.anchor_s + record.at, trace.node, record))


def time_text(wall_s: float) -> str:
    """A time of day in UTC with microseconds, or plain seconds of a simulated run."""
    if wall_s < WALL_FROM:
        return f"{wall_s:.6f}"
    at = dt.datetime.fromtimestamp(wall_s, dt.UTC)
    return at.strftime("%H:%M:%S.%f")


def as_json(entry: Entry) -> str:
    """One object with node, wall_s and all fields of the record."""
    fields: dict[str, Any] = {"node": entry.node, "wall_s": round(entry.wall_s, 9)}
    fields |= attrs.asdict(entry.record)
    for name in ID_FIELDS:
        fields[name] = f"{fields[name]:x}"
    return json.dumps(fields)
