"""One client request on its way through a node, and the reply that it ends in.

A request may travel in several rounds (its keys belong to different owners, or had to be
restamped); each carries a `Part` of it. The request is settled when no part is open, and is then
answered once.
"""

from collections.abc import Sequence
from typing import Final

import attrs

from cluster.core import record as rec
from cluster.core.operations import (
    ClientReply,
    Failure,
    FailureCode,
    ReadReply,
    Refused,
    TouchReply,
    WriteReply,
    chain_of,
)
from cluster.core.values import Level

__all__ = ["DELETE", "GET", "SET", "TOUCH", "Part", "Pending"]

SET: Final = "set"
GET: Final = "get"
DELETE: Final = "delete"
TOUCH: Final = "touch"

OK: Final = "ok"
LEVEL_NAMES: Final = ("", *(level.name for level in Level))

REPLY_ITEM_BYTES: Final = 8
"""Counted for each record of a reply beside its bytes, for what its encoding adds."""


@attrs.define(eq=False)
class Pending:
    """A client request that is not answered yet.

    `deadline` and `started` are seconds on the node's clock.
    """

    op: str
    session_id: int
    request_id: int
    level: int
    deadline: float
    started: float
    keys: list[bytes]
    size_bytes: int = 0
    """Keys and records together, for limits on what travels in one round."""
    ttl_ms: int = 0
    stamp: bytes = b""
    open_parts: int = 0
    asked: int = 0
    answered: int = 0
    writing: bool = False
    """For touch: whether the second stage, writing the raised expiry, has begun."""
    took_s: float = 0.0
    """From reading the request to answering it; set when it is answered."""
    records: list[bytes | None] = attrs.field(factory=list)
    """What reading found, by index of the key; for get and touch."""
    restamped: dict[int, bytes] | None = None
    """Stamps of keys that had to be written again, by index; None: there are none."""
    failures: dict[int, Failure] | None = None
    """What failed, by index of the key; None: nothing so far."""

    @property
    def chain(self) -> int:
        """The id of this request in the trace."""
        return chain_of(self.session_id, self.request_id)

    @property
    def level_name(self) -> str:
        """The level as people write it."""
        return LEVEL_NAMES[self.level]

    def fail(self, indices: Sequence[int], code: FailureCode, message: str) -> None:
        """Let these keys fail; the first failure of a key is the one that is told."""
        if self.failures is None:
            self.failures = {}
        for index in indices:
            if index not in self.failures:
                self.failures[index] = Failure(index, code, message)

    @property
    def outcome(self) -> str:
        """`ok`, or the lower-case name of the first failure: the label of metrics and traces."""
        if not self.failures:
            return OK
        return next(iter(self.failures.values())).code.name.lower()

    def reply(self, wall_ms: int, reply_bytes_max: int) -> ClientReply:
        """The answer; `Refused` if no key of the request was done.

        Args:
            wall_ms: decides what has expired.
            reply_bytes_max: records beyond it are left out, and their keys fail as `OVERLOADED`.
        """
        if self.op == GET:
            self._leave_out(reply_bytes_max)
        failures = list(self.failures.values()) if self.failures else []
        if len(failures) == len(self.keys) and len({each.code for each in failures}) == 1:
            first = failures[0]
            return Refused(self.request_id, first.code, first.message)
        if self.op == GET:
            seen = [_as_seen(record, wall_ms) for record in self.records]
            return ReadReply(self.request_id, seen, failures, self.asked, self.answered)
        if self.op == TOUCH:
            stamps = [
                record[: rec.HEADER_BYTES - 1]
                if record is not None and rec.is_visible(record, wall_ms)
                else b""
                for record in self.records
            ]
            return TouchReply(self.request_id, stamps, failures, self.asked, self.answered)
        restamped = list(self.restamped.items()) if self.restamped else []
        return WriteReply(
            self.request_id, self.stamp, restamped, failures, self.asked, self.answered
        )

    def _leave_out(self, reply_bytes_max: int) -> None:
        """Keep the reply below the size of a frame; the client asks again for the rest."""
        size, records = 0, list(self.records)
        for index, record in enumerate(records):
            size += REPLY_ITEM_BYTES + (0 if record is None else len(record))
            if size > reply_bytes_max and index:
                text = "the reply is full: ask again for this key, and for fewer keys at once"
                self.fail((index,), FailureCode.OVERLOADED, text)
                records[index] = None
        self.records = records


def _as_seen(record: bytes | None, wall_ms: int) -> bytes | None:
    """The record as a client sees it.

    An expired one has no value, though a replica may still keep it.
    """
    if record is not None and rec.is_expired(record, wall_ms):
        return rec.gone(record)
    return record


@attrs.define(eq=False)
class Part:
    """The keys of one request that travel in one round, at positions `start`, `start + 1`, ...

    Of it.
    """

    request: Pending
    start: int
    indices: Sequence[int]
    """Index in the request of each key, in the order of the round."""
    open: bool = True

    def index_at(self, position: int) -> int | None:
        """Index in the request of the key at a position of the round.

        Or None if it is another's.
        """
        offset = position - self.start
        return self.indices[offset] if 0 <= offset < len(self.indices) else None
