"""Two worlds with the same face: loopback websockets and the simulated network."""

import functools
import random
import socket
from collections.abc import Awaitable, Callable

import trio

from actors.testing import run_virtual
from cluster.net.base import ConnectionLimits, Transport
from cluster.net.memory import MemoryNetwork
from cluster.net.websocket import WebSocketTransport

LIMITS = ConnectionLimits(
    frame_bytes_max=1024 * 1024, connections_max=8, handshakes_max=4, handshake_timeout_s=0.3
)
TEST_TIMEOUT_S = 20.0


class World:
    """A server's and a client's transport, and what the server's handlers raised."""

    server: Transport
    client: Transport
    bind: str
    nowhere: str
    unresolvable: str

    def __init__(self) -> None:
        self.errors: list[tuple[str, Exception]] = []

    def on_error(self, remote: str, error: Exception) -> None:
        self.errors.append((remote, error))

    def small_server(self, frame_bytes_max: int) -> None:
        raise NotImplementedError


class WebSocketWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.server = WebSocketTransport(LIMITS, on_error=self.on_error)
        self.client = WebSocketTransport(LIMITS)
        self.bind = "127.0.0.1:0"
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.nowhere = f"127.0.0.1:{unused.getsockname()[1]}"
        self.unresolvable = "no-such-host.invalid:7946"

    def small_server(self, frame_bytes_max: int) -> None:
        limits = ConnectionLimits(frame_bytes_max=frame_bytes_max)
        self.server = WebSocketTransport(limits, on_error=self.on_error)


class MemoryWorld(World):
    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        self.network = MemoryNetwork(trio.lowlevel.current_clock(), random.Random(seed))
        self.server = self.network.transport("server", LIMITS, on_error=self.on_error)
        self.client = self.network.transport("client", LIMITS)
        self.bind = "server:0"
        self.nowhere = "server:9"
        self.unresolvable = "no-such-host:7946"

    def small_server(self, frame_bytes_max: int) -> None:
        self.network.kill("server")
        limits = ConnectionLimits(frame_bytes_max=frame_bytes_max)
        self.server = self.network.transport("server", limits, on_error=self.on_error)


KINDS = {"websocket": WebSocketWorld, "memory": MemoryWorld}


def run_in(kind: str, check: Callable[..., Awaitable[None]], *args: object) -> None:
    """Runs `check(world, *args)`: websockets in real time, the memory network in virtual time."""

    async def run() -> None:
        with trio.fail_after(TEST_TIMEOUT_S):
            await check(KINDS[kind](), *args)

    if kind == "memory":
        run_virtual(run)
    else:
        trio.run(run)


async def start(nursery: trio.Nursery, world: World, handler: object) -> str:
    """Serves `handler` and returns the bound address."""
    address: str = await nursery.start(functools.partial(world.server.serve, world.bind, handler))
    return address


async def echo(connection: object) -> None:
    while True:
        await connection.send(await connection.receive())


async def never(_connection: object) -> None:
    await trio.sleep_forever()


async def hold(world, address, task_status):
    async with world.client.dial(address, timeout_s=5) as connection:
        task_status.started(connection)
        await trio.sleep_forever()
