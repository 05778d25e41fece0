"""What a caller wants done, and the requests that carry it to nodes.

An `Operation` is one call of a user: a batch of keys with one level, one deadline and an outcome
per key. It travels as one or more `Part`s; each is one request to one node. A part that was refused
is replaced by new parts with new request ids; a part whose connection broke keeps its id, because
the node may know it.

The objects are only data and the building of wire messages. Who is asked, and what an answer means,
is decided in `_core` and `_replies`.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from cluster.core.backoff import Backoff
from cluster.core.operations import ClientRequest, Delete, Read, Touch, Write
from cluster.core.values import Level
from cluster.wire.control import ControlRequest

if TYPE_CHECKING:
    from cluster.client._bundles import Bundle
    from cluster.client._links import Link

__all__ = [
    "OPEN",
    "ControlOperation",
    "DeleteOperation",
    "Operation",
    "Part",
    "ReadOperation",
    "Request",
    "TouchOperation",
    "WriteOperation",
]

Request = ClientRequest | ControlRequest


class _Mark(enum.Enum):
    OPEN = enum.auto()


OPEN: Final = _Mark.OPEN
"""The outcome of a key that has none yet."""


@attrs.define(eq=False)
class Operation:
    """A batch of keys on its way to an outcome each.

    An outcome is what the kind of operation answers (a record or None, a stamp, a body) or a
    `ClusterError`.
    """

    moves_freely: ClassVar[bool] = False
    """Whether it may be asked of another node although a node that has it might still do it."""

    level: Level
    deadline: float
    """Seconds on the client's clock."""
    keys: list[bytes]
    outcomes: list[Any] = attrs.field(init=False)
    open: int = attrs.field(init=False)
    """Keys without an outcome."""
    request_ids: tuple[int, ...] = attrs.field(init=False, default=())
    """Every id it ever travelled under."""
    backoff: Backoff | None = attrs.field(init=False, default=None)
    """How long it waits when it is put off; None until it was."""
    silent_node: str = attrs.field(init=False, default="")
    """A node that had a part of it and gave no answer before it was asked of another."""
    asked: int = attrs.field(init=False, default=0)
    answered: int = attrs.field(init=False, default=0)
    epoch: int = attrs.field(init=False, default=0)
    done: bool = attrs.field(init=False, default=False)
    """All outcomes are there, or the caller has left."""
    alone: bool = attrs.field(init=False, default=False)
    """Its requests are not bundled with others (any more)."""
    waiter: Any = attrs.field(init=False, default=None)
    """The driver's own: who waits for it."""

    def __attrs_post_init__(self) -> None:
        self.open = count = len(self.keys)
        self.outcomes = [OPEN] * count

    def request(self, request_id: int, indices: Sequence[int] | None) -> Request:
        """The wire message for some of the keys, or for all (None)."""
        raise NotImplementedError

    def settle(self, index: int, outcome: Any) -> None:
        """Give a key its outcome; the first one stays."""
        if self.outcomes[index] is OPEN:
            self.outcomes[index] = outcome
            self.open -= 1


@attrs.define(eq=False)
class ReadOperation(Operation):
    """Outcome: the record, or None."""

    moves_freely: ClassVar[bool] = True

    def request(self, request_id: int, indices: Sequence[int] | None) -> Read:
        """A `Read`."""
        return Read(request_id, self.level, self.deadline, _rows(self.keys, indices))


@attrs.define(eq=False)
class WriteOperation(Operation):
    """Outcome: the stamp."""

    bodies: list[bytes]
    ttl_ms: int = 0

    def request(self, request_id: int, indices: Sequence[int] | None) -> Write:
        """A `Write`."""
        keys, bodies = self.keys, self.bodies
        if indices is not None:
            keys, bodies = _rows(keys, indices), _rows(bodies, indices)
        return Write(request_id, self.level, self.deadline, keys, bodies, self.ttl_ms)


@attrs.define(eq=False)
class DeleteOperation(Operation):
    """Outcome: the stamp of the tombstone."""

    def request(self, request_id: int, indices: Sequence[int] | None) -> Delete:
        """A `Delete`."""
        return Delete(request_id, self.level, self.deadline, _rows(self.keys, indices))


@attrs.define(eq=False)
class TouchOperation(Operation):
    """Outcome: the stamp, empty where the key is not there."""

    ttl_ms: int

    def request(self, request_id: int, indices: Sequence[int] | None) -> Touch:
        """A `Touch`."""
        keys = _rows(self.keys, indices)
        return Touch(request_id, self.level, self.deadline, keys, self.ttl_ms)


@attrs.define(eq=False)
class ControlOperation(Operation):
    """A question of the control protocol; it has one pseudo-key. Outcome: the body of the reply."""

    topic: str
    arguments: Mapping[str, str | int | float | bool]
    node: str | None
    """Id or address of the node to ask; None: any."""

    def request(self, request_id: int, indices: Sequence[int] | None) -> ControlRequest:
        """A `ControlRequest`."""
        del indices
        return ControlRequest(request_id, self.deadline, self.topic, dict(self.arguments))


@attrs.define(eq=False)
class Part:
    """One request to one node."""

    request_id: int
    operation: Operation
    indices: Sequence[int] | None
    """Which keys of the operation; None: all, in order."""
    message: Request
    link: "Link"
    tried: tuple[int, ...]
    """Boots of the nodes that refused these keys before."""
    sent: bool = False
    """Whether it may have left this process, on this connection or an earlier one."""
    on_wire: bool = False
    """Whether it is counted in the link's `outstanding`."""
    bundle: "Bundle | None" = None
    """What it left in, with others; to be repeated as that."""
    repeat_until: float | None = None
    """Not None: it is being repeated, so that a refusal says nothing of the first copy; the node
    recognises repeats until then, at least.
    """
    put_off: bool = False
    """Its repeat was refused and is to be made again."""

    def index_of(self, position: int) -> int:
        """Index in the operation of the key at a position of the message."""
        return position if self.indices is None else self.indices[position]

    def all_indices(self) -> Sequence[int]:
        """Indices in the operation of all keys."""
        return range(len(self.operation.keys)) if self.indices is None else self.indices


def _rows(column: list[bytes], indices: Sequence[int] | None) -> list[bytes]:
    """The chosen rows of a column."""
    return column if indices is None else [column[index] for index in indices]
