"""The launcher, with a script in place of a node: its output is all that the launcher sees."""

import os
import signal
import sys
import textwrap

import pytest
import trio

from cluster.launch import LaunchError, launch_cluster

NODE = """
import argparse, signal, socket, sys, threading
parser = argparse.ArgumentParser()
for name in ("--node-id", "--bind", "--http", "--bootstrap-expect", "--mode"):
    parser.add_argument(name)
parser.add_argument("--seed", action="append", default=[])
options = parser.parse_args()
if options.mode == "broken":
    sys.exit("no such option: --frobnicate")
if options.mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.create_server((options.bind.split(":")[0], int(options.bind.split(":")[1])))
ws = "{}:{}".format(*listener.getsockname())
http = "off" if options.http == "off" else "127.0.0.1:1"
print("seeds", *options.seed, flush=True)
print("listening node=someone-else ws=1.1.1.1:1 http=off", flush=True)
print(f"listening node={options.node_id} ws={ws} http={http}", flush=True)
print("hello from", options.node_id, file=sys.stderr, flush=True)
if options.mode == "dies-before-ready":
    sys.exit(7)
if options.mode != "never-ready":
    print(f"ready node={options.node_id}", flush=True)
signal.pause()
"""


@pytest.fixture
def command(tmp_path):
    script = tmp_path / "node.py"
    script.write_text(textwrap.dedent(NODE))
    return (sys.executable, "-I", str(script))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_nodes_are_up_within_the_block_and_gone_after_it(command, tmp_path):
    async with launch_cluster(3, command=command, log_dir=tmp_path) as cluster:
        assert [node.id for node in cluster.nodes] == ["n1", "n2", "n3"]
        assert all(map(alive, cluster.pids))
        assert len(set(cluster.addresses)) == 3
        assert all(not address.endswith(":0") for address in cluster.addresses)
        assert cluster.node("n2") is cluster.nodes[1]
        assert cluster.nodes[0].http == "127.0.0.1:1"
    assert not any(map(alive, cluster.pids))
    assert not any(node.running for node in cluster.nodes)


async def test_the_first_node_is_the_seed_of_the_others(command, tmp_path):
    async with launch_cluster(3, command=command, log_dir=tmp_path) as cluster:
        first = cluster.addresses[0]
    printed = [(tmp_path / f"n{n}.out").read_text().splitlines()[0] for n in (1, 2, 3)]
    assert printed == ["seeds", f"seeds {first}", f"seeds {first}"]


async def test_output_is_kept_in_files(command, tmp_path):
    async with launch_cluster(1, command=command, log_dir=tmp_path / "logs") as cluster:
        [node] = cluster.nodes
        assert "ready node=n1" in node.log_tail()
    assert (tmp_path / "logs" / "n1.log").read_text() == "hello from n1\n"


async def test_a_directory_of_its_own_goes_with_the_block(command):
    async with launch_cluster(1, command=command) as cluster:
        assert cluster.log_dir.is_dir()
    assert not cluster.log_dir.exists()


async def test_http_can_be_off(command):
    async with launch_cluster(1, command=command, binds=[("127.0.0.1:0", "off")]) as cluster:
        assert cluster.nodes[0].http == ""


async def test_a_node_that_ends_at_once_is_told_with_its_last_lines(command):
    with pytest.raises(LaunchError, match=r"(?s)n1 ended with exit code 1 .*--frobnicate"):
        async with launch_cluster(2, command=command, options=("--mode", "broken")):
            pytest.fail("it started")


async def test_a_node_that_ends_before_it_is_ready_is_told(command):
    with pytest.raises(LaunchError, match="exit code 7 before it was ready"):
        async with launch_cluster(1, command=command, options=("--mode", "dies-before-ready")):
            pytest.fail("it started")


async def test_a_node_that_is_not_ready_in_time_is_told_and_ended(command, tmp_path):
    mode = ("--mode", "never-ready")
    with pytest.raises(LaunchError, match=r"n1 was not \w+ in time"):
        async with launch_cluster(
            1, command=command, options=mode, ready_timeout_s=0.5, log_dir=tmp_path
        ):
            pytest.fail("it started")


async def test_kill_is_sigkill_and_restart_comes_back_at_the_same_address(command, tmp_path):
    async with launch_cluster(3, command=command, log_dir=tmp_path) as cluster:
        second = cluster.nodes[1]
        address, pid = second.ws, second.pid
        await second.kill()
        assert not second.running
        assert await second.wait() == -signal.SIGKILL
        await second.restart()
        assert second.running
        assert second.ws == address
        assert second.pid != pid
        seeds = second.out_path.read_text().splitlines()[-4]
        assert seeds.split()[1:] == [cluster.addresses[0], cluster.addresses[2]]
    assert not any(map(alive, [pid, *cluster.pids]))


async def test_terminate_waits_and_gives_the_exit_code(command):
    async with launch_cluster(1, command=command) as cluster:
        assert await cluster.nodes[0].terminate() == 0
        await cluster.nodes[0].restart()
        assert cluster.nodes[0].running


async def test_a_node_that_ignores_sigterm_is_killed_after_the_grace(command):
    async with launch_cluster(1, command=command, options=("--mode", "stubborn")) as cluster:
        assert await cluster.nodes[0].terminate(grace_s=0.05) == -signal.SIGKILL


async def test_a_failure_in_the_block_ends_the_nodes_and_is_itself(command):
    pids = []

    async def fail():
        async with launch_cluster(2, command=command) as cluster:
            pids.extend(cluster.pids)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert len(pids) == 2
    assert not any(map(alive, pids))


async def test_a_cancelled_block_ends_the_nodes(command):
    with trio.CancelScope() as scope:
        async with launch_cluster(2, command=command) as cluster:
            scope.cancel()
            await trio.sleep_forever()
    assert not any(map(alive, cluster.pids))


async def test_options_for_a_node_of_the_user_do_not_leak(tmp_path, monkeypatch):
    script = tmp_path / "node.py"
    script.write_text("import os, sys; sys.exit('seen: ' + str(sorted(os.environ)))")
    monkeypatch.setenv("HYPERCACHE_SEED", "10.0.0.1:7946")
    with pytest.raises(LaunchError, match="seen: ") as raised:
        async with launch_cluster(1, command=(sys.executable, "-I", str(script))):
            pytest.fail("it started")
    assert "HYPERCACHE_SEED" not in str(raised.value)


KILLED_LAUNCHER = """
import os, signal, sys, trio
from cluster.launch import launch_cluster
async def main():
    async with launch_cluster(2, command=sys.argv[1:]) as cluster:
        print(*cluster.pids, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
trio.run(main)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the test waits on Linux's pidfd")
async def test_nodes_do_not_outlive_a_launcher_that_was_killed(command):
    launcher = [sys.executable, "-c", KILLED_LAUNCHER, *command]
    ended = await trio.run_process(launcher, capture_stdout=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in ended.stdout.split()]
    assert len(pids) == 2
    with trio.fail_after(10):
        for pid in pids:
            await wait_for_end(pid)


async def wait_for_end(pid):
    """A process that is no child of ours has ended when its descriptor is readable."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
