"""A node process from its first line to its exit code."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import trio
import trio.lowlevel

from cluster.client import connect
from cluster.errors import ClusterError, Timeout, Unavailable
from cluster.launch import launch_cluster
from tests.process.raw import PATIENCE_S

pytestmark = pytest.mark.process

FREE = ("--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--node-id", "n1")


async def run_node(*options):
    """Run a node that is expected to end by itself: exit code, output, log."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HYPERCACHE_")}
    with trio.fail_after(PATIENCE_S):
        ended = await trio.run_process(
            [sys.executable, "-m", "cluster.node", *options],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=kept,
        )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


async def test_it_says_where_it_listens_and_when_it_is_ready(local_cluster):
    for node in local_cluster.nodes:
        assert node.out_path.read_text().splitlines() == [
            f"listening node={node.id} ws={node.ws} http={node.http}",
            f"ready node={node.id}",
        ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_in_order_while_a_client_writes(local_cluster, number):
    first = local_cluster.nodes[0]
    done, unclear, failed = [], [], []

    async def writer(cache, name):
        for turn in range(150):
            key = f"{name}-{turn}"
            try:
                await cache.set(key, turn, timeout=5)
                done.append(key)
            except Timeout:
                unclear.append(key)
            except ClusterError as error:
                failed.append(error)
            await trio.sleep(0.002)

    async with connect(*local_cluster.addresses) as cache:
        async with trio.open_nursery() as nursery:
            for name in "abcd":
                nursery.start_soon(writer, cache, name)
            await trio.sleep(0.1)
            os.kill(first.pid, number)
            with trio.fail_after(PATIENCE_S):
                assert await first.wait() == 0
        assert len(done) + len(unclear) + len(failed) == 600
        assert len(unclear) <= 4, "at most what was in flight"
        assert not failed
        found = await cache.get_many(done)
        assert len(found) == len(done)
    assert f"{number.name}: stopping in order" in first.log_path.read_text()
    assert "Traceback" not in first.log_path.read_text()


async def test_a_single_node_that_stops_under_load_gives_clear_errors(tmp_path):
    outcomes = []

    async def writer(cache, name):
        for turn in range(1000):
            try:
                await cache.set(f"{name}-{turn}", turn, timeout=1)
                outcomes.append("done")
            except ClusterError as error:
                outcomes.append(f"{type(error).__name__}: {error}")
                return
            await trio.lowlevel.checkpoint()

    async with launch_cluster(1, log_dir=tmp_path) as cluster:
        [node] = cluster.nodes
        async with connect(node.ws) as cache, trio.open_nursery() as nursery:
            for name in "abcd":
                nursery.start_soon(writer, cache, name)
            await trio.sleep(0.2)
            assert await node.terminate() == 0
    errors = [each for each in outcomes if each != "done"]
    assert len(errors) == 4
    for error in errors:
        assert error.split(":")[0] in ("Unavailable", "Timeout", "Draining"), error


async def test_before_the_others_are_there_it_is_not_ready_and_ends_by_a_signal_too():
    command = [sys.executable, "-m", "cluster.node", *FREE, "--bootstrap-expect", "3"]
    for number in (signal.SIGTERM, signal.SIGINT):
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with trio.fail_after(PATIENCE_S):
            printed = ""
            while not printed.endswith("\n"):
                printed += (await process.stdout.receive_some()).decode()
            assert printed.startswith("listening node=n1 ")
            async with connect(printed.split("ws=")[1].split()[0]) as cache:
                status = await cache.control("status")
                assert not status["ready"]
                assert "1 members known, 3 expected" in status["reason"]
                with pytest.raises(Unavailable):
                    await cache.set("key", 1)
            process.send_signal(number)
            assert await process.wait() == 0
            assert await process.stdout.receive_some() == b"", "it never said that it is ready"
        await process.stdout.aclose()


@pytest.mark.parametrize("option", ["--bind", "--http"])
async def test_a_port_that_is_taken_is_one_clear_line_and_exit_code_1(option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = list(FREE)
        options[options.index(option) + 1] = address
        code, out, log = await run_node(*options)
    assert code == 1
    assert "listening" not in out
    lines = [line for line in log.splitlines() if " ERROR " in line or "Traceback" in line]
    assert len(lines) == 1, log
    assert address in lines[0]
    assert "in use" in lines[0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--frobnicate",), "--frobnicate"),
        (("--bind", "nowhere"), "--bind"),
        (("--virtual-nodes", "1000"), "--virtual-nodes"),
        (("--replication-factor", "0"), "--replication-factor"),
        (("--seed", "host:0"), "--seed"),
        (("--bind", "0.0.0.0:0"), "--advertise"),
        (("--frame-max", "64KiB"), "--frame-max"),
        (("--config", "/no/such/file"), "/no/such/file"),
    ],
)
async def test_a_bad_option_is_one_clear_line_and_exit_code_2(options, named):
    code, out, log = await run_node(*options)
    assert (code, out) == (2, "")
    assert len(log.strip().splitlines()) == 1, log
    assert named in log


async def test_a_restarted_node_takes_its_place_at_the_same_address(local_cluster):
    first = local_cluster.nodes[0]
    async with connect(*local_cluster.addresses[1:]) as cache:
        await cache.set("key", "value")
        before = (await cache.control("status", node="n1"))["boot"]
        address = first.ws
        await first.restart()
        assert first.ws == address
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    status = await cache.control("status", node="n1", timeout=1)
                except ClusterError:
                    await trio.sleep(0.02)
                    continue
                break
        assert status["boot"] > before
        assert await cache.get("key") == "value"
