"""What clients ask of a node and what nodes ask of each other, as plain data.

Every operation is a batch: a single `set` is a `Write` of one key. One request has one level, one
deadline and one reply; keys and their values are columns (lists of equal length), because a
message inside a batch is far cheaper than a message of its own. Stamps, records, bodies and
versions are the bytes of `core.record`.

Deadlines are seconds on the clock of the process that holds the object. On the wire they travel as
the remaining budget, computed when the frame is written, because clocks of two machines differ;
that is the codec's business.

What travels per request is not frozen, because that triples what making one costs; nobody changes a
message all the same.

The types live in the core because the quorum machines consume and produce them. They know nothing
of encoding.
"""

import enum
from typing import TypeAlias

import attrs

__all__ = [
    "ClientReply",
    "ClientRequest",
    "Delete",
    "Failure",
    "FailureCode",
    "Read",
    "ReadReply",
    "Refused",
    "ReplicaMessage",
    "ReplicaRead",
    "ReplicaReadReply",
    "ReplicaReply",
    "ReplicaRequest",
    "ReplicaWrite",
    "ReplicaWriteReply",
    "Settled",
    "Touch",
    "TouchReply",
    "Write",
    "WriteReply",
    "chain_of",
]


class FailureCode(enum.IntEnum):
    """Why an operation, or one key of it, was not done; the number is part of the protocol."""

    UNAVAILABLE = 1
    """Too few owners are reachable for the level; nothing was attempted."""
    TIMEOUT = 2
    """The deadline passed after sending; whether a write took effect is unknown."""
    OVERLOADED = 3
    """A limit was reached; nothing was attempted."""
    CLOCK_SKEW = 4
    """A stamp or clock was further ahead than the offset limit; nothing was attempted."""
    DRAINING = 5
    """The node is leaving; nothing was attempted."""
    NOT_OWNER = 6
    """The node asked has another ring than the one who asks; nothing was attempted."""
    INVALID = 7
    """A key, value, ttl or level is out of its limits; nothing was attempted."""
    VALUE_TOO_LARGE = 8
    """A value exceeds the node's limit; nothing was attempted."""
    INTERNAL = 9
    """The node failed while it worked on the request; whether a write took effect is unknown."""


@attrs.frozen
class Failure:
    """The failure of one key of a batch."""

    index: int
    code: FailureCode
    message: str


# --------------------------------------------------------------------------- client -> node


@attrs.define
class Write:
    """Set each key to its body.

    All keys of one request share one stamp, unless a key had to be restamped.
    """

    request_id: int
    level: int
    deadline: float
    keys: list[bytes]
    bodies: list[bytes]
    ttl_ms: int = 0
    """Time to live of all keys in milliseconds; 0: no expiry."""


@attrs.define
class Delete:
    """Write a tombstone for each key, whether or not it is there."""

    request_id: int
    level: int
    deadline: float
    keys: list[bytes]


@attrs.define
class Read:
    """Read each key."""

    request_id: int
    level: int
    deadline: float
    keys: list[bytes]


@attrs.frozen
class Touch:
    """Raise the expiry of each key that is there to now + ttl.

    Never shortens, never overwrites a newer write.
    """

    request_id: int
    level: int
    deadline: float
    keys: list[bytes]
    ttl_ms: int


@attrs.frozen
class Settled:
    """The client has the outcome of all its requests below this id.

    What is kept to answer repeats can go.
    """

    below: int


def chain_of(session_id: int, request_id: int) -> int:
    """The id under which every trace record of one client request is found, on every node.

    The low 32 bits of the session above the low 32 bits of the request: readable in hexadecimal,
    and known to the client without asking.
    """
    return (session_id & 0xFFFFFFFF) << 32 | (request_id & 0xFFFFFFFF)


ClientRequest: TypeAlias = Write | Delete | Read | Touch


# --------------------------------------------------------------------------- node -> client


@attrs.define
class WriteReply:
    """The outcome of a `Write` or `Delete`.

    A key that is in `failures` failed; a key in `restamped` was written with that stamp; every
    other key was written with `stamp`.
    """

    request_id: int
    stamp: bytes
    restamped: list[tuple[int, bytes]]
    failures: list[Failure]
    asked: int
    answered: int


@attrs.define
class ReadReply:
    """The outcome of a `Read`: a record per key, None where no owner asked has one.

    Tombstones and expired records (as GONE) are answered as records, because a session needs their
    stamps.
    """

    request_id: int
    records: list[bytes | None]
    failures: list[Failure]
    asked: int
    answered: int


@attrs.frozen
class TouchReply:
    """The outcome of a `Touch`: the stamp of each key, empty where the key is not there."""

    request_id: int
    stamps: list[bytes]
    failures: list[Failure]
    asked: int
    answered: int


@attrs.frozen
class Refused:
    """The whole request was not done."""

    request_id: int
    code: FailureCode
    message: str
    retry_after_ms: int = 0


ClientReply: TypeAlias = WriteReply | ReadReply | TouchReply | Refused


# --------------------------------------------------------------------------- node <-> node


@attrs.define
class ReplicaWrite:
    """Merge each record into the receiver's copy.

    `round_id` is a message id of the sender, unique over all nodes; a repeat has the same id and
    the same records. `chains` are the client requests this serves, for the trace.
    """

    round_id: int
    deadline: float
    keys: list[bytes]
    records: list[bytes]
    chains: list[int]


@attrs.define
class ReplicaWriteReply:
    """Every record was merged, except that the receiver held a higher stamp for the listed indices.

    `boot` is the boot of the replica that answers. With `refused` not 0 (a `FailureCode`) nothing
    was merged.
    """

    round_id: int
    boot: int
    higher: list[tuple[int, bytes]]
    refused: int = 0


@attrs.define
class ReplicaRead:
    """Answer the own copy of each key.

    `versions` (see `core.record.version`; empty bytes for absent) are those that the sender holds,
    or an empty list: keys whose version is equal are left out of the reply.
    """

    round_id: int
    deadline: float
    keys: list[bytes]
    versions: list[bytes]
    chains: list[int]
    after: int = 0
    """How many keys of the round stand before these; the answer says it again."""


@attrs.define
class ReplicaReadReply:
    """The records of the listed indices.

    The others below `covered` are equal to the versions that were sent.

    A reply never outgrows a frame: a replica answers the first `covered` keys and is asked again
    for the rest.
    """

    round_id: int
    boot: int
    covered: int
    indices: list[int]
    records: list[bytes | None]
    refused: int = 0
    after: int = 0
    """That of the question: a repeated answer to an earlier one is not taken for the next."""


ReplicaRequest: TypeAlias = ReplicaWrite | ReplicaRead
ReplicaReply: TypeAlias = ReplicaWriteReply | ReplicaReadReply
ReplicaMessage: TypeAlias = ReplicaRequest | ReplicaReply
