"""A client core and fake nodes wired back to back, without a network and without trio."""

import math
import random
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from cluster.client._core import ClientCore
from cluster.client._operation import DeleteOperation, Operation, ReadOperation, WriteOperation
from cluster.core.ring import RingView
from cluster.core.values import Level
from cluster.wire.messages import FrameHeader
from tests.client.fakes import WALL_MS, FakeNode, address_of, ring_of


class World:
    """A client core and fake nodes wired back to back, under a clock that the test moves.

    Frames cross at once, unless `hold` names the address they go to or come from.
    """

    def __init__(self, nodes: Sequence[FakeNode], seeds: Sequence[str], **options: Any) -> None:
        self.now = 1000.0
        self.nodes = {address_of(node.node_id): node for node in nodes}
        self.refused: set[str] = set()
        self.unanswered: set[str] = set()
        """Dials to these neither succeed nor fail."""
        self.hold_replies: set[str] = set()
        self.hold_writes: set[str] = set()
        self.held: list[tuple[str, FrameHeader, list[Any]]] = []
        self.dialled: list[tuple[float, str]] = []
        self.closed: list[tuple[str, str]] = []
        self.completed: list[Operation] = []
        self.to_flush: list[str] = []
        self.connected: set[str] = set()
        self.core = ClientCore(seeds, random.Random(7), self.now, **options)
        self.settle()

    def settle(self) -> None:
        """Carry out everything until nothing is left to do."""
        while self.core.dirty or self._can_flush():
            output = self.core.take()
            for address, reason in output.closes:
                self.closed.append((address, reason))
                self.connected.discard(address)
                self.core.disconnected(address, reason, self.now)
            for address in output.dials:
                self.dialled.append((self.now, address))
                self._dial(address)
            self.to_flush.extend(output.flushes)
            self.completed.extend(output.completed)
            for address in self._can_flush():
                self.to_flush.remove(address)
                self._flush(address)

    def _can_flush(self) -> list[str]:
        return [address for address in self.to_flush if address not in self.hold_writes]

    def _dial(self, address: str) -> None:
        node = self.nodes.get(address)
        if address in self.unanswered:
            return
        if node is None or address in self.refused:
            self.core.disconnected(address, "connection refused", self.now)
            return
        self.connected.add(address)
        self.core.connected(address, node.welcome(), self.now)

    def _flush(self, address: str) -> None:
        while address in self.connected:
            flush = self.core.flush(address, self.now)
            if flush is None:
                return
            node = self.nodes[address]
            replies = node.handle(flush.header, flush.messages)
            if address in self.hold_replies:
                self.held.append((address, node.header(), replies))
            else:
                self.core.received(address, node.header(), replies, self.now)

    def release(self) -> None:
        """Deliver what was held."""
        held, self.held = self.held, []
        for address, header, replies in held:
            if address in self.connected:
                self.core.received(address, header, replies, self.now)
        self.settle()

    def cut(self, address: str, *, refuse: bool = True) -> None:
        """End a connection; the address is not reachable until `mend`."""
        if refuse:
            self.refused.add(address)
        self.connected.discard(address)
        self.held = [entry for entry in self.held if entry[0] != address]
        self.core.disconnected(address, "connection lost", self.now)
        self.settle()

    def mend(self, address: str) -> None:
        """Let an address be reached again, and let time pass until it is."""
        self.refused.discard(address)
        self.advance(6.0, until=lambda: address in self.connected)

    def advance(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, with every wake-up that the core asks for."""
        end = self.now + seconds
        while self.core.wake_at <= end and not until():
            assert self.core.wake_at < math.inf
            self.now = max(self.now, self.core.wake_at)
            self.core.tick(self.now)
            self.settle()
        if not until():
            self.now = end

    def submit(self, operation: Operation) -> Operation:
        self.core.submit(operation)
        self.settle()
        return operation

    def get(self, *keys: bytes, level: Level = Level.QUORUM, timeout: float = 2.0) -> Operation:
        return self.submit(ReadOperation(level, self.now + timeout, list(keys)))

    def set(
        self, *keys: bytes, level: Level = Level.QUORUM, timeout: float = 2.0, ttl_ms: int = 0
    ) -> Operation:
        bodies = [b"\x01" + key for key in keys]
        return self.submit(WriteOperation(level, self.now + timeout, list(keys), bodies, ttl_ms))

    def delete(self, *keys: bytes, timeout: float = 2.0) -> Operation:
        return self.submit(DeleteOperation(Level.QUORUM, self.now + timeout, list(keys)))

    def asked(self, kind: type[Any] = object) -> dict[str, list[Any]]:
        """Requests by node id."""
        return {
            node.node_id: [m for m in node.requests if isinstance(m, kind)]
            for node in self.nodes.values()
        }


def cluster(*node_ids: str, replication_factor: int = 3) -> list[FakeNode]:
    """Nodes that share one table, one clock and one ring."""
    ring = ring_of(*node_ids, replication_factor=replication_factor)
    table: dict[bytes, bytes] = {}
    clock = count(WALL_MS << 16)
    return [
        FakeNode(node_id, 100 + number, ring, table, clock=clock)
        for number, node_id in enumerate(node_ids, 1)
    ]


def key_of(view: RingView, primary: str, avoid: str = "") -> bytes:
    """A key with this primary, not owned by `avoid`."""
    for number in range(10_000):
        key = b"key%d" % number
        owners = view.owners_of(key)
        if owners[0] == primary and avoid not in owners:
            return key
    raise AssertionError(f"no key of {primary}")
