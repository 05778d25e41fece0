"""Which members own which partition: a pure function of the set of members.

The hash ring is cut into fixed partitions; each has an ordered list of distinct owners, its primary
first. Three steps make the table:

1. `rendezvous`: every partition takes the members that it is cheapest for, in distinct zones where
   there are enough of them.
2. `bounded_load` on copies: every member holds its fair share (`fair_shares`) within epsilon.
3. `bounded_load` on primaries: the order within the lists gives every member its share of them.

The table depends on ids, weights and zones alone, not on the order in which members are named, on
liveness, or on an earlier table: whoever knows the members knows the owners. Who the members are is
not its business (`ring`).
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

import attrs

from cluster.core.bounded_load import Balancer, bounds_around
from cluster.core.fair_shares import fair_shares, zone_limit
from cluster.core.rendezvous import choose, pair_costs
from cluster.core.values import (
    VIRTUAL_NODES_DEFAULT,
    VIRTUAL_NODES_MAX,
    VIRTUAL_NODES_MIN,
    NodeId,
)

EPSILON: Final = 0.05
"""How far a member's load may be from its fair share, as a part of it."""

PRIMARY_EPSILON: Final = 0.03
"""The same for primaries. It is less because another primary moves no copy."""

REPLICATION_FACTOR_DEFAULT: Final = 3
REPLICATION_FACTOR_MAX: Final = 16
WEIGHT_MIN: Final = 0.01
WEIGHT_MAX: Final = 100.0

PLACEMENT_VERSION: Final = 1
"""Raised when the same members come to own other partitions: such nodes must not share a ring."""

_TABLES_CACHED = 16  # a simulated cluster asks for the same tables once per node


@attrs.frozen
class Member:
    """What placement needs to know of a member."""

    id: NodeId
    weight: float = 1.0
    zone: str = ""


@attrs.frozen
class Table:
    """The owners of every partition. Make it with `place`."""

    rows: tuple[tuple[NodeId, ...], ...]
    """Per partition its owners, the primary first."""

    group_sets: tuple[tuple[NodeId, ...], ...] = attrs.field(init=False, eq=False, repr=False)
    """Per group its owners, sorted by id."""

    groups: tuple[int, ...] = attrs.field(init=False, eq=False, repr=False)
    """Per partition its group: partitions with the same set of owners share one."""

    def __attrs_post_init__(self) -> None:
        numbers: dict[tuple[NodeId, ...], int] = {}
        groups = tuple(numbers.setdefault(tuple(sorted(row)), len(numbers)) for row in self.rows)
        object.__setattr__(self, "group_sets", tuple(numbers))
        object.__setattr__(self, "groups", groups)

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return len(self.rows)

    def owners(self, partition: int) -> tuple[NodeId, ...]:
        """Name the owners of a partition, the primary first."""
        return self.rows[partition]

    def group_owners(self, group: int) -> tuple[NodeId, ...]:
        """Name the owners of all partitions of a group, sorted by id."""
        return self.group_sets[group]

    def copies(self) -> dict[NodeId, int]:
        """Count the partitions that each owner holds a copy of, sorted by id."""
        return _count(owner for row in self.rows for owner in row)

    def primaries(self) -> dict[NodeId, int]:
        """Count the partitions that each owner comes first for, sorted by id."""
        return dict.fromkeys(self.copies(), 0) | _count(row[0] for row in self.rows)


@attrs.frozen
class Move:
    """A copy of a partition that an owner of the new table has to get."""

    partition: int
    to: NodeId


def place(
    members: Iterable[Member],
    partitions: int = VIRTUAL_NODES_DEFAULT,
    replication_factor: int = REPLICATION_FACTOR_DEFAULT,
    epsilon: float = EPSILON,
) -> Table:
    """Give every partition its owners.

    Args:
        members: In any order; ids are distinct.
        partitions: A power of two.
        replication_factor: Owners per partition, as far as there are members.
        epsilon: How far a load may be from the fair share, as a part of it; rounded up to whole
            copies.

    Returns:
        The table. The same one for equal arguments, so that it may be asked for often.

    Raises:
        ValueError: No member, two of one id, or a number out of its limits.
    """
    ordered = tuple(sorted(members, key=lambda member: member.id))
    return _place(ordered, partitions, replication_factor, epsilon)


def moves(old: Table, new: Table) -> list[Move]:
    """List the copies that have to move for the new table, by partition and owner.

    Copies that only change their place in the list of owners do not move.

    Raises:
        ValueError: The tables differ in their number of partitions.
    """
    return [
        Move(partition, owner)
        for partition, (before, after) in enumerate(zip(old.rows, new.rows, strict=True))
        for owner in sorted(after)
        if owner not in before
    ]


@lru_cache(maxsize=_TABLES_CACHED)
def _place(
    members: tuple[Member, ...], partitions: int, replication_factor: int, epsilon: float
) -> Table:
    _check(members, partitions, replication_factor, epsilon)
    copies = min(replication_factor, len(members))
    names = sorted({member.zone for member in members})
    zones = [names.index(member.zone) for member in members]
    limit = zone_limit(zones, copies)
    fair = fair_shares([member.weight for member in members], zones, copies, limit)

    columns = [pair_costs(member.id, member.weight, partitions) for member in members]
    costs = list(zip(*columns, strict=True))
    orders = [sorted(range(len(members)), key=row.__getitem__) for row in costs]
    held = [choose(order, zones, copies, limit) for order in orders]

    def may_shift(partition: int, giver: int, taker: int) -> bool:
        zone = zones[taker]
        if zone == zones[giver]:
            return True
        return sum(zones[owner] == zone for owner in held[partition]) < limit

    everyone = [range(len(members))] * partitions
    bounds = [bounds_around(share * partitions, epsilon) for share in fair]
    reached = Balancer(held, everyone, costs, bounds, may_shift).balance()
    assert reached, "fair shares are possible, so loads around them are"
    for owners, row in zip(held, costs, strict=True):
        owners.sort(key=row.__getitem__)
    return _table(members, held, _primaries(held, costs, fair))


def _table(
    members: Sequence[Member], held: Sequence[list[int]], primaries: Sequence[list[int]]
) -> Table:
    """Name the owners, the primary first. Partitions with the same owners share one tuple."""
    shared: dict[tuple[int, ...], tuple[NodeId, ...]] = {}
    rows = []
    for owners, (primary,) in zip(held, primaries, strict=True):
        row = (primary, *(owner for owner in owners if owner != primary))
        rows.append(shared.setdefault(row, tuple(members[owner].id for owner in row)))
    return Table(tuple(rows))


def _primaries(
    held: Sequence[list[int]], costs: Sequence[Sequence[float]], fair: Sequence[float]
) -> list[list[int]]:
    """Choose one of the owners of each partition, so that everybody gets a fair share.

    Where the copies do not allow the share by weight, a member takes its part of the copies that it
    got, which is always possible.
    """
    copies = len(held[0])
    chosen = [owners[:1] for owners in held]

    def balance(shares: Sequence[float]) -> bool:
        bounds = [bounds_around(share, PRIMARY_EPSILON) for share in shares]
        return Balancer(chosen, held, costs, bounds, lambda *_: True).balance()

    if not balance([share * len(held) / copies for share in fair]):
        loads = Counter(chain.from_iterable(held))
        reached = balance([loads[member] / copies for member in range(len(fair))])
        assert reached, "every partition can split its primary evenly among its owners"
    return chosen


def _check(
    members: Sequence[Member], partitions: int, replication_factor: int, epsilon: float
) -> None:
    if not members:
        raise ValueError("a table needs a member")
    if len({member.id for member in members}) < len(members):
        raise ValueError("two members have the same id")
    for member in members:
        if not WEIGHT_MIN <= member.weight <= WEIGHT_MAX:
            raise ValueError(
                f"{member.id}: weight {member.weight} is not in [{WEIGHT_MIN}, {WEIGHT_MAX}]"
            )
    if not VIRTUAL_NODES_MIN <= partitions <= VIRTUAL_NODES_MAX or partitions & (partitions - 1):
        raise ValueError(
            f"{partitions} partitions: not a power of two from {VIRTUAL_NODES_MIN} "
            f"to {VIRTUAL_NODES_MAX}"
        )
    if not 1 <= replication_factor <= REPLICATION_FACTOR_MAX:
        raise ValueError(
            f"replication factor {replication_factor} is not in [1, {REPLICATION_FACTOR_MAX}]"
        )
    if not 0.0 <= epsilon < 1.0 or math.isnan(epsilon):
        raise ValueError(f"epsilon {epsilon} is not in [0, 1)")


def _count(owners: Iterable[NodeId]) -> dict[NodeId, int]:
    counts: dict[NodeId, int] = {}
    for owner in owners:
        counts[owner] = counts.get(owner, 0) + 1
    return dict(sorted(counts.items()))
