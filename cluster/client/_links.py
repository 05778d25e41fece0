"""Which addresses to dial, and when: the seeds and the members of the ring.

Every member of the ring gets one connection, whatever address it was found under. The seeds are
dialled until a node has answered, and again whenever no node is connected, for ever, with backoff:
a cluster that moved away while this client was cut off is found again through them.

A node is known by its id and boot, an address only says where to look: two addresses may lead to
the same node, and one address to another node tomorrow. This module does not know requests; what
waits on a link is `_core`'s.
"""

import enum
import random
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING, Final

import attrs

from cluster.core.backoff import Backoff
from cluster.core.ring import RingView
from cluster.wire.handshake import Welcome

if TYPE_CHECKING:
    from cluster.client._bundles import Bundles
    from cluster.client._operation import Part

__all__ = ["Link", "LinkState", "Links"]

DIAL_BACKOFF_FIRST_S: Final = 0.1
DIAL_BACKOFF_MAX_S: Final = 5.0


class LinkState(enum.Enum):
    """What there is at an address."""

    DOWN = enum.auto()
    """No connection."""
    DIALLING = enum.auto()
    """The driver tries to open one."""
    UP = enum.auto()
    """A node has welcomed us."""
    CLOSING = enum.auto()
    """The driver was told to close it."""


@attrs.define(eq=False)
class Link:
    """An address, and the connection to it while there is one."""

    address: str
    backoff: Backoff
    state: LinkState = LinkState.DOWN
    dial_at: float = 0.0
    """While DOWN: not dialled before, seconds on the client's clock."""
    reason: str = "no answer yet"
    """Why there is no connection."""

    node_id: str = ""
    boot: int = 0
    avoided_until: float = -inf
    """The node drains, is overloaded or cannot reach other owners: others are asked first until
    then.
    """
    unanswered_since: float = inf
    """Something was asked then, and nothing has been heard since."""
    silent: bool = False
    """Unanswered for so long that others are asked first."""

    bundles: "Bundles | None" = None
    """Those of the node in this boot, which outlive the connection; None: nothing is bundled."""
    outbox: "list[Part]" = attrs.field(factory=list)
    """Requests that the driver has not fetched yet."""
    gathering: bool = False
    """A frame is about to leave: what is added now goes with it."""
    writing: bool = False
    """The driver writes a frame and will ask for the next one by itself."""
    outstanding: int = 0
    """Requests sent here whose callers still wait."""
    unsettled: int = 0
    """Requests sent since the node was last told what is settled."""

    @property
    def is_up(self) -> bool:
        """Whether requests can be sent."""
        return self.state is LinkState.UP

    def is_healthy(self, now: float) -> bool:
        """Whether there is nothing against asking this node first."""
        return not self.silent and self.avoided_until <= now


class Links:
    """All links, by address, and which of them should exist."""

    def __init__(self, seeds: Sequence[str], rng: random.Random) -> None:
        assert seeds, "a client needs a seed"
        self._seeds = tuple(dict.fromkeys(seeds))
        self._rng = rng
        self._members: tuple[tuple[str, str], ...] = ()
        """(node id, address), sorted by id."""
        self._links: dict[str, Link] = {}
        self._up: dict[str, Link] = {}
        """By node id."""

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    @property
    def up(self) -> Iterable[Link]:
        """Links with a node behind them, one per node."""
        return self._up.values()

    def get(self, address: str) -> Link:
        """The link to an address; made when first asked for."""
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = Link(
                address, Backoff(DIAL_BACKOFF_FIRST_S, DIAL_BACKOFF_MAX_S, self._rng)
            )
        return link

    def node(self, node_id: str) -> Link | None:
        """The link to a node, if it is connected."""
        return self._up.get(node_id)

    def adopt(self, view: RingView) -> None:
        """The members of this ring are wanted from now on."""
        self._members = tuple((member.id, member.address) for member in view.members)

    def welcomed(self, link: Link, welcome: Welcome) -> Link | None:
        """A node has answered at an address.

        Returns:
            The link that has to be closed because there are now two to one node: the one to the
            older boot, else the newer one. None if this is the only one.
        """
        link.backoff.reset()
        link.state = LinkState.UP
        link.reason = ""
        link.node_id, link.boot = welcome.node_id, welcome.boot
        link.avoided_until, link.unanswered_since, link.silent = -inf, inf, False
        other = self._up.get(welcome.node_id)
        if other is not None and other.boot >= welcome.boot:
            return link
        self._up[welcome.node_id] = link
        return other

    def lost(self, link: Link, reason: str, now: float) -> None:
        """There is no connection to an address, or none any more."""
        self.withdraw(link)
        link.outbox, link.outstanding = [], 0
        link.gathering = link.writing = False
        link.state = LinkState.DOWN
        link.reason = reason
        link.dial_at = now + link.backoff.next_delay()

    def withdraw(self, link: Link) -> None:
        """The link is no longer the one to its node."""
        if self._up.get(link.node_id) is link:
            del self._up[link.node_id]

    def due(self, now: float) -> list[Link]:
        """Links to dial now, marked as dialled."""
        due = [link for link in self._wanted() if link.dial_at <= now]
        for link in due:
            link.state = LinkState.DIALLING
        self._prune()
        return due

    def next_dial(self) -> float:
        """When the next link has to be dialled; `math.inf` if none."""
        return min((link.dial_at for link in self._wanted()), default=inf)

    def strays(self) -> list[Link]:
        """Links to nodes outside the ring, once a member of it can be asked instead."""
        members = dict(self._members)
        if not any(node_id in members for node_id in self._up):
            return []
        return [link for node_id, link in self._up.items() if node_id not in members]

    def failures(self) -> str:
        """Every address without a connection, with the reason."""
        down = [f"{link.address}: {link.reason or 'closing'}" for link in self if not link.is_up]
        return "; ".join(down) or "every address is connected"

    def _wanted(self) -> Iterator[Link]:
        """Links that are down and should not be."""
        addresses = [address for node_id, address in self._members if node_id not in self._up]
        if not self._up:
            addresses.extend(self._seeds)
        for address in dict.fromkeys(addresses):
            link = self.get(address)
            if link.state is LinkState.DOWN:
                yield link

    def _prune(self) -> None:
        """Forget addresses that are neither seed nor member nor in use."""
        kept = {*self._seeds, *(address for _, address in self._members)}
        for address in [a for a, link in self._links.items() if link.state is LinkState.DOWN]:
            if address not in kept:
                del self._links[address]
