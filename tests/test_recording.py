"""A trace file is written around a run of actors; a crash shows the last of the trace."""

import random

import pytest
import trio

from actors import ActorSystem, Behaviour, ChildSpec, Restart, SupervisorSpec
from actors.testing import virtual
from actors.tracing import TraceReader
from cluster.errors import NodeFailed
from cluster.recording import LAST_LINES_MAX, last_lines, recording


class Fragile(Behaviour):
    def receive(self, _ctx, message):
        if message == "crash":
            raise ValueError(message)


def system(on_crash=None):
    child = ChildSpec("a", Fragile, restart=Restart.TEMPORARY)
    return ActorSystem("n1", SupervisorSpec("", (child,)), rng=random.Random(1), on_crash=on_crash)


@virtual()
async def test_the_file_ends_with_the_ordered_stop_even_after_a_cancel(tmp_path):
    path = tmp_path / "n1.trace"
    ran = system()
    with trio.move_on_after(5) as limit:
        async with recording(str(path), ran.trace, 1.0, threads=False):
            await ran.run()
    assert limit.cancelled_caught
    with TraceReader(path) as reader:
        kinds = [record.kind for record in reader]
    assert (kinds[0], kinds[-1]) == ("start", "stop")


@virtual()
async def test_without_a_file_nothing_is_written_and_failures_pass_unwrapped(tmp_path):
    ran = system()
    for path in (None, str(tmp_path / "n1.trace")):
        with pytest.raises(KeyError, match="the run failed"):
            async with recording(path, ran.trace, 1.0, threads=False):
                raise KeyError("the run failed")


@virtual()
async def test_a_file_that_cannot_be_made_names_option_and_reason(tmp_path):
    path = str(tmp_path / "missing" / "n1.trace")
    with pytest.raises(NodeFailed, match=r"--trace: .*n1\.trace: No such file"):
        async with recording(path, system().trace, 1.0, threads=False):
            pytest.fail("there is nothing to run without the file")


@virtual()
async def test_a_crash_shows_at_most_so_many_lines_of_that_actor():
    reports = []
    ran = system(reports.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(ran.run)
        for number in range(LAST_LINES_MAX):
            ran.ref("a").tell(number)
        ran.ref("a").tell("crash")
        await trio.sleep(1)
        ran.stop()
    [report] = reports
    lines = last_lines(report, ran.trace).splitlines()
    assert len(lines) == LAST_LINES_MAX
    assert all(" n1 " in line and " /n1/a.1 " in line for line in lines)
    assert " fail " in lines[-1]
    assert "ValueError" in lines[-1]
