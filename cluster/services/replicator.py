"""The replicator: owns the record table, coordinates client operations, serves replica operations.

A shell: mail in, calls of `core.coordinator` and `core.replica`, their output out. Whatever one
drained batch of mail causes leaves together, as one `Outgoing` per peer and one `Replies` per
client session (`settled`).

What the promises rest on is in here, so a crash of this actor ends the node's life: it is
supervised without restarts.
"""

from collections.abc import Callable
from typing import Any, Final

import attrs

from actors import Behaviour, Context, Ref, Reply
from cluster.core import record as rec
from cluster.core.clock import HybridClock
from cluster.core.coordinator import Coordinator
from cluster.core.exchange import Output, Settings
from cluster.core.metrics import Registry
from cluster.core.operations import (
    ReplicaMessage,
    ReplicaRead,
    ReplicaReadReply,
    ReplicaWrite,
    ReplicaWriteReply,
    Settled,
    chain_of,
)
from cluster.core.replica import Replica
from cluster.core.table import RecordTable
from cluster.core.values import CoreError
from cluster.environment import Environment
from cluster.services.callers import Callers
from cluster.services.local import (
    ClientBatch,
    ClientGone,
    CutOff,
    FrameObserved,
    GetRecord,
    GetReplicatorStatistics,
    Outgoing,
    PeerBatch,
    PeerDown,
    PeersReset,
    PeerUp,
    RecordPage,
    Replies,
    RingChanged,
    RingHeard,
    ScanKeys,
    TellAgain,
    WaitIdle,
)
from cluster.services.replicator_metrics import ReplicatorMetrics
from cluster.wire.messages import FrameHeader

__all__ = ["Replicator", "weigh"]

EXPIRE_INTERVAL_S: Final = 0.5
EXPIRE_INTERVAL_MAX_S: Final = 5.0
"""How long an expired value may be held because something that expires later was all there was."""

EXPIRE_SLICE: Final = 1_000
"""Records looked at between two messages while expired values are let go."""


@attrs.frozen
class _Tick:
    """A deadline or a repetition is due."""


@attrs.frozen
class _Expire:
    """Let go of the values of expired records."""


_TICK: Final = _Tick()
_EXPIRE: Final = _Expire()


def weigh(message: Any) -> int:
    """Bytes that a message holds while it waits for the replicator."""
    return message.size_bytes if isinstance(message, (ClientBatch, PeerBatch)) else 0


class Replicator(Behaviour[Any]):
    """The actor; see the module."""

    never_waits = True

    def __init__(
        self,
        settings: Settings,
        environment: Environment,
        registry: Registry,
        new_id: Callable[[], int],
        *,
        partitions: int,
        clock_offset_max_ms: int,
        ring_keeper: Callable[[], Ref[Any]],
        on_serving: Callable[[], None],
    ) -> None:
        self._node_id: Final = settings.node_id
        self._environment: Final = environment
        self._ring_keeper: Final = ring_keeper
        self._on_serving: Final = on_serving
        self._serving = False
        self._clock: Final = HybridClock(clock_offset_max_ms)
        self._table: Final = RecordTable(partitions)
        self._coordinator: Final = Coordinator(settings, self._clock, self._table, new_id)
        self._replica: Final = Replica(
            settings.node_id,
            settings.boot,
            self._clock,
            self._table,
            value_max=settings.value_max,
            reply_bytes_max=settings.reply_bytes_max,
        )
        self._metrics: Final = ReplicatorMetrics(registry)
        self._links: dict[str, Ref[Any]] = {}
        self._callers: Final = Callers()
        self._answers: dict[str, list[ReplicaMessage]] = {}
        self._wake_at: float | None = None
        self._expire_is_set = False
        self._wait_idle: list[Reply[None]] = []
        self._epoch = 0
        self._digest = 0
        self._handlers: Final[dict[type, Callable[[Context[Any], Any], None]]] = {
            ClientBatch: self._on_client,
            PeerBatch: self._on_peer,
            _Tick: self._on_tick,
            _Expire: self._on_expire,
            ClientGone: self._on_client_gone,
            PeerUp: self._on_peer_up,
            PeerDown: self._on_peer_down,
            PeersReset: self._on_peers_reset,
            TellAgain: self._on_tell_again,
            RingChanged: self._on_ring,
            GetRecord: self._on_get_record,
            ScanKeys: self._on_scan,
            GetReplicatorStatistics: self._on_statistics,
            WaitIdle: self._on_wait_idle,
        }

    async def started(self, ctx: Context[Any]) -> None:
        """Ask for the ring."""
        self._ring_keeper().tell_control(TellAgain(ctx.ref))

    def receive(self, ctx: Context[Any], message: Any) -> None:
        """Hand a message to the core; what it causes leaves in `settled`."""
        self._handlers[type(message)](ctx, message)

    def settled(self, ctx: Context[Any]) -> None:
        """Send everything that the last batch of mail caused, one item per receiver."""
        now, wall_ms = ctx.now(), self._environment.wall_ms()
        coordinator = self._coordinator
        coordinator.flush(now, wall_ms)
        output = coordinator.take_output()
        answers, self._answers = self._answers, {}
        if output is not None or answers:
            header = self._header(wall_ms)
            if output is not None:
                self._send(ctx, output, answers, header)
            for node, replies in answers.items():
                self._send_to(ctx, node, Outgoing(header, replies))
        self._arm(ctx, now)
        if self._wait_idle and not coordinator.pending:
            waiting, self._wait_idle = self._wait_idle, []
            for reply in waiting:
                reply.send(None)

    # ------------------------------------------------------------------ data path

    def _on_client(self, ctx: Context[Any], batch: ClientBatch) -> None:
        session_id = batch.session_id
        if not self._callers.heard(session_id, batch.connection, batch.reply_to):
            return  # of a connection that is over: there is nobody to answer
        wall_ms = self._environment.wall_ms()
        self._clock.observe_client(batch.header.clock, wall_ms)
        chains = [
            chain_of(session_id, request.request_id)
            for request in batch.requests
            if not isinstance(request, Settled)
        ]
        ctx.notes("ClientRequest", chains, message_id=None, cause=ctx.message_id)
        self._coordinator.submit(batch.session_id, batch.requests, ctx.now(), wall_ms)

    def _on_peer(self, ctx: Context[Any], batch: PeerBatch) -> None:
        now, wall_ms = ctx.now(), self._environment.wall_ms()
        self._clock.observe(batch.header.clock, wall_ms)
        coordinator = self._coordinator
        coordinator.learn_boot(batch.sender, batch.boot)
        same_ring = batch.header.digest == self._digest
        if not same_ring:
            header = batch.header
            ctx.tell(self._ring_keeper(), FrameObserved(batch.sender, header.epoch, header.digest))
        for message in batch.messages:
            if isinstance(message, (ReplicaWriteReply, ReplicaReadReply)):
                coordinator.on_reply(batch.sender, message, now, wall_ms)
                continue
            answer = self._serve(message, now, wall_ms, same_ring=same_ring)
            outcome = "expired"
            if answer is not None:
                outcome = "refused" if answer.refused else "ok"
                self._answers.setdefault(batch.sender, []).append(answer)
            name, keys = type(message).__name__, len(message.keys)
            ctx.notes(name, message.chains, cause=message.round_id, outcome=outcome, bytes=keys)

    def _serve(
        self, message: ReplicaWrite | ReplicaRead, now: float, wall_ms: int, *, same_ring: bool
    ) -> ReplicaWriteReply | ReplicaReadReply | None:
        if isinstance(message, ReplicaWrite):
            return self._replica.write(message, now, wall_ms, same_ring=same_ring)
        return self._replica.read(message, now, same_ring=same_ring)

    def _send(
        self,
        ctx: Context[Any],
        output: Output,
        answers: dict[str, list[ReplicaMessage]],
        header: FrameHeader,
    ) -> None:
        for node, requests in output.sends.items():
            for sent in requests:
                name, keys, round_id = type(sent).__name__, len(sent.keys), sent.round_id
                ctx.notes(name, sent.chains, message_id=round_id, outcome=node, bytes=keys)
            self._send_to(ctx, node, Outgoing(header, [*answers.pop(node, ()), *requests]))
        for session_id, replies in output.replies.items():
            session = self._callers.get(session_id)
            if session is not None and not ctx.tell(session, Replies(header, replies)):
                session.tell_control(CutOff())
        for done in output.finished:
            chain, outcome, keys = done.chain, done.outcome, len(done.keys)
            self._metrics.finished(done, outcome)
            ctx.note(
                done.op, chain=chain, cause=chain, outcome=outcome, took=done.took_s, bytes=keys
            )

    def _send_to(self, ctx: Context[Any], node: str, message: Outgoing) -> None:
        link = self._links.get(node)
        if link is not None:
            ctx.tell(link, message)

    def _header(self, wall_ms: int) -> FrameHeader:
        return FrameHeader(self._clock.tick(wall_ms), self._epoch, self._digest)

    # ------------------------------------------------------------------ time

    def _arm(self, ctx: Context[Any], now: float) -> None:
        wanted = self._coordinator.wake_at
        if wanted is not None and (self._wake_at is None or wanted < self._wake_at):
            self._wake_at = wanted
            ctx.set_timer("tick", wanted - now, _TICK)
        if self._table.expiring and not self._expire_is_set:
            self._expire_is_set = True
            ctx.set_timer("expire", EXPIRE_INTERVAL_S, _EXPIRE)

    def _on_tick(self, ctx: Context[Any], _: _Tick) -> None:
        self._wake_at = None
        self._coordinator.tick(ctx.now(), self._environment.wall_ms())

    def _on_expire(self, ctx: Context[Any], _: _Expire) -> None:
        """One slice of the work, and the next one when it is due: never, if nothing expires."""
        wall_ms = self._environment.wall_ms()
        self._table.expire(wall_ms, EXPIRE_SLICE)
        due_ms = self._table.next_sweep_ms()
        self._expire_is_set = due_ms is not None
        if due_ms is None:
            return
        wait_s = (due_ms - wall_ms) / 1000
        if wait_s > 0.0:
            wait_s = min(max(wait_s, EXPIRE_INTERVAL_S), EXPIRE_INTERVAL_MAX_S)
        ctx.set_timer("expire", wait_s, _EXPIRE)

    # ------------------------------------------------------------------ ring, peers, clients

    def _on_ring(self, _: Context[Any], message: RingChanged) -> None:
        self._epoch, self._digest = message.view.epoch, message.view.digest
        self._replica.view = message.view
        self._coordinator.set_view(message.view)
        self._look_if_serving()

    def _on_peer_up(self, ctx: Context[Any], message: PeerUp) -> None:
        self._links[message.node_id] = message.link
        wall_ms = self._environment.wall_ms()
        self._coordinator.peer_up(message.node_id, message.boot, ctx.now(), wall_ms)
        self._look_if_serving()

    def _look_if_serving(self) -> None:
        """Say once that a quorum can be reached for every key."""
        if not self._serving and self._coordinator.serving:
            self._serving = True
            self._on_serving()

    def _on_peer_down(self, ctx: Context[Any], message: PeerDown) -> None:
        self._links.pop(message.node_id, None)
        self._coordinator.peer_down(message.node_id, ctx.now(), self._environment.wall_ms())

    def _on_peers_reset(self, ctx: Context[Any], _: PeersReset) -> None:
        links, self._links = self._links, {}
        for node in links:
            self._coordinator.peer_down(node, ctx.now(), self._environment.wall_ms())

    def _on_tell_again(self, ctx: Context[Any], message: TellAgain) -> None:
        """The ring keeper has lost its ring: it gets back the one that is in force here."""
        view = self._coordinator.view
        if view is not None:
            message.to.tell_control(
                RingHeard(self._node_id, list(view.as_wire())), cause=ctx.message_id
            )

    def _on_client_gone(self, ctx: Context[Any], message: ClientGone) -> None:
        if self._callers.gone(message.session_id, message.connection):
            self._coordinator.client_gone(message.session_id, ctx.now())

    # ------------------------------------------------------------------ questions

    def _on_get_record(self, ctx: Context[Any], message: GetRecord) -> None:
        ctx.reply(self._table.get(message.key))

    def _on_scan(self, ctx: Context[Any], message: ScanKeys) -> None:
        try:
            page = self._table.scan(message.cursor, message.limit, message.prefix)
        except CoreError as error:
            ctx.fail(error)  # a mistake of who asks, not of this actor
            return
        wall_ms = self._environment.wall_ms()
        keys = [key for key, record in page.records if rec.is_visible(record, wall_ms)]
        ctx.reply(RecordPage(keys, page.cursor))

    def _on_wait_idle(self, ctx: Context[Any], _: WaitIdle) -> None:
        self._wait_idle.append(ctx.take_reply())

    def _on_statistics(self, ctx: Context[Any], _: GetReplicatorStatistics) -> None:
        table = {f"records_{k}": n for k, n in attrs.asdict(self._table.statistics()).items()}
        ctx.reply(
            {
                **attrs.asdict(self._coordinator.counters),
                **self._coordinator.gauges(),
                **attrs.asdict(self._replica.counters),
                "records": table.pop("records_records"),
                **table,
                "clock_refused": self._clock.refused,
            }
        )
