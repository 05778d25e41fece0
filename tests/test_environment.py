import random
import subprocess
import sys
import time

import trio

from actors.testing import VirtualClock, run_virtual
from cluster.environment import RealEnvironment, SimulatedEnvironment, random_stream
from cluster.net.memory import MemoryNetwork
from cluster.net.websocket import WebSocketTransport

DRAW = "from cluster.environment import random_stream as r; print(r(7, 'swim').getrandbits(64))"


def test_streams_are_functions_of_seed_and_name():
    draw = random_stream(7, "swim").getrandbits(64)
    assert random_stream(7, "swim").getrandbits(64) == draw
    assert random_stream(8, "swim").getrandbits(64) != draw
    assert random_stream(7, "gossip").getrandbits(64) != draw
    assert draw == 16100569326185772921


def test_streams_are_the_same_in_every_process():
    draws = {
        subprocess.run(
            [sys.executable, "-c", DRAW],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert draws == {f"{random_stream(7, 'swim').getrandbits(64)}\n".encode()}


async def test_the_real_environment():
    transport = WebSocketTransport()
    first, second = RealEnvironment(None, transport), RealEnvironment(None, transport)
    assert first.seed != second.seed
    assert first.transport is transport
    assert abs(first.wall_ms() / 1000 - time.time()) < 5
    assert first.now() <= trio.current_time()
    again = RealEnvironment(first.seed, transport)
    assert again.random("x").random() == first.random("x").random()
    assert first.random("x").random() == first.random("x").random()


def test_the_simulated_environment():
    async def main():
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, VirtualClock)
        transport = MemoryNetwork(clock, random.Random(1)).transport("n1")
        one = SimulatedEnvironment(3, transport, clock, 1_000_000)
        two = SimulatedEnvironment(3, transport, clock, 1_000_000, skew_ms=-250)
        await trio.sleep(1.5)
        assert one.now() == two.now() == trio.current_time()
        assert one.transport is transport
        assert (one.wall_ms(), two.wall_ms()) == (1_001_500, 1_001_250)
        two.skew_ms = 40
        assert two.wall_ms() == 1_001_540
        assert one.random("a").random() == two.random("a").random()

    run_virtual(main)
