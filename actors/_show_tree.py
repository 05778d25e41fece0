"""One request as a tree over all nodes: who sent what because of what.

Records are gathered by message id, and a message hangs below the one that caused it. The notes of
an application (what travels inside batches) take part: with a message id of their own as messages,
without one as leaves of their cause.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs

from actors._show_lines import Entry, time_text

RECORDS_MAX: Final = 20_000  # of one chain that are kept; what is beyond is counted


@attrs.define
class Message:
    """All that is known of one message, from records of any node."""

    message_id: int
    cause_id: int = 0
    type: str = ""
    actor: str = ""
    node: str = ""
    at_s: float = 0.0
    bytes: int = 0
    waited_s: float = 0.0
    took_s: float = 0.0
    ends: list[str] = attrs.field(factory=list)

    def add(self, entry: Entry) -> None:
        """Take in one more record; they come in order of time."""
        record = entry.record
        if not self.node:
            self.node, self.at_s = entry.node, entry.wall_s
            self.actor, self.type = record.actor, record.type
        self.cause_id = self.cause_id or record.cause_id
        self.bytes = self.bytes or record.bytes
        if record.kind == "deliver":
            self.waited_s = record.waited
        elif record.kind in {"handle", "note"}:
            self.took_s = self.took_s or record.took
        if record.outcome or record.kind not in {"send", "deliver", "handle", "note"}:
            self.ends.append(f"{record.kind}:{record.outcome}" if record.outcome else record.kind)


@attrs.define
class ChainTree:
    """The messages of one chain."""

    chain: int
    messages: dict[int, Message] = attrs.field(factory=dict)
    left_out: int = 0
    _records: int = 0
    _notes: int = 0

    def add(self, entry: Entry) -> None:
        """Take in a record of the chain."""
        if self._records >= RECORDS_MAX:
            self.left_out += 1
            return
        self._records += 1
        key = entry.record.message_id
        if key == 0:
            self._notes += 1
            key = -self._notes  # a leaf of its own
        message = self.messages.get(key)
        if message is None:
            message = self.messages[key] = Message(entry.record.message_id)
        message.add(entry)

    def walk(self) -> Iterator[tuple[int, Message]]:
        """Depth and message, causes before effects, in order of time."""
        below: dict[int, list[int]] = {}
        roots: list[int] = []
        for key, message in self.messages.items():
            if message.cause_id in self.messages and message.cause_id != key:
                below.setdefault(message.cause_id, []).append(key)
            else:
                roots.append(key)
        seen: set[int] = set()
        # What is left after the roots is a circle of causes, as only a broken file has.
        for root in [*roots, *self.messages]:
            stack = [(0, root)]
            while stack:
                depth, key = stack.pop()
                if key in seen:
                    continue
                seen.add(key)
                yield depth, self.messages[key]
                stack.extend((depth + 1, child) for child in reversed(below.get(key, ())))


def gather(entries: Iterable[Entry], chain: int) -> ChainTree:
    """The tree of one chain."""
    tree = ChainTree(chain)
    for entry in entries:
        tree.add(entry)
    return tree


def text(tree: ChainTree) -> Iterator[str]:
    """The tree as indented lines; times since its first record."""
    begin_s: float | None = None
    for depth, message in tree.walk():
        if begin_s is None:
            begin_s = message.at_s
            yield f"chain {tree.chain:x} at {time_text(begin_s)}"
        yield "  " * (depth + 1) + _line(message, begin_s)
    if tree.left_out:
        yield f"... and {tree.left_out} more records"


def _line(message: Message, begin_s: float) -> str:
    parts = [
        f"{(message.at_s - begin_s) * 1000:+.3f}ms",
        message.node,
        message.actor,
        message.type,
    ]
    if message.message_id:
        parts.append(f"id={message.message_id:x}")
    if message.waited_s:
        parts.append(f"waited={message.waited_s * 1000:.3f}ms")
    if message.took_s:
        parts.append(f"took={message.took_s * 1000:.3f}ms")
    if message.bytes:
        parts.append(f"size={message.bytes}")
    return " ".join(parts + message.ends)


def as_json_lines(tree: ChainTree) -> Iterator[str]:
    """One object a message, in the order of the tree, with its depth."""
    for depth, message in tree.walk():
        fields: dict[str, Any] = {"depth": depth, **attrs.asdict(message)}
        for name in ("message_id", "cause_id"):
            fields[name] = f"{fields[name]:x}"
        yield json.dumps(fields)
