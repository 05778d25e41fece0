"""Coordinators and replicas wired back to back: messages are plain calls, time is a number.

Every node is a `Coordinator` and a `Replica` over one table. Messages between them wait in one heap
and are delivered after a delay drawn from the seed; they may be dropped, repeated or cut off.
"""

import heapq
import itertools
import random
from collections.abc import Callable

import attrs

from cluster.core.clock import HybridClock
from cluster.core.coordinator import Coordinator
from cluster.core.exchange import Settings
from cluster.core.operations import (
    ClientReply,
    Delete,
    Read,
    ReplicaRead,
    ReplicaWrite,
    Touch,
    Write,
)
from cluster.core.replica import Replica
from cluster.core.ring import RingMember, RingView
from cluster.core.table import RecordTable
from cluster.core.values import Level

START_MS = 1_700_000_000_000
CLIENT = 7


def view_of(nodes: int, replication_factor: int = 3, virtual_nodes: int = 256) -> RingView:
    members = tuple(RingMember(f"n{i}", f"127.0.0.1:{7000 + i}") for i in range(1, nodes + 1))
    return RingView(1, members, virtual_nodes, replication_factor)


@attrs.define(eq=False)
class Node:
    id: str
    boot: int
    skew_ms: int
    clock: HybridClock
    table: RecordTable
    coordinator: Coordinator
    replica: Replica


class Cluster:
    """`nodes` nodes that all know the same ring and can all reach each other."""

    def __init__(self, nodes: int = 3, seed: int = 0, *, replication_factor: int = 3) -> None:
        self.rng = random.Random(seed)
        self.now = 100.0
        self.view = view_of(nodes, replication_factor)
        self.delay_s = (0.001, 0.001)
        self.drop = 0.0
        self.duplicate = 0.0
        self.cut: set[tuple[str, str]] = set()
        self.replies: list[tuple[float, ClientReply]] = []
        self.on_reply: Callable[[ClientReply], None] = lambda _: None
        self.sent: list[tuple[str, str, object]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ids = itertools.count(1)
        self._requests = itertools.count(1)
        self.nodes: dict[str, Node] = {}
        for number in range(1, nodes + 1):
            self.start(f"n{number}", boot=number)
        for node in self.nodes.values():
            self.meet(node)

    def start(self, node_id: str, boot: int, skew_ms: int = 0) -> Node:
        clock, table = HybridClock(), RecordTable(self.view.virtual_nodes)
        settings = Settings(node_id=node_id, boot=boot, value_max=1000, reply_bytes_max=10_000)
        coordinator = Coordinator(settings, clock, table, lambda: next(self._ids))
        replica = Replica(node_id, boot, clock, table, value_max=1000, reply_bytes_max=10_000)
        node = Node(node_id, boot, skew_ms, clock, table, coordinator, replica)
        coordinator.set_view(self.view)
        replica.view = self.view
        self.nodes[node_id] = node
        return node

    def meet(self, node: Node) -> None:
        """Let a node reach the others, and the others reach it."""
        for other in self.nodes.values():
            if other is not node:
                node.coordinator.peer_up(other.id, other.boot, self.now, self.wall_ms(node))
                other.coordinator.peer_up(node.id, node.boot, self.now, self.wall_ms(other))

    def wall_ms(self, node: Node) -> int:
        return START_MS + int(self.now * 1000) + node.skew_ms

    # ------------------------------------------------------------------ requests

    def write(self, node_id, items, level=Level.QUORUM, *, ttl_ms=0, timeout_s=2.0, rid=0) -> int:
        """Submit a set of `{key: value}`; keys and values are bytes."""
        bodies = [b"\x01" + value for value in items.values()]
        request_id = rid or next(self._requests)
        deadline = self.now + timeout_s
        write = Write(request_id, level, deadline, list(items), bodies, ttl_ms)
        return self.submit(node_id, write)

    def delete(self, node_id, keys, level=Level.QUORUM, *, timeout_s=2.0) -> int:
        deadline = self.now + timeout_s
        return self.submit(node_id, Delete(next(self._requests), level, deadline, list(keys)))

    def read(self, node_id, keys, level=Level.QUORUM, *, timeout_s=2.0) -> int:
        deadline = self.now + timeout_s
        return self.submit(node_id, Read(next(self._requests), level, deadline, list(keys)))

    def touch(self, node_id, keys, ttl_ms, level=Level.QUORUM, *, timeout_s=2.0) -> int:
        request_id, deadline = next(self._requests), self.now + timeout_s
        return self.submit(node_id, Touch(request_id, level, deadline, list(keys), ttl_ms))

    def submit(self, node_id: str, *requests) -> int:
        node = self.nodes[node_id]
        node.coordinator.submit(CLIENT, requests, self.now, self.wall_ms(node))
        node.coordinator.flush(self.now, self.wall_ms(node))
        self.pump(node)
        return requests[-1].request_id

    def reply(self, request_id: int) -> ClientReply | None:
        """The one reply to a request, None if there is none yet."""
        found = [reply for _, reply in self.replies if reply.request_id == request_id]
        assert len(found) <= 1, f"request {request_id} was answered {len(found)} times"
        return found[0] if found else None

    # ------------------------------------------------------------------ network and time

    def pump(self, node: Node) -> None:
        """Take what the core wants done: messages go to the heap, replies to the list."""
        output = node.coordinator.take_output()
        if output is not None:
            for replies in output.replies.values():
                for reply in replies:
                    self.replies.append((self.now, reply))
                    self.on_reply(reply)
            for other, messages in output.sends.items():
                for message in messages:
                    self.send(node, other, message)
        wake_at = node.coordinator.wake_at
        if wake_at is not None:
            self.at(wake_at, lambda: self.tick(node))

    def tick(self, node: Node) -> None:
        if self.nodes[node.id] is node:
            node.coordinator.tick(self.now, self.wall_ms(node))
            self.pump(node)

    def send(self, source: Node, target: str, message: object) -> None:
        self.sent.append((source.id, target, message))
        copies = 2 if self.rng.random() < self.duplicate else 1
        for _ in range(copies):
            delay_s = self.rng.uniform(*self.delay_s)
            if self.rng.random() >= self.drop:
                self.at(self.now + delay_s, lambda: self.deliver(source, target, message))

    def deliver(self, source: Node, target: str, message: object) -> None:
        if (source.id, target) in self.cut or self.nodes[source.id] is not source:
            return
        node = self.nodes[target]
        wall_ms = self.wall_ms(node)
        if isinstance(message, ReplicaWrite):
            answer = node.replica.write(message, self.now, wall_ms, same_ring=True)
        elif isinstance(message, ReplicaRead):
            answer = node.replica.read(message, self.now, same_ring=True)
        else:
            node.coordinator.on_reply(source.id, message, self.now, wall_ms)
            self.pump(node)
            return
        if answer is not None:
            self.send(node, source.id, answer)

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), action))

    def run(self, seconds: float = 5.0) -> None:
        """Let virtual time pass."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = until

    def held(self, key: bytes) -> dict[str, bytes | None]:
        """Every node's copy of a key."""
        return {node.id: node.table.get(key) for node in self.nodes.values()}
