"""Virtual time, determinism, and noticing that nothing can happen."""

import gc
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio._core._run as trio_run
import trio.testing

from actors.testing import (
    Deadlock,
    HorizonPassed,
    Probe,
    Spinning,
    StuckDetector,
    VirtualClock,
    _virtual,
    run_virtual,
    running,
    seeded_scheduler,
    virtual,
)
from tests.actors.actor_kit import Get, system
from tests.actors.world import trace_of

ROOT = Path(__file__).resolve().parents[2]


def in_process(seed, hash_seed):
    done = subprocess.run(
        [sys.executable, "-m", "tests.actors.world", str(seed)],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_the_same_seed_gives_the_same_trace_bytes_in_any_process():
    here = trace_of(1)
    assert trace_of(1) == here
    assert in_process(1, "1") == here
    assert in_process(1, "4242") == here
    assert trace_of(2) != here
    _, records, crashes = here.split()
    assert int(records) > 1000
    assert int(crashes) > 3


def test_trio_still_has_the_names_that_make_its_scheduler_deterministic():
    assert isinstance(trio_run._r, random.Random)
    assert trio_run._ALLOW_DETERMINISTIC_SCHEDULING in {True, False}


def test_the_scheduler_is_restored(monkeypatch):
    before = (trio_run._r.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING)
    with seeded_scheduler(3):
        assert trio_run._ALLOW_DETERMINISTIC_SCHEDULING is True
        first = trio_run._r.random()
    assert (trio_run._r.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING) == before
    with seeded_scheduler(3):
        assert trio_run._r.random() == first
    monkeypatch.delattr(trio_run, "_r")
    with pytest.raises(RuntimeError, match="trio has moved"), seeded_scheduler(3):
        pass


def test_time_jumps_and_timers_fire_in_order():
    async def main():
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, VirtualClock)
        seen = []
        clock.call_at(2.0, lambda: seen.append(("two", trio.current_time())))
        clock.call_later(1.0, lambda: seen.append(("one", trio.current_time())))
        clock.call_at(2.0, lambda: seen.append(("two, later", trio.current_time())))
        clock.call_at(1.5, lambda: seen.append("never")).cancel()
        await trio.sleep(10_000 - 8000)
        assert trio.current_time() == 2000
        return seen

    gc_was = gc.isenabled()
    seen = run_virtual(main)
    assert seen == [("one", 1.0), ("two", 2.0), ("two, later", 2.0)]
    assert gc.isenabled() == gc_was


def test_a_timer_wakes_a_task_without_a_task_of_its_own():
    async def main():
        send, receive = trio.open_memory_channel(10)
        clock = trio.lowlevel.current_clock()
        for n in range(3):
            clock.call_at(n + 1.0, lambda n=n: send.send_nowait(n))
        return [(await receive.receive(), trio.current_time()) for _ in range(3)]

    assert run_virtual(main) == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_a_deadlock_is_reported_at_once_and_by_name():
    async def main():
        async def waits_for_ever():
            await trio.Event().wait()

        await trio.sleep(3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits_for_ever, name="the guilty one")

    with pytest.raises(Deadlock, match=r"nothing can happen after 3\.000000 s") as caught:
        run_virtual(main, seed=9)
    assert "the guilty one waits at test_virtual.py" in str(caught.value)
    assert "virtual run with seed 9" in caught.value.__notes__


UNCANCELLABLE = """
import trio
from actors.testing import run_virtual

async def main():
    with trio.CancelScope(shield=True):
        await trio.Event().wait()

run_virtual(main, seed=9)
"""


def test_a_deadlock_of_a_task_that_cannot_be_cancelled_does_not_hang():
    """In a process of its own: such a run is abandoned, and what it leaves is noisy."""
    done = subprocess.run(
        [sys.executable, "-c", UNCANCELLABLE],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Deadlock: nothing can happen after 0.000000 s" in done.stderr
    assert "virtual run with seed 9" in done.stderr


def test_a_system_in_a_deadlock_is_stopped_in_order():
    async def main():
        async with running(system(Probe().spec("a"))):
            await trio.Event().wait()

    with pytest.raises(Deadlock, match="/n1/a waits at"):
        run_virtual(main)


def test_a_run_past_its_horizon_is_given_up():
    async def main():
        for _ in range(1000):
            await trio.sleep(1)

    with pytest.raises(HorizonPassed, match="after 50 virtual seconds"):
        run_virtual(main, horizon_s=50)


def test_tasks_that_spin_are_found(monkeypatch):
    monkeypatch.setattr(_virtual, "SPIN_PASSES", 1000)

    async def main():
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(Spinning, match="no rest at 0"):
        run_virtual(main)


def test_an_exception_of_a_timer_ends_the_run():
    async def main():
        def bad():
            raise KeyError("in the timer")

        trio.lowlevel.current_clock().call_later(1.0, bad)
        await trio.sleep(100)

    with pytest.raises(KeyError, match="in the timer"):
        run_virtual(main)


@virtual(seed=5)
async def test_the_decorator_runs_tests_with_fixtures(tmp_path):
    assert tmp_path.exists()
    before = trio.current_time()
    await trio.sleep(3000)
    assert trio.current_time() == before + 3000


def test_the_stuck_detector_is_silent_until_nothing_can_happen():
    detectors = []

    async def main():
        with trio.CancelScope() as scope:
            detector = StuckDetector(scope)
            detectors.append(detector)
            trio.lowlevel.add_instrument(detector)
            await trio.sleep(60_000)
            assert not detector.stuck
            await trio.Event().wait()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert detectors[0].stuck
    assert "main waits at test_virtual.py" in detectors[0].tasks


@virtual()
async def test_a_probe_keeps_waits_and_answers():
    probe = Probe(lambda request: request.number + 1)
    async with running(system(probe.spec("p"))) as s:
        ref = s.ref("p")
        assert await ref.ask(Get(1)) == 2
        ref.tell("x")
        assert await probe.wait_for(lambda m: m == "x") == "x"
        assert await probe.wait_count(2) == [Get(1), "x"]
        with pytest.raises(AssertionError, match="no message matched within 1 s"):
            await probe.wait_for(lambda m: m == "y", timeout_s=1)
        with pytest.raises(AssertionError, match="2 instead of 3 messages"):
            await probe.wait_count(3, timeout_s=1)
