"""What one node knows of the ring: nothing, or one view of it.

A node founds a ring when it is told how many members to wait for and has met them all: every
founder sorts the same members into the same first view, so that they need not talk about it.
Otherwise it takes over the view of a member of it. A node that is told of no members to wait for
never founds.

Once there is a view it stays: rings do not change yet, so another one, of whatever epoch, is a
conflict. It is reported and never merged, because neither side can say which owners hold the
acknowledged writes.

A member's address is no matter of agreement: what a member says of itself wins over what a view
says of it.
"""

import attrs

from cluster.core.ring import FIRST_EPOCH, MEMBERS_MAX, RingMember, RingOutline, RingView
from cluster.core.values import NodeId

NO_EPOCH = 0
"""The epoch of a node that knows no ring."""


@attrs.frozen
class RingOutput:
    """What the owner of a `RingState` has to do."""

    changed: RingView | None = None
    """Publish this view."""

    conflict: str | None = None
    """Tell people this."""

    ask: bool = False
    """Ask the other node for its view."""

    tell: bool = False
    """Tell the other node the own view."""


class RingState:
    """The ring as far as one node knows it.

    Invariant: epoch and digest of `view` never change.
    """

    def __init__(
        self,
        own: RingMember,
        *,
        virtual_nodes: int,
        replication_factor: int,
        bootstrap_expect: int,
    ) -> None:
        """Know nothing but oneself.

        Args:
            own: This node.
            virtual_nodes: Partitions of the hash ring.
            replication_factor: Owners per partition.
            bootstrap_expect: Members to meet before founding, this node included. 1 founds a
                cluster of one; 0 never founds.
        """
        if not 0 <= bootstrap_expect <= MEMBERS_MAX:
            raise ValueError(f"bootstrap_expect {bootstrap_expect} is not in [0, {MEMBERS_MAX}]")
        self._own = own
        self._virtual_nodes = virtual_nodes
        self._replication_factor = replication_factor
        self._bootstrap_expect = bootstrap_expect
        self._met: dict[NodeId, RingMember] = {own.id: own}
        self._has_ring: dict[NodeId, bool] = {own.id: False}
        self.view: RingView | None = None

    @property
    def epoch(self) -> int:
        """The epoch of the view, or `NO_EPOCH`."""
        return NO_EPOCH if self.view is None else self.view.epoch

    @property
    def digest(self) -> int:
        """The digest of the view, or 0."""
        return 0 if self.view is None else self.view.digest

    @property
    def met(self) -> int:
        """How many nodes were met, this one included."""
        return len(self._met)

    @property
    def awaited(self) -> int:
        """Members still to be met before this node founds a ring; 0 if it will not."""
        if self.view is not None:
            return 0
        return max(0, self._bootstrap_expect - len(self._met))

    def start(self) -> RingOutput:
        """Found a cluster of one, if that is what is expected."""
        return RingOutput(changed=self._found())

    def meet(self, member: RingMember, epoch: int, digest: int) -> RingOutput:
        """Get to know a node that introduces itself.

        Args:
            member: What it says of itself.
            epoch: The epoch of its ring, or `NO_EPOCH`.
            digest: The digest of its ring, or 0.
        """
        if member.id not in self._met and len(self._met) >= MEMBERS_MAX:
            return RingOutput(conflict=f"{member.id}: more than {MEMBERS_MAX} nodes met")
        self._met[member.id] = member
        self._has_ring[member.id] = epoch != NO_EPOCH
        changed = self._found() or self._readdressed()
        heard = self.hear(member.id, epoch, digest)
        return attrs.evolve(
            heard, changed=changed, conflict=heard.conflict or self._differs(member)
        )

    def hear(self, sender: NodeId, epoch: int, digest: int) -> RingOutput:
        """Compare the ring of another node, as named in its frames, with the own one."""
        if self.view is not None and epoch != NO_EPOCH and digest != self.digest:
            return RingOutput(conflict=self._conflict_with(sender, epoch, digest))
        return RingOutput(ask=epoch > self.epoch, tell=epoch < self.epoch)

    def learn(self, sender: NodeId, ring: RingOutline) -> RingOutput:
        """Take over the ring of another node, if there is none yet and that node is in it.

        Args:
            sender: Who says so; this node itself, if it held that ring before.
            ring: Not placed before it is accepted.

        Raises:
            InvalidRingError: It is none; see `RingOutline.view`.
        """
        if self.view is not None:
            return self.hear(sender, ring.epoch, ring.digest)
        if sender != self._own.id and ring.member(sender) is None:
            return RingOutput(conflict=f"{sender} sent a ring that it is not in: not taken over")
        theirs = (ring.virtual_nodes, ring.replication_factor)
        ours = (self._virtual_nodes, self._replication_factor)
        if theirs != ours:
            return RingOutput(
                conflict=f"{sender} has a ring of virtual_nodes and replication_factor {theirs}, "
                f"but this node is configured for {ours}"
            )
        self.view = view = ring.view()
        return RingOutput(changed=self._readdressed() or view)

    def _found(self) -> RingView | None:
        """Found a ring of all members met, once they are as many as expected.

        Not while one of them has a ring: that one will be learned.
        """
        if (
            self.view is not None
            or len(self._met) != self._bootstrap_expect
            or any(self._has_ring.values())
        ):
            return None
        self.view = RingView(
            FIRST_EPOCH, tuple(self._met.values()), self._virtual_nodes, self._replication_factor
        )
        return self.view

    def _readdressed(self) -> RingView | None:
        """Put into the view the addresses that members gave themselves."""
        if self.view is None:
            return None
        members = tuple(
            attrs.evolve(member, address=self._met.get(member.id, member).address)
            for member in self.view.members
        )
        if members == self.view.members:
            return None
        self.view = attrs.evolve(self.view, members=members)
        return self.view

    def _differs(self, member: RingMember) -> str | None:
        """Say how a node differs from what the ring says of it; the ring holds."""
        known = None if self.view is None else self.view.member(member.id)
        if known is None or (known.weight, known.zone) == (member.weight, member.zone):
            return None
        return (
            f"{member.id} is configured for weight {member.weight} and zone {member.zone!r}, but "
            f"the ring of epoch {self.epoch} has weight {known.weight} and zone {known.zone!r}"
        )

    def _conflict_with(self, sender: NodeId, epoch: int, digest: int) -> str:
        return (
            f"{sender} has another ring: epoch {epoch}, digest {digest:016x}, "
            f"not epoch {self.epoch}, digest {self.digest:016x}; the two were founded apart and do "
            f"not share data"
        )
