"""Starts real node processes on this machine: for development, benchmark, chaos runs and tests.

    async with launch_cluster(nodes=3) as cluster:
        async with connect(*cluster.addresses) as cache: ...

Every node binds port 0 and prints the address it got; the first node's address is the seed of the
others, and `--bootstrap-expect` makes them found the cluster together. Output goes to files, which
is also where the `listening` and `ready` lines are read: no pipe that can fill, and no task behind
the caller's back. A node ends with the block: SIGTERM, a grace, SIGKILL; should the launcher itself
be killed, `launch_guard` ends what it started, and only that.

What it does not do: watch the nodes. A node that dies stays dead until `restart()`.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio
from loguru import logger

import cluster
from cluster.errors import ClusterError

__all__ = ["LaunchError", "LocalCluster", "NodeProcess", "launch_cluster"]

NODE_COMMAND: Final = (sys.executable, "-m", "cluster.node")
READY_TIMEOUT_S: Final = 20.0
TERMINATE_GRACE_S: Final = 10.0
POLL_INTERVAL_S: Final = 0.02
"""How often the output of a starting node is looked at; nothing is polled once it is ready."""
TAIL_LINES: Final = 20
GUARD_SCRIPT: Final = Path(__file__).with_name("launch_guard.py")


class LaunchError(ClusterError):
    """A node did not start, or was not ready in time. The message ends with its last log lines."""


@attrs.define(eq=False)
class NodeProcess:
    """One node process; built by `launch_cluster`.

    Attributes:
        id: node id.
        ws: websocket address `host:port`, once it listens; the same after a restart.
        http: HTTP address, empty when it is off.
        out_path: what it printed, over all its lives.
        log_path: what it logged, over all its lives.
    """

    id: str
    _command: tuple[str, ...]
    out_path: Path
    log_path: Path
    _guard: "_Guard"
    ws: str = ""
    http: str = ""
    _process: trio.Process | None = None
    _out_start_bytes: int = 0
    seeds: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        """Process id of the current or last life."""
        return self._started.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def _started(self) -> trio.Process:
        if self._process is None:
            raise LaunchError(f"node {self.id} was never started")
        return self._process

    async def start(self, bind: str, http: str, seeds: Sequence[str]) -> None:
        """Start the process; returns before it listens."""
        assert not self.running, f"node {self.id} is running"
        self.seeds = tuple(seeds)
        seed_options = [part for seed in seeds for part in ("--seed", seed)]
        named = [part.replace("{node}", self.id) for part in self._command]
        command = [*named, "--node-id", self.id, "--bind", bind, "--http", http]
        with ExitStack() as files:
            out = files.enter_context(self.out_path.open("ab"))
            log = files.enter_context(self.log_path.open("ab"))
            self._out_start_bytes = out.tell()
            self._process = await trio.lowlevel.open_process(
                [*command, *seed_options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=_environment(),
                # Ctrl-C in a terminal is for the launcher, which then stops the nodes in order.
                start_new_session=True,
            )
        self._guard.watch(self._process.pid)

    async def wait_listening(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait for the `listening` line and take the addresses from it.

        Raises:
            LaunchError: the process ended, or the time is over.
        """
        fields = await self._wait_line("listening", timeout_s)
        self.ws = fields["ws"]
        self.http = "" if fields["http"] == "off" else fields["http"]

    async def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait for the `ready` line.

        Raises:
            LaunchError: the process ended, or the time is over.
        """
        await self._wait_line("ready", timeout_s)

    async def wait(self) -> int:
        """Wait for the end of the process: its exit code, negative for a signal."""
        code = await self._started.wait()
        self._guard.forget(self._started.pid)
        return code

    async def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self._started.kill()
        await self.wait()

    async def terminate(self, grace_s: float = TERMINATE_GRACE_S) -> int:
        """SIGTERM, and SIGKILL after the grace: the exit code."""
        self._started.terminate()
        with trio.move_on_after(grace_s):
            return await self.wait()
        self._started.kill()
        return await self.wait()

    async def restart(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start again at the same addresses, ending the current life first; returns when ready."""
        if self.running:
            await self.terminate()
        await self.start(self.ws, self.http or "off", self.seeds)
        await self.wait_listening(timeout_s)
        await self.wait_ready(timeout_s)

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines it printed and logged."""
        text = "".join(path.read_text(errors="replace") for path in (self.out_path, self.log_path))
        return "\n".join(text.splitlines()[-lines:])

    async def _wait_line(self, word: str, timeout_s: float) -> dict[str, str]:
        deadline = trio.current_time() + timeout_s
        while True:
            code = self._started.poll()
            fields = self._find_line(word)
            if fields is not None:
                return fields
            if code is not None:
                raise self._failure(f"ended with exit code {code} before it was {word}")
            if trio.current_time() >= deadline:
                raise self._failure(f"was not {word} in time")
            await trio.sleep(POLL_INTERVAL_S)

    def _find_line(self, word: str) -> dict[str, str] | None:
        with self.out_path.open("rb") as out:
            out.seek(self._out_start_bytes)
            lines = out.read().decode(errors="replace").splitlines(keepends=True)
        for line in lines:
            first, *rest = line.split()
            if first == word and line.endswith("\n"):
                fields = dict(part.split("=", 1) for part in rest if "=" in part)
                if fields.get("node") == self.id:
                    return fields
        return None

    def _failure(self, what: str) -> LaunchError:
        return LaunchError(f"node {self.id} {what}; its last lines:\n{self.log_tail()}")


@attrs.frozen
class LocalCluster:
    """The nodes of one cluster, in the order of their start."""

    nodes: tuple[NodeProcess, ...]
    log_dir: Path

    @property
    def addresses(self) -> list[str]:
        """Websocket addresses of all nodes."""
        return [node.ws for node in self.nodes]

    @property
    def pids(self) -> list[int]:
        """Process ids of all nodes."""
        return [node.pid for node in self.nodes]

    def node(self, node_id: str) -> NodeProcess:
        """The node of that id.

        Raises:
            KeyError: there is none.
        """
        return {node.id: node for node in self.nodes}[node_id]


@asynccontextmanager
async def launch_cluster(
    nodes: int = 3,
    *,
    options: Sequence[str] = (),
    command: Sequence[str] = NODE_COMMAND,
    binds: Sequence[tuple[str, str]] | None = None,
    log_dir: Path | None = None,
    ready_timeout_s: float = READY_TIMEOUT_S,
    node_prefix: str = "n",
) -> AsyncIterator[LocalCluster]:
    """A cluster of real processes, ready; ended with the block, whatever happens.

    Args:
        nodes: how many, named `n1`, `n2`, ...
        options: further options of every node, such as `("--replication-factor", "2")`; `{node}`
            stands for the id of each, as in `("--trace", "/tmp/{node}.trace")`.
        command: the program and its first arguments.
        binds: (websocket, HTTP) address of each node to bind; free ports of the loopback otherwise.
        log_dir: where the output of the nodes stays; a directory that goes with the block
            otherwise.
        ready_timeout_s: for the whole start.
        node_prefix: what node ids begin with.

    Raises:
        LaunchError: a node ended or was not ready in time; all are ended then.
    """
    assert nodes >= 1, "a cluster has at least one node"
    where = list(binds) if binds is not None else [("127.0.0.1:0", "127.0.0.1:0")] * nodes
    assert len(where) == nodes, "one pair of addresses per node"
    with ExitStack() as stack:
        if log_dir is None:
            log_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hypercache-")))
        log_dir.mkdir(parents=True, exist_ok=True)
        base = (*command, "--bootstrap-expect", str(nodes), *options)
        async with _open_guard() as guard:
            processes = tuple(
                NodeProcess(name, base, log_dir / f"{name}.out", log_dir / f"{name}.log", guard)
                for name in (f"{node_prefix}{number}" for number in range(1, nodes + 1))
            )
            try:
                await _start(processes, where, trio.current_time() + ready_timeout_s)
                yield LocalCluster(processes, log_dir)
            finally:
                with trio.CancelScope(shield=True):
                    await _end(processes)


async def _start(
    processes: Sequence[NodeProcess], binds: Sequence[tuple[str, str]], deadline: float
) -> None:
    """Start the first node, then the others with its address as seed; wait until all serve."""
    first, *others = processes
    await first.start(*binds[0], seeds=())
    await first.wait_listening(deadline - trio.current_time())
    for node, (bind, http) in zip(others, binds[1:], strict=True):
        await node.start(bind, http, seeds=(first.ws,))
    for node in others:
        await node.wait_listening(deadline - trio.current_time())
    for node in processes:
        await node.wait_ready(deadline - trio.current_time())
    for node in processes:
        # For a restart: any of the others can tell where the cluster is.
        node.seeds = tuple(other.ws for other in processes if other is not node)


async def _end(processes: Sequence[NodeProcess]) -> None:
    async with trio.open_nursery() as nursery:
        for node in processes:
            if node.running:
                nursery.start_soon(node.terminate)


def _environment() -> Mapping[str, str]:
    """This process's environment, without options meant for a node of the user's."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HYPERCACHE_")}
    root = str(Path(cluster.__file__).parent.parent)
    paths = [root, *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


@attrs.frozen
class _Guard:
    """The process that outlives this one just long enough to end its nodes."""

    _process: trio.Process

    def watch(self, pid: int) -> None:
        self._tell(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        assert isinstance(self._process.stdin, trio.lowlevel.FdStream)
        try:
            # Lines are far smaller than a pipe and written whole, so this neither waits nor mixes
            # lines of two tasks.
            os.write(self._process.stdin.fileno(), line.encode())
        except BrokenPipeError:
            logger.warning("the guard of the local cluster is gone: end the nodes before this")


@asynccontextmanager
async def _open_guard() -> AsyncIterator[_Guard]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-I", str(GUARD_SCRIPT)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield _Guard(process)
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            await process.wait()
