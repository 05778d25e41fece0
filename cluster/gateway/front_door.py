"""The front door: the websocket port, where peers and clients come in.

One actor listens. Every accepted connection is greeted and then read by its own task (`readers`): a
client's requests go to the replicator as one item per frame, a peer's messages to whom they are
for. A reader never waits for a mailbox: what a full replicator does not take is answered at once. A
frame that breaks the protocol ends its connection, with the reason told to the other side and to
the log; nothing else is touched.

Replies to a client leave by a session actor of its own (`session`). Nothing is ever sent to a peer
on the connection that it dialled: that way is its own, `services.link` is ours.
"""

from collections.abc import Callable
from typing import Any, Final

import attrs
import trio

from actors import Behaviour, ChildSpec, Context, MailboxSpec, Outcome, Overflow, Ref, Restart
from cluster.core.membership import MEMBERS_MAX
from cluster.core.metrics import Gauge, Registry
from cluster.environment import Environment
from cluster.errors import ConnectionLost, ProtocolError
from cluster.gateway.readers import ClientReader, Door, PeerReader
from cluster.gateway.session import Answer, ClientSession, HangUp, weigh
from cluster.net.base import Connection
from cluster.net.greeting import welcome
from cluster.services.local import (
    Bound,
    ClientGone,
    Drain,
    PeerDown,
    PeersReset,
    PeerUp,
    RingChanged,
    SessionUp,
    TellAgain,
)
from cluster.services.traffic import Traffic
from cluster.wire.codec import Codec, FrameLimits
from cluster.wire.handshake import ROLE_CLIENT, Hello, LocalNode, Reject, Welcome, judge
from cluster.wire.messages import FrameHeader

__all__ = ["FrontDoor", "FrontDoorOptions"]

REPLIES_MAX: Final = 4096
REPLIES_BYTES: Final = 64 << 20
"""What may wait for one client; one that lets more wait is cut off."""

SESSION_MAILBOX: Final = MailboxSpec(
    capacity=REPLIES_MAX, overflow=Overflow.REJECT, weigh=weigh, weight_max=REPLIES_BYTES
)

CONNECTION_BITS: Final = 40
"""Bits of a connection's number below those of the front door's incarnation."""


@attrs.frozen(kw_only=True)
class FrontDoorOptions:
    """What the front door needs.

    Attributes:
        bind: says where to listen, `host:port`; after the first time with the port that was bound.
        local: makes what this node says of itself, of the address it was bound to.
        limits: of frames, for decoding.
        environment: clocks and transport.
        registry: where traffic is counted.
        answer: answers control requests.
        replicator: takes `ClientBatch`, `ClientGone`, `PeerBatch`.
        peers: takes `Bound`, `SessionUp`, `MembersHeard`.
        ring_keeper: takes `Bound`, `RingHeard`, `RingAsked`.
        on_bound: told the bound address.
        log: takes a level and a line for people.
    """

    bind: Callable[[], str]
    local: Callable[[str], LocalNode]
    limits: FrameLimits
    environment: Environment
    registry: Registry
    answer: Answer
    replicator: Callable[[], Ref[Any]]
    peers: Callable[[], Ref[Any]]
    ring_keeper: Callable[[], Ref[Any]]
    on_bound: Callable[[str], None]
    log: Callable[[str, str], None]


@attrs.frozen
class _Listening:
    address: str


@attrs.frozen
class _ListeningEnded:
    outcome: Outcome[None]


class FrontDoor(Behaviour[Any]):
    """The actor; see the module."""

    def __init__(self, options: FrontDoorOptions) -> None:
        self._o: Final = options
        self._clients: Final = Traffic(options.registry, "client")
        self._peers: Final = Traffic(options.registry, "peer")
        connections = options.registry.gauge(
            "hypercache_dist_connections", "Accepted connections that are open.", ("kind",)
        )
        self._open_clients: Final = connections.labels("client")
        self._open_peers: Final = connections.labels("peer")
        self._cut_off: Final = options.registry.counter(
            "hypercache_dist_clients_cut_off_total", "Clients that let too many replies wait."
        ).labels()
        self._local: LocalNode | None = None
        self._door: Door | None = None
        self._bound: Final = trio.Event()
        self._failure: OSError | None = None
        self._peer_sessions: dict[int, SessionUp] = {}
        self._boots: dict[str, int] = {}
        self._accepted = 0

    async def started(self, ctx: Context[Any]) -> None:
        """Listen; ask for what was published before."""
        self._open_clients.set(0)
        self._open_peers.set(0)
        self._o.ring_keeper().tell_control(TellAgain(ctx.ref))
        self._o.peers().tell_control(TellAgain(ctx.ref))
        ctx.start_task(self._listen, ctx, then=_ListeningEnded, name="listen")
        await self._bound.wait()
        if self._failure is not None:
            raise self._failure

    def receive(self, ctx: Context[Any], message: Any) -> None:
        """Follow the ring and the peers."""
        door = self._opened()
        if isinstance(message, RingChanged):
            door.view = message.view
            door.header = FrameHeader(0, message.view.epoch, message.view.digest)
        elif isinstance(message, PeerUp):
            door.links[message.node_id] = message.link
            self._know_boot(message.node_id, message.boot)
        elif isinstance(message, PeerDown):
            door.links.pop(message.node_id, None)
        elif isinstance(message, PeersReset):
            door.links.clear()
        elif isinstance(message, _Listening):
            self._on_listening(ctx, message.address)
        elif isinstance(message, TellAgain):
            self._tell_again(ctx, message.to)
        elif isinstance(message, Drain):
            door.draining = True
            ctx.reply(None)
        elif isinstance(message, _ListeningEnded):
            message.outcome.unwrap()

    def _opened(self) -> Door:
        if self._door is None:
            own = self._o.local("")
            self._door = Door(
                own.node_id,
                own.boot,
                self._o.environment,
                self._o.replicator(),
                self._o.peers(),
                self._o.ring_keeper(),
            )
        return self._door

    # ------------------------------------------------------------------ listening

    async def _listen(self, ctx: Context[Any]) -> None:
        async def handle(connection: Connection) -> None:
            await self._handle(ctx, connection)

        transport = self._o.environment.transport
        async with trio.open_nursery() as nursery:
            try:
                address = await nursery.start(transport.serve, self._o.bind(), handle)
            except OSError as error:
                self._failure = error
            else:
                ctx.ref.tell_control(_Listening(address))
            self._bound.set()

    def _on_listening(self, ctx: Context[Any], address: str) -> None:
        self._local = self._o.local(address)
        for ref in (self._o.ring_keeper(), self._o.peers()):
            ref.tell_control(Bound(self._local.address), cause=ctx.message_id)
        self._o.on_bound(address)

    def _tell_again(self, ctx: Context[Any], to: Ref[Any]) -> None:
        if self._local is not None:
            to.tell_control(Bound(self._local.address), cause=ctx.message_id)
        for session in self._peer_sessions.values():
            to.tell_control(session, cause=ctx.message_id)

    # ------------------------------------------------------------------ connections

    async def _handle(self, ctx: Context[Any], connection: Connection) -> None:
        """Serve one accepted connection until it ends."""
        # Numbered before the greeting: a client dials anew only once it has given this one up.
        self._accepted += 1
        number = self._accepted
        hello, _, codec = await welcome(connection, self._judge, self._o.limits)
        if hello.role == ROLE_CLIENT:
            await self._serve_client(ctx, connection, codec, hello, number)
        else:
            await self._serve_peer(connection, codec, hello, number)

    def _judge(self, hello: Hello) -> Welcome | Reject:
        if self._local is None:
            return Reject("the node is starting: try again")
        view = self._opened().view
        wire = None if view is None else list(view.as_wire())
        return judge(hello, self._local, wire, self._boots.get(hello.id, 0))

    def _know_boot(self, node_id: str, boot: int) -> None:
        """Keep the highest boot in which a peer was connected."""
        if node_id in self._boots or len(self._boots) < MEMBERS_MAX:
            self._boots[node_id] = max(boot, self._boots.get(node_id, 0))

    async def _serve_client(
        self, ctx: Context[Any], connection: Connection, codec: Codec, hello: Hello, number: int
    ) -> None:
        session = ctx.start_child(
            ChildSpec(
                f"session-{number}",
                lambda: ClientSession(
                    connection,
                    codec,
                    self._o.environment,
                    self._clients,
                    self._o.answer,
                    on_cut_off=self._on_cut_off,
                ),
                restart=Restart.TEMPORARY,
                mailbox=SESSION_MAILBOX,
            )
        )
        door = self._opened()
        grown = (ctx.incarnation << CONNECTION_BITS) + number
        reader = ClientReader(door, connection, codec, hello.boot, grown, session, self._clients)
        self._count(self._open_clients, 1)
        try:
            await reader.run()
        except ProtocolError:
            self._clients.protocol_errors.value += 1
            raise
        finally:
            self._count(self._open_clients, -1)
            session.tell_control(HangUp())
            door.replicator.tell_control(ClientGone(hello.boot, grown))

    def _on_cut_off(self, remote: str, reason: str) -> None:
        self._cut_off.value += 1
        self._o.log("warning", f"client {remote} is cut off: {reason}")

    async def _serve_peer(
        self, connection: Connection, codec: Codec, hello: Hello, number: int
    ) -> None:
        door = self._opened()
        self._know_boot(hello.id, hello.boot)
        up = SessionUp(hello.id, hello.boot, hello.address, up=True)
        self._peer_sessions[number] = up
        door.peers.tell_control(up)
        self._count(self._open_peers, 1)
        try:
            reader = PeerReader(door, connection, codec, hello.id, hello.boot, self._peers)
            await reader.run()
        except ProtocolError:
            self._peers.protocol_errors.value += 1
            raise
        except ConnectionLost as lost:
            self._o.log("info", f"the connection from {hello.id} ended: {lost}")
            raise
        finally:
            self._count(self._open_peers, -1)
            del self._peer_sessions[number]
            if up not in self._peer_sessions.values():
                door.peers.tell_control(attrs.evolve(up, up=False))

    @staticmethod
    def _count(gauge: Gauge, change: int) -> None:
        gauge.set(gauge.value + change)
