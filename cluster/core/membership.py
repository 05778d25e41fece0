"""Membership without probes: who is known, whom to dial, who can be reached.

Nodes introduce themselves and those they know to each other, and each dials every other: a
connection carries messages in the direction of the dial only, so that between two nodes there are
two, each with one writer. A peer is **reachable** while both are up in the same boot: messages get
there, and answers come back.

Nobody is ever forgotten or declared dead here: known members are dialled for ever, and so is a seed
whose node is not linked (a machine may come back under the same name at another address). A failure
detector that probes can take the place of this class: it says the same things.

What a node says of itself counts more than what others say of it: hearsay never moves a member that
can be reached, never undoes what the member said in the same or a later boot, and is ignored where
it makes no sense.

This module decides nothing about the ring: who is reachable changes routing, never ownership.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from cluster.core.clock import OFFSET_MAX_MS_DEFAULT
from cluster.core.ring import RingMember
from cluster.core.values import COUNTER_BITS, BootId, CoreError, NodeId

__all__ = ["MemberEntry", "MembershipOutput", "StaticMembership", "Status"]

MEMBERS_MAX: Final = 256
"""Members that are remembered; more are refused and counted."""

BOOT_SLACK_MS: Final = 60_000
"""How far, beyond the clock offset, a boot that is hearsay may be ahead of the own wall clock."""


@attrs.frozen
class MemberEntry:
    """One member as it describes itself, passed on by whoever knows it."""

    id: NodeId
    address: str
    boot: BootId
    zone: str
    weight: float


@attrs.frozen
class Status:
    """One member as this node sees it."""

    entry: MemberEntry
    reachable: bool


@attrs.frozen
class MembershipOutput:
    """What to do after an event, in this order.

    Attributes:
        hang_up: addresses whose link is not wanted any more.
        dial: addresses to keep a link to from now on.
        down: (node, boot) of peers that cannot be reached any more.
        up: (node, boot, address of the link) of peers that can be reached now.
        news: whether the known members changed, so that linked peers should be told.
    """

    hang_up: tuple[str, ...] = ()
    dial: tuple[str, ...] = ()
    down: tuple[tuple[NodeId, BootId], ...] = ()
    up: tuple[tuple[NodeId, BootId, str], ...] = ()
    news: bool = False


@attrs.define
class _Peer:
    entry: MemberEntry
    own_word: BootId | None = None
    """The boot in which the member said of itself what is in `entry`, or more; None: hearsay."""
    link: tuple[str, BootId] | None = None
    """Address and boot of the link that is up, from here to there."""
    session: BootId | None = None
    """Boot of the connection that is up, from there to here."""
    told: tuple[str, BootId] | None = None
    """Link by which, and boot in which, the peer was last said to be reachable."""

    @property
    def way(self) -> tuple[str, BootId] | None:
        """The link to use, if answers would come back."""
        return self.link if self.link is not None and self.link[1] == self.session else None


class StaticMembership:
    """The members that one node knows. Invariant: `dialled` holds the addresses with a link."""

    def __init__(
        self,
        own: MemberEntry,
        seeds: Sequence[str],
        clock_offset_max_ms: int = OFFSET_MAX_MS_DEFAULT,
    ) -> None:
        self._own = own
        self._boot_ahead_max_ms: Final = clock_offset_max_ms + BOOT_SLACK_MS
        self._seeds: Final = tuple(dict.fromkeys(seeds))
        self._peers: dict[NodeId, _Peer] = {}
        self._seed_of: dict[str, NodeId] = {}
        self._myself: set[str] = {own.address}
        self.dialled: dict[str, None] = {}
        self.refused = 0
        """Introductions that were malformed, made no sense or were one too many."""

    def start(self) -> MembershipOutput:
        """Dial the seeds."""
        return self._output()

    def introduced(
        self, sender: NodeId, entries: Iterable[MemberEntry], wall_ms: int
    ) -> MembershipOutput:
        """Members were named by a peer; the newest boot of a member says where it is.

        Args:
            sender: who names them; what it says of itself is no hearsay.
            entries: the members.
            wall_ms: own wall clock, against which boots are judged.
        """
        news = False
        for entry in entries:
            first_hand = entry.id == sender
            boot_ahead_ms = (entry.boot >> COUNTER_BITS) - wall_ms
            if not first_hand and boot_ahead_ms > self._boot_ahead_max_ms:
                self.refused += 1
            else:
                news |= self._introduce(entry, first_hand=first_hand)
        return self._output(news=news)

    def _introduce(self, entry: MemberEntry, *, first_hand: bool) -> bool:
        if entry.id == self._own.id:
            return False
        peer = self._peers.get(entry.id)
        if not _is_sound(entry) or (peer is None and len(self._peers) >= MEMBERS_MAX):
            self.refused += 1
            return False
        if peer is None:
            self._peers[entry.id] = _Peer(entry, entry.boot if first_hand else None)
            return True
        if first_hand:
            if peer.own_word is not None and entry.boot < peer.own_word:
                return False
            peer.own_word = entry.boot
        elif entry.boot <= peer.entry.boot or peer.way is not None:
            return False
        news, peer.entry = entry != peer.entry, entry
        return news

    def linked(self, address: str, node: NodeId, boot: BootId) -> MembershipOutput:
        """The link to an address is up, and this node in this boot is at its other end."""
        if address in self._seeds:
            self._seed_of[address] = node
        news = self._introduce(MemberEntry(node, address, boot, "", 1.0), first_hand=False)
        self._drop_links(address)
        peer = self._peers.get(node)
        if peer is not None and (
            peer.link is None or peer.link[1] < boot or address == peer.entry.address
        ):
            peer.link = (address, boot)
        return self._output(news=news)

    def unlinked(self, address: str) -> MembershipOutput:
        """The link to an address is down; whoever owns it dials again."""
        self._drop_links(address)
        return self._output()

    def _drop_links(self, address: str) -> None:
        for peer in self._peers.values():
            if peer.link is not None and peer.link[0] == address:
                peer.link = None

    def is_myself(self, address: str) -> MembershipOutput:
        """A dialled address turned out to be this node."""
        self._myself.add(address)
        return self._output()

    def accepted(self, node: NodeId, boot: BootId, address: str) -> MembershipOutput:
        """A connection from a peer is up."""
        known = self._peers.get(node)
        entry = MemberEntry(node, address, boot, "", 1.0)
        if known is not None:
            entry = attrs.evolve(known.entry, address=address, boot=boot)
        news = self._introduce(entry, first_hand=True)
        peer = self._peers.get(node)
        if peer is not None and (peer.session is None or peer.session <= boot):
            peer.session = boot
        return self._output(news=news)

    def ended(self, node: NodeId, boot: BootId) -> MembershipOutput:
        """The connection from a peer is down."""
        peer = self._peers.get(node)
        if peer is not None and peer.session == boot:
            peer.session = None
        return self._output()

    def entries(self) -> list[MemberEntry]:
        """Every known member, this node included, sorted by id."""
        known = [peer.entry for peer in self._peers.values()]
        return sorted([self._own, *known], key=lambda entry: entry.id)

    def statuses(self) -> list[Status]:
        """Every known member and whether it can be reached, sorted by id."""
        reachable = {n for n, p in self._peers.items() if p.way is not None}
        reachable.add(self._own.id)
        return [Status(entry, entry.id in reachable) for entry in self.entries()]

    # ------------------------------------------------------------------ consequences

    def _wanted(self) -> dict[str, None]:
        """Addresses to keep a link to: every member's, and seeds whose node is not linked."""
        wanted = {peer.entry.address: None for peer in self._peers.values()}
        for seed in self._seeds:
            peer = self._peers.get(self._seed_of.get(seed, ""))
            if peer is None or peer.link is None or peer.link[0] == seed:
                wanted[seed] = None
        for address in sorted(self._myself):
            wanted.pop(address, None)
        return wanted

    def _output(self, *, news: bool = False) -> MembershipOutput:
        wanted = self._wanted()
        hung_up = [address for address in self.dialled if address not in wanted]
        for address in hung_up:
            # It ends with this output; whoever is reached by it must not count on it.
            self._drop_links(address)
        if hung_up:
            wanted = self._wanted()
        dial = tuple(address for address in wanted if address not in self.dialled)
        hang_up = tuple(address for address in self.dialled if address not in wanted)
        self.dialled = wanted
        down: list[tuple[NodeId, BootId]] = []
        up: list[tuple[NodeId, BootId, str]] = []
        for node, peer in self._peers.items():
            way = peer.way
            if way == peer.told:
                continue
            if peer.told is not None:
                down.append((node, peer.told[1]))
            if way is not None:
                up.append((node, way[1], way[0]))
            peer.told = way
        return MembershipOutput(hang_up, dial, tuple(down), tuple(up), news)


def _is_sound(entry: MemberEntry) -> bool:
    """Whether the member could be in a ring: there is an address to dial, and so on."""
    try:
        RingMember(entry.id, entry.address, entry.weight, entry.zone)
    except CoreError:
        return False
    return True
