"""The ring: who the members are, at which epoch, and hence who owns what.

A `RingView` is an immutable picture of the ring. Every node that holds the same members at the same
epoch computes the same owners, so that a view travels as a short list of members and never as a
table. Its digest tells two nodes in eight bytes whether they agree.

It does not say who is alive: liveness never changes ownership. How a node comes by its view is the
business of `ring_state`.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias

import attrs
import xxhash

from cluster.core.placement import (
    PLACEMENT_VERSION,
    WEIGHT_MAX,
    WEIGHT_MIN,
    Member,
    Table,
    place,
)
from cluster.core.values import (
    CoreError,
    NodeId,
    check_node_id,
    partition_of,
    partition_shift,
    quorum,
)

FIRST_EPOCH: Final = 1
EPOCH_MAX: Final = (1 << 63) - 1
MEMBERS_MAX: Final = 256
HOST_CHARS_MAX: Final = 253
PORT_MAX: Final = 65_535
ZONE_CHARS_MAX: Final = 64

_ADDRESS: Final = re.compile(
    r"(\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]|[A-Za-z0-9._-]+):([0-9]{1,5})"
)
_ZONE: Final = re.compile(rf"[A-Za-z0-9._:-]{{0,{ZONE_CHARS_MAX}}}")

Phase: TypeAlias = Literal["stable"]

RingWire: TypeAlias = tuple[int, str, int, int, tuple[tuple[str, str, float, str], ...]]
"""Epoch, phase, virtual nodes, replication factor, members as (id, address, weight, zone)."""


class InvalidRingError(CoreError):
    """Raised for a ring or a member that is malformed or beyond a limit."""


def check_address(address: Any) -> str:
    """Returns `address` if it can be dialled: `host:port` or `[ipv6]:port`, no longer than a name.

    Raises:
        InvalidRingError: it is anything else.
    """
    match = _ADDRESS.fullmatch(address) if type(address) is str else None
    if match is None or len(match[1]) > HOST_CHARS_MAX or not 0 < int(match[2]) <= PORT_MAX:
        raise InvalidRingError(f"not a host:port to dial: {address!r:.80}")
    return match[0]


@attrs.frozen
class RingMember:
    """A node that owns a part of the ring.

    There is no boot id: a restart is a new boot of the same member and changes no ownership.

    Raises:
        InvalidRingError: A field is malformed.
        InvalidNodeIdError: The id is.
    """

    id: NodeId
    address: str
    """`host:port` for nodes and clients to dial; an IPv6 host stands in brackets."""

    weight: float = 1.0
    """Its share of the load relative to others."""

    zone: str = ""
    """Where it stands; the copies of a partition are spread over zones."""

    def __attrs_post_init__(self) -> None:
        check_node_id(self.id)
        try:
            check_address(self.address)
        except InvalidRingError as error:
            raise InvalidRingError(f"{self.id}: {error}") from None
        if type(self.weight) is not float or not WEIGHT_MIN <= self.weight <= WEIGHT_MAX:
            raise InvalidRingError(
                f"{self.id}: a weight is a float from {WEIGHT_MIN} to {WEIGHT_MAX}, "
                f"not {self.weight!r:.80}"
            )
        if type(self.zone) is not str or _ZONE.fullmatch(self.zone) is None:
            raise InvalidRingError(
                f"{self.id}: a zone has at most {ZONE_CHARS_MAX} letters, digits, '.', '_', ':' "
                f"or '-', unlike {self.zone!r:.80}"
            )


def _by_id(members: Iterable[RingMember]) -> tuple[RingMember, ...]:
    return tuple(sorted(members, key=lambda member: member.id))


@attrs.frozen
class RingOutline:
    """What a ring says, before it is worked out who owns what: checked, and made at no cost.

    Whoever hears of a ring judges it by this first; placing the owners of a large one takes long.

    Raises:
        InvalidRingError: A field is malformed or beyond its limit.
    """

    epoch: int
    """From 1; each change of the ring raises it."""

    members: tuple[RingMember, ...] = attrs.field(converter=_by_id)
    """Sorted by id."""

    virtual_nodes: int
    """Partitions of the hash ring; a power of two."""

    replication_factor: int
    """Owners per partition, as far as there are members."""

    phase: Phase = "stable"

    digest: int = attrs.field(init=False, eq=False)
    """64 bits over all that decides ownership. Addresses do not: a member may move."""

    def __attrs_post_init__(self) -> None:
        _check(self)
        object.__setattr__(self, "digest", _digest_of(self))

    def member(self, node_id: NodeId) -> RingMember | None:
        """Find a member by its id."""
        return next((member for member in self.members if member.id == node_id), None)

    def as_wire(self) -> RingWire:
        """Describe the ring by tuples, strings and numbers alone."""
        members = tuple((m.id, m.address, m.weight, m.zone) for m in self.members)
        return (self.epoch, self.phase, self.virtual_nodes, self.replication_factor, members)

    def view(self) -> "RingView":
        """Work out who owns what.

        Raises:
            InvalidRingError: There are no members, or two of one id, or a number is out of range.
        """
        return RingView(
            self.epoch, self.members, self.virtual_nodes, self.replication_factor, self.phase
        )

    @classmethod
    def from_wire(cls, wire: Any) -> "RingOutline":
        """Read what `as_wire` made. Lists may stand for tuples, further fields are ignored.

        Raises:
            InvalidRingError: It is anything else.
            InvalidNodeIdError: The id of a member is malformed.
        """
        epoch, phase, virtual_nodes, replication_factor, members = _fields(wire, 5, "a ring")
        if type(members) not in {list, tuple} or len(members) > MEMBERS_MAX:
            raise InvalidRingError(f"a ring has a list of at most {MEMBERS_MAX} members")
        return cls(
            epoch=epoch,
            members=tuple(RingMember(*_fields(row, 4, "a ring member")) for row in members),
            virtual_nodes=virtual_nodes,
            replication_factor=replication_factor,
            phase=phase,
        )


@attrs.frozen
class RingView(RingOutline):
    """The ring at one epoch. Making one takes milliseconds, asking it a fraction of a microsecond.

    Raises:
        InvalidRingError: A field is malformed or beyond its limit.
    """

    table: Table = attrs.field(init=False, eq=False, repr=False)

    shift: int = attrs.field(init=False, eq=False, repr=False)
    """A key's hash shifted right by this is its partition."""

    quorum_size: int = attrs.field(init=False, eq=False, repr=False)
    """Owners of a partition that make a quorum, alive or not."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        table = _table_of(self)
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "shift", partition_shift(self.virtual_nodes))
        object.__setattr__(self, "quorum_size", quorum(len(table.rows[0])))

    def partition_of(self, key: bytes) -> int:
        """Say which partition a key belongs to."""
        return partition_of(key, self.shift)

    def owners_of(self, key: bytes) -> tuple[NodeId, ...]:
        """Name the owners of a key, the primary first."""
        return self.table.rows[partition_of(key, self.shift)]

    def group_of(self, partition: int) -> int:
        """Say which group a partition is in; partitions of a group have the same owners."""
        return self.table.groups[partition]

    @classmethod
    def from_wire(cls, wire: Any, shape: tuple[int, int] | None = None) -> "RingView":
        """Read what `as_wire` made, and work out who owns what.

        Args:
            wire: Lists may stand for tuples, further fields are ignored.
            shape: Virtual nodes and replication factor that it must have; None: any.

        Raises:
            InvalidRingError: It is anything else.
            InvalidNodeIdError: The id of a member is malformed.
        """
        outline = RingOutline.from_wire(wire)
        theirs = (outline.virtual_nodes, outline.replication_factor)
        if shape is not None and theirs != shape:
            raise InvalidRingError(
                f"a ring of virtual nodes and replication factor {theirs}, not {shape}"
            )
        return outline.view()


def _fields(wire: Any, count: int, what: str) -> tuple[Any, ...]:
    if type(wire) not in {list, tuple} or len(wire) < count:
        raise InvalidRingError(f"{what} is a list of {count} fields, not {wire!r:.80}")
    return tuple(wire[:count])


def _check(view: RingOutline) -> None:
    """Check types and limits, but for those that `place` checks."""
    if type(view.epoch) is not int or not FIRST_EPOCH <= view.epoch <= EPOCH_MAX:
        raise InvalidRingError(f"a ring's epoch is a number from 1, not {view.epoch!r:.80}")
    if view.phase != "stable":
        raise InvalidRingError(f"unknown phase of a ring: {view.phase!r:.80}")
    if type(view.virtual_nodes) is not int or type(view.replication_factor) is not int:
        raise InvalidRingError("virtual nodes and replication factor of a ring are numbers")
    if len(view.members) > MEMBERS_MAX:
        raise InvalidRingError(f"a ring has at most {MEMBERS_MAX} members")


def _table_of(view: RingView) -> Table:
    try:
        return place(
            (Member(member.id, member.weight, member.zone) for member in view.members),
            view.virtual_nodes,
            view.replication_factor,
        )
    except ValueError as error:
        raise InvalidRingError(f"no ring: {error}") from error


def _digest_of(view: RingOutline) -> int:
    """Hash a text that is the same on every machine and that no other ring has."""
    head = (
        f"{PLACEMENT_VERSION} {view.epoch} {view.phase} "
        f"{view.virtual_nodes} {view.replication_factor}"
    )
    lines = [f"{member.id} {member.weight.hex()} {member.zone}" for member in view.members]
    return xxhash.xxh3_64_intdigest("\n".join((head, *lines)).encode())
