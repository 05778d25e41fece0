"""The peers: which nodes are known, one link actor for each, and who can be reached.

A shell around `core.membership`, the static implementation of membership. It starts and stops
links, tells the others what the core says (`PeerUp`, `PeerDown`, `MemberMet`), and passes on
messages between members.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from actors import Behaviour, ChildSpec, Context, MailboxSpec, Overflow, Ref
from cluster.core.membership import MemberEntry, MembershipOutput, StaticMembership
from cluster.core.metrics import Registry
from cluster.core.ring import RingView
from cluster.services.link import Link, LinkOptions, weigh
from cluster.services.local import (
    Bound,
    GetMembers,
    LinkDown,
    LinkIsMyself,
    LinkUp,
    MemberMet,
    MembersHeard,
    MemberStatus,
    Outgoing,
    PeerDown,
    PeersReset,
    PeerUp,
    RingChanged,
    SendTo,
    SessionUp,
    TellAgain,
)
from cluster.wire.messages import FrameHeader, MembersUpdate

__all__ = ["Peers"]

OUTBOX_MESSAGES: Final = 4096
OUTBOX_BYTES: Final = 64 << 20
"""What may wait for one peer; beyond it a message is refused and counted."""

INTRODUCE_INTERVAL_S: Final = 1.0
"""How often a node without a ring introduces itself again: what was told before may be lost, or
forgotten by a ring keeper that crashed."""


NO_BOOT: Final = 0
"""The boot of a member of which only the ring tells: any real one is newer."""


@attrs.frozen
class _IntroduceAgain:
    """Time to introduce this node once more, if it still has no ring."""


class Peers(Behaviour[Any]):
    """The actor; see the module."""

    def __init__(
        self,
        own: Callable[[str], MemberEntry],
        seeds: Sequence[str],
        link_options: Callable[[str], LinkOptions],
        registry: Registry,
        *,
        wall_ms: Callable[[], int],
        clock_offset_max_ms: int,
        subscribers: Callable[[], Sequence[Ref[Any]]],
        ring_keeper: Callable[[], Ref[Any]],
        front_door: Callable[[], Ref[Any]],
        log: Callable[[str, str], None],
    ) -> None:
        """Prepare.

        Args:
            own: makes this node's entry of the address that it can be dialled at.
            seeds: addresses to look for the cluster at.
            link_options: makes what links share of that address.
            registry: where transitions and refusals are counted.
            wall_ms: the wall clock, milliseconds since the epoch.
            clock_offset_max_ms: how far the clocks of others may be ahead.
            subscribers: who is told `PeerUp` and `PeerDown`.
            ring_keeper: who is told `MemberMet`, and tells the ring.
            front_door: who tells where this node listens and which peers have dialled it.
            log: takes a level and a line for people.
        """
        self._make_own: Final = own
        self._seeds: Final = seeds
        self._make_options: Final = link_options
        self._wall_ms: Final = wall_ms
        self._clock_offset_max_ms: Final = clock_offset_max_ms
        self._subscribers: Final = subscribers
        self._ring_keeper: Final = ring_keeper
        self._front_door: Final = front_door
        self._log: Final = log
        self._transitions: Final = registry.counter(
            "hypercache_dist_member_transitions_total", "Members that changed state.", ("state",)
        )
        self._refused: Final = registry.counter(
            "hypercache_dist_introductions_refused_total", "Members named wrongly or too many."
        ).labels()
        self._members: StaticMembership | None = None
        self._options: LinkOptions | None = None
        self._view: RingView | None = None
        self._links: dict[str, Ref[Any]] = {}
        self._connected: dict[str, None] = {}
        self._up: dict[str, tuple[int, Ref[Any]]] = {}
        self._header = FrameHeader(0, 0, 0)
        self._links_made = 0

    async def started(self, ctx: Context[Any]) -> None:
        """Nobody can be reached yet; ask for what was published before."""
        self._publish(ctx, PeersReset())
        self._ring_keeper().tell_control(TellAgain(ctx.ref))
        self._front_door().tell_control(TellAgain(ctx.ref))
        ctx.set_timer("introduce", INTRODUCE_INTERVAL_S, _IntroduceAgain())

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        """Let the core decide, do what it says."""
        if isinstance(message, Bound):
            if self._members is None:
                self._options = self._make_options(message.address)
                self._members = StaticMembership(
                    self._make_own(message.address), self._seeds, self._clock_offset_max_ms
                )
                await self._do(ctx, self._members.start())
                await self._meet_ring(ctx)
        elif isinstance(message, RingChanged):
            self._view = message.view
            self._header = FrameHeader(0, message.view.epoch, message.view.digest)
            await self._meet_ring(ctx)
        elif isinstance(message, _IntroduceAgain):
            self._introduce_again(ctx)
        elif isinstance(message, SendTo):
            self._send(ctx, message.node_id, message.message)
        elif isinstance(message, TellAgain):
            for node, (boot, link) in self._up.items():
                message.to.tell_control(PeerUp(node, boot, link), cause=ctx.message_id)
        elif isinstance(message, GetMembers):
            ctx.reply(self._statuses())
        elif self._members is not None:
            await self._on_event(ctx, self._members, message)

    async def _on_event(self, ctx: Context[Any], members: StaticMembership, message: Any) -> None:
        if isinstance(message, LinkUp):
            await self._on_link_up(ctx, members, message)
        elif isinstance(message, LinkDown):
            self._connected.pop(message.address, None)
            self._log("info", f"link to {message.address} is down: {message.reason}")
            await self._do(ctx, members.unlinked(message.address))
        elif isinstance(message, LinkIsMyself):
            await self._do(ctx, members.is_myself(message.address))
        elif isinstance(message, MembersHeard):
            self._introduce(ctx, message)
            await self._hear(ctx, members, message.sender, message.members)
        elif isinstance(message, SessionUp):
            if message.up:
                await self._do(
                    ctx, members.accepted(message.node_id, message.boot, message.address)
                )
            else:
                await self._do(ctx, members.ended(message.node_id, message.boot))

    async def _on_link_up(
        self, ctx: Context[Any], members: StaticMembership, message: LinkUp
    ) -> None:
        if self._links.get(message.address) != message.link:
            return
        self._connected[message.address] = None
        self._log("info", f"link to {message.node_id} at {message.address} is up")
        output = members.linked(message.address, message.node_id, message.boot)
        await self._do(ctx, output)
        ctx.tell(message.link, self._outgoing(MembersUpdate(members.entries())))

    async def _hear(
        self,
        ctx: Context[Any],
        members: StaticMembership,
        sender: str,
        entries: Sequence[MemberEntry],
    ) -> None:
        before = members.refused
        output = members.introduced(sender, entries, self._wall_ms())
        self._refused.value += members.refused - before
        await self._do(ctx, output)

    def _introduce(self, ctx: Context[Any], message: MembersHeard) -> None:
        for entry in message.members:
            if entry.id == message.sender:
                header = message.header
                ctx.tell(self._ring_keeper(), MemberMet(entry, header.epoch, header.digest))

    def _introduce_again(self, ctx: Context[Any]) -> None:
        if self._view is not None:
            return
        if self._members is not None:
            update = MembersUpdate(self._members.entries())
            for address in self._connected:
                ctx.tell(self._links[address], self._outgoing(update))
        ctx.set_timer("introduce", INTRODUCE_INTERVAL_S, _IntroduceAgain())

    async def _meet_ring(self, ctx: Context[Any]) -> None:
        """Know everyone that the ring names, even if nobody has introduced them."""
        if self._view is not None and self._members is not None:
            named = [
                MemberEntry(each.id, each.address, NO_BOOT, each.zone, each.weight)
                for each in self._view.members
            ]
            await self._hear(ctx, self._members, "", named)

    async def _do(self, ctx: Context[Any], output: MembershipOutput) -> None:
        for address in output.hang_up:
            self._connected.pop(address, None)
            link = self._links.pop(address)
            await ctx.stop_child(link)
        for address in output.dial:
            self._links[address] = self._start_link(ctx, address)
        for node, boot in output.down:
            del self._up[node]
            self._log("warning", f"{node} cannot be reached")
            self._transitions.labels("unreachable").value += 1
            self._publish(ctx, PeerDown(node, boot, "its link is down"))
        for node, boot, address in output.up:
            link = self._links[address]
            self._up[node] = (boot, link)
            self._log("info", f"{node} can be reached")
            self._transitions.labels("alive").value += 1
            self._publish(ctx, PeerUp(node, boot, link))
        if output.news and self._members is not None:
            update = MembersUpdate(self._members.entries())
            for link in self._links.values():
                ctx.tell(link, self._outgoing(update))

    def _start_link(self, ctx: Context[Any], address: str) -> Ref[Any]:
        assert self._options is not None, "nobody is dialled before the node listens"
        options = self._options
        self._links_made += 1
        return ctx.start_child(
            ChildSpec(
                f"link-{self._links_made}",
                lambda: Link(address, ctx.ref, options),
                mailbox=MailboxSpec(
                    capacity=OUTBOX_MESSAGES,
                    overflow=Overflow.REJECT,
                    weigh=weigh,
                    weight_max=OUTBOX_BYTES,
                ),
            )
        )

    def _publish(self, ctx: Context[Any], message: PeerUp | PeerDown | PeersReset) -> None:
        """All on the control lane: in order among each other, and none lost to a full mailbox."""
        for subscriber in self._subscribers():
            subscriber.tell_control(message, cause=ctx.message_id)

    def _send(self, ctx: Context[Any], node: str, message: Any) -> None:
        up = self._up.get(node)
        if up is not None:
            ctx.tell(up[1], self._outgoing(message))

    def _outgoing(self, message: Any) -> Outgoing:
        return Outgoing(self._header, [message], urgent=True)

    def _statuses(self) -> tuple[MemberStatus, ...]:
        if self._members is None:
            return ()
        return tuple(
            MemberStatus(
                id=status.entry.id,
                address=status.entry.address,
                state="alive" if status.reachable else "unreachable",
                boot=status.entry.boot,
                zone=status.entry.zone,
                weight=status.entry.weight,
                warming=0,
            )
            for status in self._members.statuses()
        )
