"""The link to one peer: dials, greets, and is the one writer of the connection.

What waits in the mailbox is the outbox: every drained batch leaves in as few frames as its bytes
allow, at once when the link is idle. Messages between members overtake data in the next frame. The
connection carries nothing but our frames; a reader waits on it only to notice its end. While there
is no connection, what is sent is dropped and counted: whoever sent it repeats it or gives up by its
deadline.

The link dials for ever, with backoff; `peers` decides when it is not wanted any more.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs

from actors import Behaviour, Context, Outcome, Ref
from cluster.core.backoff import Backoff
from cluster.core.operations import ReplicaReadReply, ReplicaWrite
from cluster.environment import Environment
from cluster.errors import ClusterError, HandshakeRefused
from cluster.net.base import Connection
from cluster.net.greeting import DialledMyselfError, OutdatedBootError, greet
from cluster.services.local import LinkDown, LinkIsMyself, LinkUp, Outgoing
from cluster.services.outbox import Outbox
from cluster.services.traffic import Traffic
from cluster.wire.codec import Codec
from cluster.wire.handshake import Hello, Welcome

__all__ = ["Link", "LinkOptions", "weigh"]

DIAL_TIMEOUT_S: Final = 3.0
REDIAL_FIRST_S: Final = 0.05
REDIAL_MAX_S: Final = 2.0


@attrs.frozen
class LinkOptions:
    """What all links of a node have in common."""

    environment: Environment
    hello: Hello
    codec: Codec
    traffic: Traffic
    log: Callable[[str, str], None]
    """Takes a level (`info`, `warning`) and a line for people."""
    on_outdated: Callable[[int, str], None]
    """Told a boot of this node that a peer knows and that is later than its own, and by whom: this
    node cannot go on."""


@attrs.frozen
class _Dial:
    """It is time to dial."""


@attrs.frozen
class _Connected:
    connection: Connection
    welcome: Welcome


@attrs.frozen
class _Ended:
    outcome: Outcome[None]


def weigh(message: Any) -> int:
    """Bytes that a message holds while it waits for its link; small ones count as nothing."""
    if not isinstance(message, Outgoing):
        return 0
    total = 0
    for each in message.messages:
        if isinstance(each, ReplicaWrite):
            total += sum(map(len, each.records))
        elif isinstance(each, ReplicaReadReply):
            total += sum(len(record) for record in each.records if record is not None)
    return total


class Link(Behaviour[Any]):
    """The actor; see the module."""

    def __init__(self, address: str, peers: Ref[Any], options: LinkOptions) -> None:
        self._address: Final = address
        self._peers: Final = peers
        self._options: Final = options
        self._connection: Connection | None = None
        self._backoff: Backoff | None = None
        self._refusal = ""
        self._outbox: Final = Outbox(options.codec, options.traffic, self._tell_dropped)

    async def started(self, ctx: Context[Any]) -> None:
        """Dial at once; what the last incarnation had connected went with it."""
        if ctx.incarnation > 1:
            self._tell_peers(ctx, LinkDown(self._address, "the link crashed"))
        self._backoff = Backoff(REDIAL_FIRST_S, REDIAL_MAX_S, ctx.rng)
        ctx.set_timer("dial", 0.0, _Dial())

    def receive(self, ctx: Context[Any], message: Any) -> None:
        """Encode what is to be sent, or follow the connection."""
        if isinstance(message, Outgoing):
            self._take(ctx, message)
        elif isinstance(message, _Dial):
            ctx.start_task(self._converse, ctx, then=_Ended, name="converse")
        elif isinstance(message, _Connected):
            self._on_connected(ctx, message)
        elif isinstance(message, _Ended):
            self._on_ended(ctx, message)

    def _take(self, ctx: Context[Any], outgoing: Outgoing) -> None:
        if self._connection is None:
            self._options.traffic.dropped.value += len(outgoing.messages)
            return
        self._outbox.put(outgoing.header, outgoing.messages, ctx.now(), urgent=outgoing.urgent)

    def _tell_dropped(self, message: Any, error: ValueError) -> None:
        name = type(message).__name__
        self._options.log("error", f"a {name} for {self._address} is dropped: {error}")

    def settled(self, _ctx: Context[Any]) -> Awaitable[None] | None:
        """Write what waits, members' messages first."""
        if not self._outbox:
            return None
        if self._connection is None:
            self._outbox.clear()
            return None
        return self._outbox.write(self._connection)

    # ------------------------------------------------------------------ the connection

    async def _converse(self, ctx: Context[Any]) -> None:
        """Dial, greet, and wait for the end of the connection."""
        options = self._options
        transport = options.environment.transport
        async with transport.dial(self._address, timeout_s=DIAL_TIMEOUT_S) as connection:
            welcome = await greet(
                connection, options.hello, options.codec, timeout_s=DIAL_TIMEOUT_S
            )
            ctx.ref.tell_control(_Connected(connection, welcome))
            while True:
                await connection.receive()
                options.log("warning", f"{self._address} sent a frame on our link: ignored")

    def _on_connected(self, ctx: Context[Any], message: _Connected) -> None:
        assert self._backoff is not None, "set when the actor started"
        self._backoff.reset()
        self._refusal = ""
        self._connection = message.connection
        welcome = message.welcome
        self._tell_peers(ctx, LinkUp(self._address, ctx.ref, welcome.node_id, welcome.boot))

    def _tell_peers(self, ctx: Context[Any], message: LinkUp | LinkDown | LinkIsMyself) -> None:
        """On the control lane: few, and none may be lost."""
        self._peers.tell_control(message, cause=ctx.message_id)

    def _on_ended(self, ctx: Context[Any], message: _Ended) -> None:
        assert self._backoff is not None, "set when the actor started"
        error = message.outcome.error
        was_up, self._connection = self._connection is not None, None
        self._outbox.clear()
        if isinstance(error, HandshakeRefused):
            if isinstance(error, DialledMyselfError):
                self._tell_peers(ctx, LinkIsMyself(self._address))
                return
            if isinstance(error, OutdatedBootError):
                self._options.on_outdated(error.known_boot, str(error))
            self._log_refusal(str(error))
        elif error is not None and not isinstance(error, ClusterError):
            raise error
        if was_up:
            self._tell_peers(ctx, LinkDown(self._address, str(error)))
        ctx.set_timer("dial", self._backoff.next_delay(), _Dial())

    def _log_refusal(self, reason: str) -> None:
        """Say it once, not at every attempt."""
        if reason != self._refusal:
            self._refusal = reason
            self._options.log("warning", f"{self._address} refuses this node: {reason}")
