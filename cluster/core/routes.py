"""Where requests go.

The ring's owners, narrowed to those that can be reached, in the boot they are known under.

Liveness changes routing and nothing else: a quorum is always counted over the owners in the table
(`Route.owners`), of which `others` are those that a message can be sent to now.

**A boot that is gone does not count.** A node forgets everything when it restarts, so its acks and
votes are worth something only as long as no newer boot of it is known (crash-consistent quorums:
Michael et al., "Recovering Shared Objects Without Stable Storage", DISC 2017). `learn_boot` is
where a newer boot is noticed.
"""

import attrs

from cluster.core.ring import RingView
from cluster.core.values import BootId, Level, NodeId, quorum

__all__ = ["Route", "Routes"]


@attrs.frozen
class Route:
    """The owners of one group of partitions and the way to them.

    Valid until ring or reachability change.
    """

    owners: tuple[NodeId, ...]
    local: bool
    """Whether this node is one of the owners."""
    others: tuple[NodeId, ...]
    """Owners that can be reached now, this node left out; never more than `owners`."""
    quorum: int
    """floor(n/2)+1 of the owners in the table, alive or not."""
    reachable: int
    """How many owners can take part now, this node included if it is one."""
    needed: tuple[int, ...]
    """Answers to wait for, by the number of the level."""


class Routes:
    """The ring in force and the peers that can be reached."""

    def __init__(self, node_id: NodeId) -> None:
        self.node_id = node_id
        self.view: RingView | None = None
        self._reachable: dict[NodeId, BootId] = {}
        self._known_boot: dict[NodeId, BootId] = {}
        self._cache: dict[int, Route] = {}
        self._by_owners: dict[tuple[NodeId, ...], Route] = {}

    def set_view(self, view: RingView) -> None:
        """Route by this ring from now on."""
        self.view = view
        self._forget()

    def peer_up(self, node: NodeId, boot: BootId) -> None:
        """A peer can be reached, in this boot."""
        self._reachable[node] = boot
        self._forget()

    def peer_down(self, node: NodeId) -> None:
        """A peer cannot be reached any more."""
        self._reachable.pop(node, None)
        self._forget()

    def learn_boot(self, node: NodeId, boot: BootId) -> bool:
        """Take note of a boot.

        True if it is newer than the one known before (whose answers are void).
        """
        known = self._known_boot.get(node, 0)
        if boot <= known:
            return False
        self._known_boot[node] = boot
        return known != 0

    def is_current(self, node: NodeId, boot: BootId) -> bool:
        """Whether an answer given in this boot still counts."""
        return self._known_boot.get(node, 0) <= boot

    def is_reachable(self, node: NodeId) -> bool:
        """Whether a message can be sent to this peer now."""
        return node in self._reachable

    def route(self, group: int) -> Route:
        """The way to the owners of a group of partitions (see `core.placement.Table.groups`)."""
        route = self._cache.get(group)
        if route is None:
            assert self.view is not None, "no request is routed before a ring is in force"
            route = self._cache[group] = self.to(self.view.table.group_owners(group))
        return route

    def to(self, owners: tuple[NodeId, ...]) -> Route:
        """The way to these owners, whatever the ring says by now."""
        route = self._by_owners.get(owners)
        if route is None:
            route = self._by_owners[owners] = self._make(owners)
        return route

    def _make(self, owners: tuple[NodeId, ...]) -> Route:
        others = tuple(n for n in owners if n != self.node_id and n in self._reachable)
        local = self.node_id in owners
        return Route(
            owners=owners,
            local=local,
            others=others,
            quorum=quorum(len(owners)),
            reachable=len(others) + local,
            needed=(0, *(level.needed(len(owners)) for level in Level)),
        )

    def _forget(self) -> None:
        self._cache.clear()
        self._by_owners.clear()
