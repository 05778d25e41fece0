"""A node whose wall clock was ahead, and is not any more, comes back all the same."""

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
import trio

from cluster.client import Consistency, connect
from tests.process.raw import PATIENCE_S

pytestmark = pytest.mark.process

AN_HOUR_AHEAD = """
import time
from cluster.environment import RealEnvironment
RealEnvironment.wall_ms = lambda _: time.time_ns() // 1_000_000 + 3_600_000
from cluster.node import main
raise SystemExit(main())
"""


class Process:
    def __init__(self, process, log_path):
        self.process, self.log_path = process, log_path
        self.printed = ""

    async def line(self, word):
        """The rest of the line that begins with a word."""
        with trio.fail_after(PATIENCE_S):
            while True:
                for line in self.printed.splitlines(keepends=True):
                    if line.startswith(f"{word} ") and line.endswith("\n"):
                        return dict(part.split("=") for part in line.split()[1:])
                chunk = await self.process.stdout.receive_some()
                assert chunk, self.log_path.read_text()
                self.printed += chunk.decode()

    async def stop(self):
        self.process.send_signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE_S):
            return await self.process.wait()


@asynccontextmanager
async def node(tmp_path, name, *options, start=("-m", "cluster.node")):
    kept = {key: text for key, text in os.environ.items() if not key.startswith("HYPERCACHE_")}
    log_path = tmp_path / f"{name}.log"
    command = [sys.executable, *start, "--node-id", name, "--bind", "127.0.0.1:0"]
    command += ["--http", "127.0.0.1:0", "--bootstrap-expect", "2", *options]
    with log_path.open("ab") as log:
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.PIPE, stderr=log, env=kept
        )
    try:
        yield Process(process, log_path)
    finally:
        process.kill()
        await process.wait()
        await process.stdout.aclose()


async def boot_of(address):
    async with connect(address) as cache:
        return (await cache.control("status"))["boot"]


async def test_it_begins_anew_under_a_boot_that_is_later(tmp_path):
    async with node(tmp_path, "n1") as first:
        seed = (await first.line("listening"))["ws"]
        async with node(tmp_path, "n2", "--seed", seed, start=("-c", AN_HOUR_AHEAD)) as ahead:
            await ahead.line("ready")
            old = await boot_of((await ahead.line("listening"))["ws"])
            assert await ahead.stop() == 0
        async with node(tmp_path, "n2", "--seed", seed) as mended:
            told = await mended.line("listening")
            await mended.line("ready")
            assert mended.printed.count("listening") == 1
            assert await boot_of(told["ws"]) > old, "at the address that was told first"
            assert f"knows boot {old:016x} of this node" in mended.log_path.read_text()
            async with connect(told["ws"]) as cache:
                await cache.set("key", 1, consistency=Consistency.ALL, timeout=5)
            assert await mended.stop() == 0
        assert "Traceback" not in mended.log_path.read_text()
