"""What only the simulated network can do: faults, killed hosts, equal runs from equal seeds."""

import functools
import random

import pytest
import trio

from actors.testing import run_virtual, virtual
from cluster.errors import ConnectionLost
from cluster.net.memory import MemoryNetwork
from tests.net.worlds import LIMITS, MemoryWorld, echo, hold, never, start


def clock():
    return trio.lowlevel.current_clock()


class Sink:
    """A handler that notes frames with their time of arrival, and how each connection ended."""

    def __init__(self):
        self.frames, self.reasons, self.woken = [], [], 0

    async def __call__(self, connection):
        try:
            while True:
                frame = await connection.receive()
                self.frames.append((trio.current_time(), frame))
        except ConnectionLost as lost:
            self.reasons.append(str(lost))
            raise
        finally:
            self.woken += 1


async def run_lossy(seed, lines):
    network = MemoryNetwork(
        clock(), random.Random(seed), on_frame=lambda *delivery: lines.append(delivery)
    )
    server, client = network.transport("n1"), network.transport("n2")
    network.drop("n2", "n1", 0.2)
    network.delay("n1", {"n2", "n3"}, 0.01, 0.05)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, "n1:7946", Sink())
        dial = functools.partial(client.dial, "n1:7946", timeout_s=5)
        async with dial() as one, dial() as two:
            for n in range(200):
                await (one if n % 3 else two).send(n.to_bytes(2, "big"))
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    return network.frames_carried, network.frames_lost


def test_equal_seeds_give_equal_runs():
    runs = []
    for seed in (1, 1, 2):
        lines = []
        counts = run_virtual(run_lossy, seed, lines, seed=seed)
        runs.append((counts, lines))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    carried, lost = runs[0][0]
    assert carried + lost == 200
    assert 20 < lost < 60
    assert len(runs[0][1]) == carried


@virtual()
async def test_frames_keep_their_order_and_their_latency():
    world, sink = MemoryWorld(), Sink()
    world.network.delay("client", "server", 0.0, 0.5)
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, sink)
        async with world.client.dial(address, timeout_s=5) as connection:
            sent_at = trio.current_time()
            for n in range(100):
                await connection.send(bytes([n]))
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [frame for _, frame in sink.frames] == [bytes([n]) for n in range(100)]
    assert sent_at + 0.0002 <= sink.frames[0][0] <= sink.frames[-1][0] <= sent_at + 0.501


@virtual()
async def test_a_cut_loses_what_is_on_its_way_and_healing_restores():
    world, sink = MemoryWorld(), Sink()
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, sink)
        async with world.client.dial(address, timeout_s=5) as connection:
            await connection.send(b"on its way")
            one, other = world.network.partition("client", {"server"})
            await connection.send(b"lost")
            await trio.sleep(1)
            with pytest.raises(ConnectionLost, match="no answer within 2 s"):
                async with world.client.dial(address, timeout_s=2):
                    raise AssertionError("connected through a cut")
            other.stop()
            with pytest.raises(ConnectionLost, match="no answer within 2 s"):
                async with world.client.dial(address, timeout_s=2):
                    raise AssertionError("connected through a one-way cut")
            one.stop()
            await connection.send(b"healed")
            world.network.cut("server", "client")
            await connection.send(b"the other way is cut")
            await trio.sleep(1)
            assert world.network.frames_lost == 2
            world.network.heal()
        nursery.cancel_scope.cancel()
    assert [frame for _, frame in sink.frames] == [b"healed", b"the other way is cut"]


@virtual()
async def test_a_dial_whose_answer_is_lost_leaves_no_ghost():
    world, sink = MemoryWorld(), Sink()
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, sink)
        world.network.cut("server", "client")
        with pytest.raises(ConnectionLost, match="no answer"):
            async with world.client.dial(address, timeout_s=1):
                raise AssertionError("connected")
        await trio.sleep(1)
        assert sink.reasons, "the server still holds the connection that the dialler gave up"
        nursery.cancel_scope.cancel()


@virtual()
async def test_a_killed_host_runs_no_code_and_the_others_learn_of_it():
    world, sink = MemoryWorld(), Sink()
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, sink)
        async with world.client.dial(address, timeout_s=5) as connection:
            await connection.send(b"before")
            await trio.sleep(1)
            world.network.kill("server")
            with pytest.raises(ConnectionLost, match="gone"):
                await connection.receive()
        assert sink.woken == 0, "code of the killed host ran"
        with pytest.raises(ConnectionLost, match="refused"):
            async with world.client.dial(address, timeout_s=5):
                raise AssertionError("connected to a killed host")
        with pytest.raises(ConnectionLost, match="killed"):
            async with world.server.dial(address, timeout_s=5):
                raise AssertionError("a killed host dialled")
        with pytest.raises(OSError, match="killed"):
            await world.server.serve(address, echo)
        reborn = world.network.transport("server", LIMITS)
        nursery.start_soon(reborn.serve, address, echo)
        await trio.sleep(0.1)
        async with world.client.dial(address, timeout_s=5) as connection:
            await connection.send(b"again")
            assert await connection.receive() == b"again"
        nursery.cancel_scope.cancel()
    assert sink.woken == 1


@virtual()
async def test_the_dial_of_a_killed_host_stays_open_for_ever():
    world = MemoryWorld()
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, never)
        with trio.move_on_after(10) as scope:
            nursery.start_soon(kill_soon, world.network, "client")
            async with world.client.dial(address, timeout_s=5):
                raise AssertionError("a killed host went on")
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def kill_soon(network, host):
    network.kill(host)


@virtual()
async def test_a_host_killed_behind_a_cut_is_noticed_by_the_next_frame():
    world = MemoryWorld()
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, never)
        connection = await nursery.start(hold, world, address)
        world.network.partition("client", "server")
        world.network.kill("server")
        with trio.move_on_after(60) as scope:
            await connection.receive()
        assert scope.cancelled_caught, "half open: nothing tells the client"
        world.network.heal()
        await connection.send(b"anybody there?")
        with pytest.raises(ConnectionLost, match="reset"):
            await connection.receive()
        nursery.cancel_scope.cancel()


@virtual()
async def test_connections_not_yet_served_end_with_the_server():
    world = MemoryWorld()
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            address = await start(nursery, world, never)
            accept = world.server.accept

            def accept_and_stop(port, end):
                accept(port, end)
                nursery.cancel_scope.cancel()

            world.server.accept = accept_and_stop
            outer.start_soon(dial_and_lose, world, address)
        assert world.server.statistics().open == 0


async def dial_and_lose(world, address):
    async with world.client.dial(address, timeout_s=5) as connection:
        with pytest.raises(ConnectionLost, match="going away"):
            await connection.receive()


@virtual()
async def test_wrong_faults_are_refused():
    network = MemoryWorld().network
    with pytest.raises(ValueError, match="drop rate"):
        network.drop("a", "b", 1.5)
    with pytest.raises(ValueError, match="low to high"):
        network.delay("a", "b", 2, 1)
