"""The coordinator: takes requests of clients, runs quorum rounds, answers each request once.

Any node coordinates for any key. A request is checked, stamped and put into rounds; `flush` lets
the rounds leave, one batch per node for everything that came in one batch of mail. What is to be
done gathers in `take_output`; `wake_at` says when `tick` is wanted next.

The halves: `write_coordinator` and `read_coordinator`; how answers count: `quorum`; repeats of a
client: `sessions`. Touch is a read followed by a fixed write: it raises the expiry of the record it
read and keeps its stamp, so that it can never win over a newer write.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cluster.core import record as rec
from cluster.core.clock import HybridClock, stamp
from cluster.core.exchange import ITEM_BYTES, Counters, Exchange, Output, Settings
from cluster.core.operations import (
    ClientRequest,
    Delete,
    FailureCode,
    Read,
    Refused,
    ReplicaReply,
    ReplicaWriteReply,
    Settled,
    Touch,
    Write,
)
from cluster.core.pending import DELETE, GET, SET, TOUCH, Pending
from cluster.core.read_coordinator import ReadCoordinator
from cluster.core.ring import RingView
from cluster.core.sessions import Session, Sessions
from cluster.core.table import RecordTable
from cluster.core.values import KEY_BYTES_MAX, BootId, Level, NodeId, hash_of
from cluster.core.write_coordinator import WriteCoordinator

__all__ = ["Coordinator"]

RETRY_AFTER_MS: Final = 50
"""What a client is told to wait when a limit was reached."""

REQUEST_KEYS_MAX: Final = 1024
"""Keys of one request: a bound on how long the node works on it without a pause."""

TTL_MS_MAX: Final = 1000 * 3600 * 24 * 365 * 100
"""A hundred years: longer than any cache, short enough for every clock."""

_ONLY_GROUP_ONE_KEY: Final[Mapping[int, Sequence[int]]] = {0: (0,)}
_ENCODINGS: Final = frozenset(bytes((n,)) for n in range(rec.BYTES, rec.CUSTOM + 1))
_OPS: Final = {Write: SET, Delete: DELETE, Read: GET, Touch: TOUCH}


class Coordinator:
    """Client operations of one node. Times are seconds on the node's clock, wall times ms."""

    def __init__(
        self,
        settings: Settings,
        clock: HybridClock,
        table: RecordTable,
        new_id: Callable[[], int],
    ) -> None:
        self._x: Final = Exchange(settings, clock, table, new_id)
        self._writes: Final = WriteCoordinator(self._x, self._on_settled)
        self._reads: Final = ReadCoordinator(self._x, self._writes, self._on_settled)
        self._sessions: Final = Sessions()

    # ------------------------------------------------------------------ requests

    def submit(
        self, session_id: int, requests: Sequence[ClientRequest | Settled], now: float, wall_ms: int
    ) -> None:
        """Take the requests of one frame of a client. They leave with the next `flush`."""
        x = self._x
        x.now, x.wall_ms = now, wall_ms
        session = self._sessions.get(session_id)
        for request in requests:
            if isinstance(request, Settled):
                self._sessions.settle(session, request.below)
            elif isinstance(request, Read):
                self._begin(session, request)
            elif request.request_id in session.outcomes:
                self._repeat(session, request)
            elif request.request_id < session.settled_below:
                x.counters.requests_repeated += 1  # a late copy: the client has its outcome
            elif self._sessions.begin(session, request.request_id):
                self._begin(session, request)
            else:
                self._too_many(session, request)

    def flush(self, now: float, wall_ms: int) -> None:
        """Let everything that was taken leave."""
        self._x.now, self._x.wall_ms = now, wall_ms
        self._reads.flush()
        self._writes.flush()

    def take_output(self) -> Output | None:
        """What is to be done since the last call; None if nothing is."""
        return self._x.take_output()

    def client_gone(self, session_id: int, now: float) -> None:
        """The connection of a client ended; its outcomes are kept for a while."""
        self._sessions.gone(session_id, now)

    def _begin(self, session: Session, request: ClientRequest) -> None:
        x = self._x
        x.counters.requests += 1
        refusal = self._refusal(request)
        if refusal is not None:
            x.answer(session.session_id, refusal)
            if not isinstance(request, Read):
                self._sessions.end(session.session_id, request.request_id, refusal)
            return
        kind, keys = type(request), request.keys
        pending = Pending(
            _OPS[kind],
            session.session_id,
            request.request_id,
            request.level,
            min(request.deadline, x.now + x.settings.timeout_max_s),
            x.now,
            keys,
        )
        x.pending += 1
        groups = self._groups(keys)
        if isinstance(request, (Write, Delete)):
            self._writes.submit(pending, groups, self._records(pending, request))
        else:
            pending.ttl_ms = request.ttl_ms if isinstance(request, Touch) else 0
            self._reads.submit(pending, groups)
        if pending.open_parts == 0:
            self._on_settled(pending)

    def _repeat(self, session: Session, request: ClientRequest) -> None:
        """A repeat: answered with the outcome, or when the first one is."""
        self._x.counters.requests_repeated += 1
        outcome = session.outcomes[request.request_id]
        if outcome is not None:
            self._x.answer(session.session_id, outcome)

    def _too_many(self, session: Session, request: ClientRequest) -> None:
        """Refused without a trace: what is not remembered must not be begun."""
        x = self._x
        x.counters.requests += 1
        x.counters.requests_overloaded += 1
        text = f"{session.under_way} writes of this client are under way: wait for their outcomes"
        refusal = Refused(request.request_id, FailureCode.OVERLOADED, text, RETRY_AFTER_MS)
        x.answer(session.session_id, refusal)

    def _records(self, pending: Pending, request: Write | Delete) -> list[bytes]:
        x = self._x
        at = stamp(x.clock.tick(x.wall_ms), x.settings.boot)
        pending.stamp = at
        if isinstance(request, Delete):
            records = [rec.tombstone(at)] * len(request.keys)
        elif request.ttl_ms:
            expiry_ms = x.wall_ms + request.ttl_ms
            records = [rec.make(at, body, expiry_ms) for body in request.bodies]
        else:
            records = [at + body for body in request.bodies]
        pending.size_bytes = _size(request.keys, records)
        return records

    def _groups(self, keys: Sequence[bytes]) -> Mapping[int, Sequence[int]]:
        """Indices of the keys by the group of partitions (the set of owners) they belong to."""
        view = self._x.routes.view
        assert view is not None, "requests are refused until a ring is in force"
        if len(view.table.group_sets) == 1:
            return _ONLY_GROUP_ONE_KEY if len(keys) == 1 else {0: range(len(keys))}
        groups, shift = view.table.groups, view.shift
        if len(keys) == 1:
            return {groups[hash_of(keys[0]) >> shift]: (0,)}
        found: dict[int, list[int]] = {}
        for index, key in enumerate(keys):
            found.setdefault(groups[hash_of(key) >> shift], []).append(index)
        return found

    # ------------------------------------------------------------------ refusals

    def _refusal(self, request: ClientRequest) -> Refused | None:
        """Why a request is not begun, or None."""
        x = self._x
        counters = x.counters
        if request.deadline <= x.now:
            counters.requests_expired += 1
            text = "the deadline had passed when the request was read: nothing was done"
            return Refused(request.request_id, FailureCode.TIMEOUT, text)
        if x.routes.view is None:
            counters.requests_unavailable += 1
            text = f"{x.settings.node_id} has no ring yet: it waits for the members it expects"
            return Refused(request.request_id, FailureCode.UNAVAILABLE, text, RETRY_AFTER_MS)
        if x.pending >= x.settings.requests_max:
            counters.requests_overloaded += 1
            text = f"{x.settings.node_id} has {x.pending} requests pending: try again later"
            return Refused(request.request_id, FailureCode.OVERLOADED, text, RETRY_AFTER_MS)
        invalid = _invalid(request, x.settings.value_max)
        if invalid is not None:
            counters.requests_refused += 1
            return Refused(request.request_id, *invalid)
        return None

    # ------------------------------------------------------------------ answers

    def on_reply(self, sender: NodeId, reply: ReplicaReply, now: float, wall_ms: int) -> None:
        """Take the answer of a replica."""
        self._x.now, self._x.wall_ms = now, wall_ms
        self.learn_boot(sender, reply.boot)
        if isinstance(reply, ReplicaWriteReply):
            self._writes.on_reply(sender, reply)
        else:
            self._reads.on_reply(sender, reply)

    def _on_settled(self, request: Pending) -> None:
        """Every part of a request is closed.

        Answer it, or let a touch go on to its second stage.
        """
        if request.op == TOUCH and not request.writing and self._touch(request):
            return
        x = self._x
        outcome = request.outcome
        if outcome == "timeout":
            x.counters.requests_timed_out += 1
        elif outcome == "unavailable":
            x.counters.requests_unavailable += 1
        reply = x.finish(request)
        if request.op != GET:
            self._sessions.end(request.session_id, request.request_id, reply)

    def _touch(self, request: Pending) -> bool:
        """Write what was read with its expiry raised; False if nothing is there to be touched."""
        request.writing = True
        x = self._x
        expiry_ms = x.wall_ms + request.ttl_ms
        indices = [
            index
            for index, record in enumerate(request.records)
            if record is not None
            and (request.failures is None or index not in request.failures)
            and rec.is_visible(record, x.wall_ms)
        ]
        if not indices:
            return False
        for index in indices:
            record = request.records[index]
            assert record is not None, "filtered above"
            request.records[index] = rec.with_expiry(record, expiry_ms)
        groups: dict[int, list[int]] = {}
        touched = set(indices)
        for group, members in self._groups(request.keys).items():
            present = [index for index in members if index in touched]
            if present:
                groups[group] = present
        request.size_bytes = _size(request.keys, [each for each in request.records if each])
        self._writes.submit(request, groups, request.records, fixed=True)
        if request.open_parts == 0:
            return False
        self._writes.flush()
        return True

    # ------------------------------------------------------------------ time, peers and ring

    def tick(self, now: float, wall_ms: int) -> None:
        """Do what is due: deadlines and repetitions."""
        self._x.now, self._x.wall_ms = now, wall_ms
        self._reads.tick()
        self._writes.tick()

    @property
    def wake_at(self) -> float | None:
        """When `tick` is wanted next; None if nothing waits."""
        times = [t for t in (self._reads.rounds.wake_at, self._writes.rounds.wake_at) if t]
        return min(times) if times else None

    def set_view(self, view: RingView) -> None:
        """Route by this ring from now on; what was taken before leaves by the old one."""
        self._reads.flush()
        self._writes.flush()
        self._x.routes.set_view(view)

    def peer_up(self, node: NodeId, boot: BootId, now: float, wall_ms: int) -> None:
        """A peer can be reached, in this boot."""
        self.flush(now, wall_ms)
        self._x.routes.peer_up(node, boot)
        self.learn_boot(node, boot)
        self._reads.peer_up(node)
        self._writes.peer_up(node)

    def peer_down(self, node: NodeId, now: float, wall_ms: int) -> None:
        """A peer cannot be reached any more."""
        self.flush(now, wall_ms)
        self._x.routes.peer_down(node)
        self._reads.peer_down(node)
        self._writes.peer_down()

    def learn_boot(self, node: NodeId, boot: BootId) -> None:
        """A boot of a node is known: answers of its older boots count no more."""
        if self._x.routes.learn_boot(node, boot):
            self._reads.void(node, boot)
            self._writes.void(node, boot)

    # ------------------------------------------------------------------ looking in

    @property
    def view(self) -> RingView | None:
        """The ring in force."""
        return self._x.routes.view

    @property
    def pending(self) -> int:
        """Client requests that are not answered yet."""
        return self._x.pending

    @property
    def serving(self) -> bool:
        """Whether a quorum of owners can be reached for every key."""
        routes, view = self._x.routes, self._x.routes.view
        if view is None:
            return False
        groups = [routes.route(group) for group in range(len(view.table.group_sets))]
        return all(route.reachable >= route.quorum for route in groups)

    @property
    def counters(self) -> Counters:
        """What happened since the start."""
        self._x.counters.outcomes_forgotten = self._sessions.forgotten
        return self._x.counters

    def gauges(self) -> dict[str, int]:
        """What is held now, by name."""
        return {
            "requests_pending": self._x.pending,
            "rounds_write": len(self._writes.rounds),
            "rounds_read": len(self._reads.rounds),
            "sessions": len(self._sessions),
        }


def _size(keys: Sequence[bytes], records: Sequence[bytes]) -> int:
    return sum(map(len, keys)) + sum(map(len, records)) + ITEM_BYTES * len(keys)


def _invalid(request: ClientRequest, value_max: int) -> tuple[FailureCode, str] | None:
    """What is wrong with a request by itself, or None."""
    keys = request.keys
    if not Level.ONE <= request.level <= Level.ALL:
        return FailureCode.INVALID, f"level {request.level} is not known: 1 ONE, 2 QUORUM, 3 ALL"
    if not 0 < len(keys) <= REQUEST_KEYS_MAX:
        text = f"a request names 1 to {REQUEST_KEYS_MAX} keys, not {len(keys)}"
        return FailureCode.INVALID, text
    sizes = {len(key) for key in keys}
    if not all(0 < size <= KEY_BYTES_MAX for size in sizes):
        bad = 0 if 0 in sizes else max(sizes)
        return FailureCode.INVALID, f"a key has 1 to {KEY_BYTES_MAX} bytes, not {bad}"
    if type(request) is Write:
        return _invalid_write(request, value_max)
    if isinstance(request, Touch) and not 0 < request.ttl_ms <= TTL_MS_MAX:
        return FailureCode.INVALID, f"a ttl is 1 to {TTL_MS_MAX} ms, not {request.ttl_ms}"
    return None


def _invalid_write(request: Write, value_max: int) -> tuple[FailureCode, str] | None:
    bodies = request.bodies
    if len(bodies) != len(request.keys):
        return FailureCode.INVALID, f"{len(bodies)} bodies for {len(request.keys)} keys"
    if not 0 <= request.ttl_ms <= TTL_MS_MAX:
        return FailureCode.INVALID, f"a ttl is 0 to {TTL_MS_MAX} ms, not {request.ttl_ms}"
    if len(set(request.keys)) != len(bodies):
        return FailureCode.INVALID, "a key stands twice in one request"
    if not {body[:1] for body in bodies} <= _ENCODINGS:
        return FailureCode.INVALID, "a body begins with its encoding, 1 to 4"
    longest = max(map(len, bodies)) - 1
    if longest > value_max:
        text = f"a value has {longest} bytes, the limit is {value_max} (--value-max)"
        return FailureCode.VALUE_TOO_LARGE, text
    return None
