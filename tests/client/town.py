"""Fake nodes on a real or simulated network, and clients of theirs."""

import random
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from actors.testing import run_virtual
from cluster.client import connect
from cluster.core.ring import RingMember, RingView
from cluster.environment import RealEnvironment, SimulatedEnvironment
from cluster.net.memory import MemoryNetwork
from cluster.net.websocket import WebSocketTransport
from tests.client.fakes import WALL_MS, FakeNode

TEST_TIMEOUT_S = 20.0
NODES = 3


class Town:
    """Fake nodes on a network, and the environment of a client of it."""

    def __init__(self, kind: str, nursery: trio.Nursery) -> None:
        self.kind = kind
        self._nursery = nursery
        self._scopes: dict[str, trio.CancelScope] = {}
        self.nodes: list[FakeNode] = []
        self.addresses: list[str] = []
        if kind == "memory":
            clock = trio.lowlevel.current_clock()
            self.network = MemoryNetwork(clock, random.Random(3))
            self.environment = SimulatedEnvironment(
                5, self.network.transport("client"), clock, WALL_MS
            )
        else:
            self.environment = RealEnvironment(5, WebSocketTransport())

    async def build(self, count: int = NODES, **options) -> "Town":
        table: dict[bytes, bytes] = {}
        for number in range(1, count + 1):
            self.nodes.append(FakeNode(f"n{number}", 100 + number, table=table, **options))
            self.addresses.append(await self.serve(self.nodes[-1]))
        members = [
            RingMember(node.node_id, address)
            for node, address in zip(self.nodes, self.addresses, strict=True)
        ]
        for node in self.nodes:
            node.ring = RingView(1, tuple(members), 256, 3)
        return self

    async def serve(self, node: FakeNode, address: str | None = None) -> str:
        if self.kind == "memory":
            transport = self.network.transport(node.node_id)
            address = address or f"{node.node_id}:0"
        else:
            transport = WebSocketTransport()
            address = address or "127.0.0.1:0"
        return await self._nursery.start(self._serve, transport, node, address)

    async def _serve(self, transport, node, address, *, task_status) -> None:
        with trio.CancelScope() as self._scopes[node.node_id]:
            await transport.serve(address, node.serve, task_status=task_status)

    def stop(self, node: FakeNode) -> None:
        if self.kind == "memory":
            self.network.kill(node.node_id)
        self._scopes[node.node_id].cancel()

    def requests(self, kind) -> list:
        return [m for node in self.nodes for m in node.requests if isinstance(m, kind)]

    def connect(self, *seeds: str, **options):
        return connect(*(seeds or self.addresses[:1]), environment=self.environment, **options)


@asynccontextmanager
async def town_of(kind: str, count: int = NODES, **options):
    async with trio.open_nursery() as nursery:
        yield await Town(kind, nursery).build(count, **options)
        nursery.cancel_scope.cancel()


def run_in(kind: str, check: Callable[[Town], Awaitable[None]], count: int, options: dict) -> None:
    async def run() -> None:
        with trio.fail_after(TEST_TIMEOUT_S):
            async with town_of(kind, count, **options) as town:
                await check(town)

    if kind == "memory":
        run_virtual(run)
    else:
        trio.run(run)


def in_both(count: int = NODES, **options):
    """The test runs in virtual time on the simulated network, and over websockets."""

    def decorate(check):
        @pytest.mark.parametrize("kind", ["memory", "websocket"])
        def test(kind):
            run_in(kind, check, count, options)

        test.__name__ = check.__name__
        return test

    return decorate


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await trio.sleep(0.01)


def mute(_message) -> None:
    """A script that answers nothing."""
