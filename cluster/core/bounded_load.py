"""Evens out an assignment until every member's load is between its floor and its cap.

Rendezvous hashing leaves loads to chance. Here units (copies of partitions, or their primaries)
are shifted from member to member, first those whose shift costs least more than what chance chose,
so that the result stays close to the uneven one and a later join or leave moves little. The cap is
that of Mirrokni, Thorup and Zadimoghaddam ("Consistent hashing with bounded loads", 2016); the
floor is its mirror image.

Shifting greedily can get stuck: a member is over its cap, and none of its units may go where there
is room. The repair step then looks for a chain of shifts (an augmenting path; Ford and Fulkerson,
1956). If any assignment keeps all bounds, chains are found until one is reached. The shortest chain
can always be carried out: had two of its shifts within one partition been in each other's way, a
shorter chain would have skipped what lies between them.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import ceil, floor

import attrs

_SLACK = 1e-6  # a fair share is a sum of rounded numbers: 5.000000000000001 means 5


@attrs.frozen
class Bounds:
    """What one member may hold at least and at most, in units."""

    floor: int
    cap: int


def bounds_around(fair: float, epsilon: float) -> Bounds:
    """Allow a relative distance from a fair share, rounded up to whole units."""
    return Bounds(
        floor=floor(fair * (1.0 - epsilon) + _SLACK), cap=ceil(fair * (1.0 + epsilon) - _SLACK)
    )


@attrs.define
class Balancer:
    """Shifts units between members until all loads are within their bounds.

    Members and partitions are indices.
    """

    held: list[list[int]]
    """Per partition the members that hold a unit of it. Changed in place."""

    takers: Sequence[Sequence[int]]
    """Per partition the members that may ever hold a unit of it."""

    costs: Sequence[Sequence[float]]
    """Per partition and member what it costs to hold a unit there."""

    bounds: Sequence[Bounds]
    """Per member."""

    may_shift: Callable[[int, int, int], bool]
    """Says of a partition, a member that holds a unit of it and a taker that does not, whether the
    unit may go from the one to the other."""

    loads: list[int] = attrs.field(init=False)
    """Per member how often it occurs in `held`."""

    def __attrs_post_init__(self) -> None:
        self.loads = [0] * len(self.bounds)
        for holders in self.held:
            for member in holders:
                self.loads[member] += 1

    def balance(self) -> bool:
        """Bring every load within its bounds and say whether that was possible."""
        self._shift_cheapest(self._fills)
        self._shift_cheapest(self._relieves)
        while over := self._over():
            roomy = [m for m, load in enumerate(self.loads) if load < self.bounds[m].cap]
            if not self._repair(over, roomy):
                return False
        while under := self._under():
            rich = [m for m, load in enumerate(self.loads) if load > self.bounds[m].floor]
            if not self._repair(rich, under):
                return False
        return True

    def _over(self) -> list[int]:
        return [m for m, load in enumerate(self.loads) if load > self.bounds[m].cap]

    def _under(self) -> list[int]:
        return [m for m, load in enumerate(self.loads) if load < self.bounds[m].floor]

    def _shift_cheapest(self, is_useful: Callable[[int, int], bool]) -> None:
        """Carry out the shifts that are useful between their two members, cheapest first."""
        members = range(len(self.bounds))
        useful = [frozenset(t for t in members if is_useful(g, t)) for g in members]
        for _, partition, giver, taker in sorted(self._shifts_between(useful)):
            if is_useful(giver, taker) and self._is_possible(partition, giver, taker):
                self._shift(partition, giver, taker)

    def _shifts_between(
        self, useful: Sequence[frozenset[int]]
    ) -> Iterator[tuple[float, int, int, int]]:
        for partition, holders in enumerate(self.held):
            costs = self.costs[partition]
            for giver in holders:
                if useful[giver]:
                    for taker in self.takers[partition]:
                        if taker in useful[giver] and taker not in holders:
                            yield costs[taker] - costs[giver], partition, giver, taker

    def _fills(self, giver: int, taker: int) -> bool:
        """Say whether a shift brings its taker nearer to its floor and its giver not below it."""
        return (
            self.loads[taker] < self.bounds[taker].floor
            and self.loads[giver] > self.bounds[giver].floor
        )

    def _relieves(self, giver: int, taker: int) -> bool:
        """Say whether a shift brings its giver nearer to its cap and its taker not above it."""
        return (
            self.loads[giver] > self.bounds[giver].cap
            and self.loads[taker] < self.bounds[taker].cap
        )

    def _is_possible(self, partition: int, giver: int, taker: int) -> bool:
        holders = self.held[partition]
        return giver in holders and taker not in holders and self.may_shift(partition, giver, taker)

    def _shift(self, partition: int, giver: int, taker: int) -> None:
        holders = self.held[partition]
        holders[holders.index(giver)] = taker
        self.loads[giver] -= 1
        self.loads[taker] += 1

    def _repair(self, sources: Sequence[int], targets: Sequence[int]) -> bool:
        """Shift a unit from a source to a target along a shortest chain, if there is one."""
        came_by: dict[int, tuple[int, int]] = {}  # member -> (its giver, the partition)
        queue = deque(sources)
        while queue:
            giver = queue.popleft()
            for partition, taker in self._shifts_from(giver):
                if taker in came_by or taker in sources:
                    continue
                came_by[taker] = (giver, partition)
                if taker in targets:
                    self._carry_out(came_by, taker)
                    return True
                queue.append(taker)
        return False

    def _shifts_from(self, giver: int) -> Iterator[tuple[int, int]]:
        for partition, holders in enumerate(self.held):
            if giver in holders:
                for taker in self.takers[partition]:
                    if self._is_possible(partition, giver, taker):
                        yield partition, taker

    def _carry_out(self, came_by: dict[int, tuple[int, int]], target: int) -> None:
        """Shift along a chain, from its end back to the source that nothing led to."""
        taker = target
        while taker in came_by:
            giver, partition = came_by[taker]
            assert self._is_possible(partition, giver, taker), "a shortest chain is possible"
            self._shift(partition, giver, taker)
            taker = giver
