"""Which node is asked for which key.

Every owner of a key can coordinate a request for it without a detour, so an owner is asked: the
primary, else the next one, else, if none is connected, any node. Among equally good owners the one
that already has a frame about to leave is preferred: a frame costs a hundred times what one more
message in it costs, on both sides.

A batch is grouped so that few nodes coordinate it: keys whose owners are the same set stay
together, sets are joined as long as one node owns them all (greedy set cover), and what is too
large for one message is cut and shared out among the nodes that could take all of it. Batches
rotate, so that the load is spread.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from cluster.client._links import Link
from cluster.client._operation import Operation, WriteOperation
from cluster.core.ring import RingView
from cluster.core.values import hash_of

__all__ = ["KEYS_PER_REQUEST", "Batch", "Router", "sizes_of", "split"]

KEYS_PER_REQUEST: Final = 500
"""Keys in one message: what a node works through without letting others wait for milliseconds."""
JOINED_MAX: Final = 64
"""Requests in a frame that others still join; more would save little and keep other nodes idle."""
KEY_OVERHEAD_BYTES: Final = 32
"""Bound of what encoding adds to a key and its body, in any codec but for the base 64 of JSON."""


@attrs.frozen
class Batch:
    """Keys, by index, that one node is asked for; None for all of them."""

    link: Link
    indices: Sequence[int] | None


class Router:
    """The ring and the nodes that are connected.

    Args:
        join_frames: Whether a request may prefer an owner that has a frame about to leave.
    """

    def __init__(self, *, join_frames: bool = True) -> None:
        self.view: RingView | None = None
        self._join_frames = join_frames
        self._links: list[Link] = []
        self._healthy: list[Link] = []
        self._routes: list[tuple[Link, ...] | None] = [None]
        self._shift = 64  # without a ring there is one partition, owned by nobody
        self._turn = 0

    def set_view(self, view: RingView) -> None:
        """Route by this ring from now on."""
        self.view = view
        self._shift = view.shift
        self._routes = [None] * view.virtual_nodes

    def set_links(self, links: Iterable[Link], now: float) -> None:
        """These are the nodes that can be asked."""
        self._links = sorted(links, key=lambda link: link.node_id)
        self._healthy = [link for link in self._links if link.is_healthy(now)]
        self._routes = [None] * len(self._routes)

    def one(self, key: bytes) -> Link | None:
        """The node to ask for one key; None if no node is connected."""
        partition = hash_of(key) >> self._shift
        route = self._routes[partition]
        if route is None:
            route = self._routes[partition] = self._route(partition)
        if self._join_frames:
            for link in route:
                if link.gathering and len(link.outbox) < JOINED_MAX:
                    return link
        return route[0] if route else None

    def any_node(self) -> Link | None:
        """A node to ask what every node can answer, another one each time."""
        links = self._healthy or self._links
        self._turn += 1
        return links[self._turn % len(links)] if links else None

    def plan(
        self,
        keys: Sequence[bytes],
        indices: Sequence[int],
        sizes: Sequence[int],
        bytes_max: int,
        tried: Sequence[int] = (),
    ) -> list[Batch]:
        """Distribute keys over nodes; empty if there is no node left to ask.

        Args:
            keys: All keys of the operation.
            indices: Those to distribute.
            sizes: Bytes per index of the operation; empty if all fit into one message.
            bytes_max: Limit of one message.
            tried: Boots of the nodes that are not to be asked again.
        """
        links = [link for link in self._links if link.boot not in tried]
        healthy = [link for link in self._healthy if link.boot not in tried] or links
        if not links:
            return []
        self._turn += 1
        whole = len(indices) == len(keys)
        batches: list[Batch] = []
        for members, candidates in self._bundles(keys, indices, healthy):
            chunks = split(members, sizes, bytes_max)
            for number, chunk in enumerate(chunks):
                link = candidates[(self._turn + number) % len(candidates)]
                batches.append(Batch(link, None if whole and len(chunk) == len(keys) else chunk))
        return batches

    def _route(self, partition: int) -> tuple[Link, ...]:
        """The nodes to choose from for a partition, best first; empty if there is none."""
        healthy = {link.node_id: link for link in self._healthy}
        if self.view is not None:
            owners = self.view.table.owners(partition)
            route = tuple(healthy[node_id] for node_id in owners if node_id in healthy)
            if route:
                return route
        links = self._healthy or self._links
        start = partition % len(links) if links else 0
        return (*links[start:], *links[:start])

    def _bundles(
        self, keys: Sequence[bytes], indices: Sequence[int], links: list[Link]
    ) -> list[tuple[Sequence[int], list[Link]]]:
        """Keys that can go together, with the nodes that own all of them."""
        groups = self._groups(keys, indices)
        start = self._turn % len(links)
        rotated = links[start:] + links[:start]
        bundles: list[tuple[Sequence[int], list[Link]]] = []
        owned = {link.node_id: self._owned(link, groups) for link in rotated}
        while groups:
            counts = [
                sum(len(groups[group]) for group in owned[link.node_id] if group in groups)
                for link in rotated
            ]
            best = rotated[counts.index(max(counts))]
            taken = [group for group in owned[best.node_id] if group in groups]
            if not taken:  # none of their owners is connected: any node will have to do
                bundles.append((_joined(list(groups.values())), rotated))
                return bundles
            candidates = [
                link for link in rotated if all(group in owned[link.node_id] for group in taken)
            ]
            bundles.append((_joined([groups.pop(group) for group in taken]), candidates))
        return bundles

    def _groups(self, keys: Sequence[bytes], indices: Sequence[int]) -> dict[int, Sequence[int]]:
        """Indices by group of their key: keys of one group have the same owners."""
        if self.view is None or len(self.view.table.group_sets) == 1:
            return {0: indices}
        group_of, shift = self.view.table.groups, self._shift
        groups: dict[int, list[int]] = {}
        for index in indices:
            groups.setdefault(group_of[hash_of(keys[index]) >> shift], []).append(index)
        return dict(groups)

    def _owned(self, link: Link, groups: Iterable[int]) -> dict[int, None]:
        """Which of the groups a node owns, in order."""
        if self.view is None:
            return dict.fromkeys(groups)
        owners = self.view.table.group_owners
        return {group: None for group in groups if link.node_id in owners(group)}


def sizes_of(operation: Operation, bytes_max: int) -> list[int]:
    """Bytes per key, or nothing if all of them fit into one request anyway."""
    keys = operation.keys
    bodies = operation.bodies if isinstance(operation, WriteOperation) else ()
    total = sum(map(len, keys)) + sum(map(len, bodies)) + KEY_OVERHEAD_BYTES * len(keys)
    if total <= bytes_max and len(keys) <= KEYS_PER_REQUEST:
        return []
    if not bodies:
        return [len(key) + KEY_OVERHEAD_BYTES for key in keys]
    return [
        len(key) + len(body) + KEY_OVERHEAD_BYTES for key, body in zip(keys, bodies, strict=True)
    ]


def split(indices: Sequence[int], sizes: Sequence[int], bytes_max: int) -> list[Sequence[int]]:
    """Cut keys into pieces of at most `KEYS_PER_REQUEST` and, if sizes are given, of limited bytes.

    A single key larger than the limit is a piece of its own.
    """
    if not sizes:
        steps = range(0, len(indices), KEYS_PER_REQUEST)
        return [indices[start : start + KEYS_PER_REQUEST] for start in steps]
    pieces: list[Sequence[int]] = []
    start, total = 0, 0
    for position, index in enumerate(indices):
        size = sizes[index]
        full = total + size > bytes_max or position - start == KEYS_PER_REQUEST
        if full and position > start:
            pieces.append(indices[start:position])
            start, total = position, 0
        total += size
    pieces.append(indices[start:])
    return pieces


def _joined(parts: list[Sequence[int]]) -> Sequence[int]:
    if len(parts) == 1:
        return parts[0]
    return [index for part in parts for index in part]
