"""What an answer of a node means for the operation that it belongs to.

`Replies.settle` puts what was done into the operation's outcomes and returns what was refused, key
by key; `next_step` is the rule of what to do about a refusal. The rule is the one that keeps a
write from being seen twice: only what was certainly not executed may be asked of another node,
unless it is a read.
"""

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from cluster.client._operation import Operation, Part, TouchOperation, WriteOperation
from cluster.client._session import Session
from cluster.core.clock import STAMP_BYTES
from cluster.core.operations import (
    Delete,
    Failure,
    FailureCode,
    Read,
    ReadReply,
    Refused,
    Touch,
    TouchReply,
    Write,
    WriteReply,
)
from cluster.core.record import HEADER_BYTES
from cluster.core.values import Level
from cluster.errors import ClusterError, ProtocolError, Unavailable, error_for
from cluster.wire.control import ControlReply, ControlRequest

__all__ = [
    "BEFORE_A_LOOK",
    "ONE_IS_BAD",
    "REPLY_TYPES",
    "NextStep",
    "Refusal",
    "Replies",
    "left_out",
    "next_step",
    "refusal_of",
]

ONE_IS_BAD: Final = frozenset((FailureCode.INVALID, FailureCode.VALUE_TOO_LARGE))
"""Refusals of a whole request that one bad key or value is enough for."""
BEFORE_A_LOOK: Final = frozenset(
    (
        FailureCode.OVERLOADED,
        FailureCode.UNAVAILABLE,
        FailureCode.NOT_OWNER,
        FailureCode.DRAINING,
        FailureCode.CLOCK_SKEW,
    )
)
"""Refusals that a node may give without a look at what it has done: they say nothing of an earlier
copy of the same request.
"""

_MS_PER_S: Final = 1000
_KEY_SHOWN_BYTES: Final = 64


@attrs.frozen
class Refusal:
    """A key of an operation that an answer did not settle.

    Attributes:
        index: of the key in the operation.
        code: why; None: the answer was older than what this session has seen.
        message: the node's words.
        retry_after_s: how long to wait before the same node is asked again.
        left_out: the answer was full before it came to this key: any node may be asked for it at
        once.
    """

    index: int
    code: FailureCode | None
    message: str
    retry_after_s: float = 0.0
    left_out: bool = False

    def error(self) -> ClusterError:
        """What the caller is told if nothing else helps."""
        if self.code is None:
            return Unavailable(self.message)
        return error_for(self.code, self.message, self.retry_after_s)


class NextStep(enum.Enum):
    """What to do about a refusal."""

    FAIL = enum.auto()
    """Tell the caller."""
    MOVE = enum.auto()
    """Ask another node at once."""
    WAIT = enum.auto()
    """Ask again later, as far as the retry budget allows."""


_NOT_EXECUTED: Final[Mapping[FailureCode | None, NextStep]] = MappingProxyType(
    {
        None: NextStep.MOVE,
        FailureCode.UNAVAILABLE: NextStep.MOVE,
        FailureCode.DRAINING: NextStep.MOVE,
        FailureCode.NOT_OWNER: NextStep.MOVE,
        FailureCode.OVERLOADED: NextStep.WAIT,
    }
)
_AFTER_ALL_WERE_ASKED: Final[Mapping[FailureCode | None, NextStep]] = MappingProxyType(
    {FailureCode.DRAINING: NextStep.WAIT, FailureCode.NOT_OWNER: NextStep.WAIT}
)


def next_step(operation: Operation, code: FailureCode | None, *, node_left: bool) -> NextStep:
    """What to do about a refusal.

    Args:
        operation: what was refused.
        code: why; None for an answer that is too old for the session.
        node_left: whether there is a node that was not asked yet.
    """
    step = _NOT_EXECUTED.get(code, NextStep.FAIL)
    if code is FailureCode.INTERNAL and operation.moves_freely:
        step = NextStep.MOVE
    if step is NextStep.MOVE and not node_left:
        return _AFTER_ALL_WERE_ASKED.get(code, NextStep.FAIL)
    return step


class Replies:
    """Settles operations by answers, and keeps the session's memory up to date."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._rules: dict[type[Any], tuple[tuple[type[Any], ...], Callable[..., list[Refusal]]]] = {
            WriteReply: ((Write, Delete), self._wrote),
            ReadReply: ((Read,), self._read),
            TouchReply: ((Touch,), self._touched),
            Refused: ((Write, Delete, Read, Touch, ControlRequest), _refused),
            ControlReply: ((ControlRequest,), _control),
        }

    def settle(self, part: Part, reply: Any) -> list[Refusal]:
        """Put what an answer says into the operation.

        Returns:
            The keys that it refused; empty if every key of the part has its outcome now.

        Raises:
            ProtocolError: the answer does not fit the request. Nothing was settled.
        """
        requests, rule = self._rules[type(reply)]
        if type(part.message) not in requests:
            raise _unfit(part, reply)
        return rule(part, reply)

    def _wrote(self, part: Part, reply: WriteReply) -> list[Refusal]:
        operation, keys = part.operation, part.message.keys  # type: ignore[union-attr] # Write or Delete
        if reply.failures or reply.restamped:
            return self._wrote_in_part(part, keys, reply)
        if len(reply.stamp) != STAMP_BYTES:
            raise _unfit(part, reply)
        stamp = reply.stamp
        self._remember(operation, keys, stamp)
        if part.indices is None:
            operation.outcomes = [stamp] * len(keys)
            operation.open = 0
            return []
        for index in part.indices:
            operation.settle(index, stamp)
        return []

    def _wrote_in_part(self, part: Part, keys: list[bytes], reply: WriteReply) -> list[Refusal]:
        failures = _failures(part, reply, len(keys))
        stamps = dict(reply.restamped)
        for position, key in enumerate(keys):
            stamp = stamps.get(position, reply.stamp)
            if position in failures:
                continue
            if len(stamp) != STAMP_BYTES:
                raise _unfit(part, reply)
            self._remember(part.operation, [key], stamp)
            part.operation.settle(part.index_of(position), stamp)
        return list(failures.values())

    def _remember(self, operation: Operation, keys: list[bytes], stamp: bytes) -> None:
        if type(operation) is WriteOperation:
            self._session.wrote(keys, stamp, operation.ttl_ms, deleted=False)
        else:
            self._session.wrote(keys, stamp, 0, deleted=True)

    def _read(self, part: Part, reply: ReadReply) -> list[Refusal]:
        operation, keys = part.operation, part.message.keys  # type: ignore[union-attr] # a Read
        records = reply.records
        if len(records) != len(keys):
            raise _unfit(part, reply)
        for record in records:
            if record is not None and len(record) < HEADER_BYTES:
                raise _unfit(part, reply)
        operation.asked, operation.answered = reply.asked, reply.answered
        if reply.failures or operation.level is Level.ONE:
            return self._read_in_part(part, keys, reply)
        self._session.read(keys, records)
        if part.indices is None:
            operation.outcomes = records
            operation.open = 0
            return []
        for position, index in enumerate(part.indices):
            operation.settle(index, records[position])
        return []

    def _read_in_part(self, part: Part, keys: list[bytes], reply: ReadReply) -> list[Refusal]:
        refusals = _failures(part, reply, len(keys))
        check_age = part.operation.level is Level.ONE
        for position, key in enumerate(keys):
            if position in refusals:
                continue
            record = reply.records[position]
            index = part.index_of(position)
            if check_age and self._session.is_stale(key, record):
                refusals[position] = Refusal(index, None, _too_old(key, part.link.node_id))
            else:
                self._session.read([key], [record])
                part.operation.settle(index, record)
        if len(refusals) == len(keys):
            return list(refusals.values())
        return [left_out(refusal) for refusal in refusals.values()]

    def _touched(self, part: Part, reply: TouchReply) -> list[Refusal]:
        operation, keys = part.operation, part.message.keys  # type: ignore[union-attr] # a Touch
        if len(reply.stamps) != len(keys) or any(
            len(stamp) not in (0, STAMP_BYTES) for stamp in reply.stamps
        ):
            raise _unfit(part, reply)
        failures = _failures(part, reply, len(keys))
        if isinstance(operation, TouchOperation):
            self._session.touched(keys, reply.stamps, operation.ttl_ms)
        for position, stamp in enumerate(reply.stamps):
            if position not in failures:
                operation.settle(part.index_of(position), stamp)
        return list(failures.values())


def left_out(refusal: Refusal) -> Refusal:
    """Overloaded for some keys and not for others: there was no room in the reply."""
    if refusal.code is FailureCode.OVERLOADED:
        return attrs.evolve(refusal, left_out=True)
    return refusal


def refusal_of(index: int, reply: Refused) -> Refusal:
    """What the refusal of a whole request says about one of its keys."""
    return Refusal(index, reply.code, reply.message, reply.retry_after_ms / _MS_PER_S)


def _refused(part: Part, reply: Refused) -> list[Refusal]:
    return [refusal_of(index, reply) for index in part.all_indices()]


def _control(part: Part, reply: ControlReply) -> list[Refusal]:
    part.operation.settle(0, reply.body)
    return []


def _failures(
    part: Part, reply: WriteReply | ReadReply | TouchReply, keys: int
) -> dict[int, Refusal]:
    """The refused keys of a part by their position in it."""
    failures: dict[int, Refusal] = {}
    for failure in reply.failures:
        if not 0 <= failure.index < keys:
            raise _unfit(part, reply)
        failures[failure.index] = _refusal(part, failure)
    return failures


def _refusal(part: Part, failure: Failure) -> Refusal:
    return Refusal(part.index_of(failure.index), failure.code, failure.message)


def _too_old(key: bytes, node_id: str) -> str:
    return (
        f"key {key[:_KEY_SHOWN_BYTES]!r} at ONE: node {node_id} answered something older than "
        "this session has seen, and no other owner could be asked; read it at QUORUM or try again"
    )


def _unfit(part: Part, reply: Any) -> ProtocolError:
    return ProtocolError(
        f"node {part.link.node_id} answered a {type(part.message).__name__} with a "
        f"{type(reply).__name__} that does not fit it"
    )


REPLY_TYPES: Final = frozenset({WriteReply, ReadReply, TouchReply, Refused, ControlReply})
