"""`hypercache dev`: a local cluster of real node processes, with a live table of its members.

Ends in order with Ctrl-C or SIGTERM. The nodes hold their data in memory only, like all nodes: when
the command ends, the data is gone.
"""

import argparse
import errno
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cluster.cli.control_link import ask_node
from cluster.cli.exits import DONE, UNAVAILABLE
from cluster.cli.parsing import Commands
from cluster.errors import ClusterError, ConfigError
from cluster.launch import LocalCluster, NodeProcess, launch_cluster
from cluster.option_values import between, whole

__all__ = ["add_commands", "pick_binds", "run"]

HOST: Final = "127.0.0.1"
NODES_MAX: Final = 16
BASE_PORT: Final = "7946"
HTTP_OFFSET: Final = 1000
"""The HTTP port of a node is so far above its websocket port."""
REFRESH_S: Final = 1.0
QUESTION_TIMEOUT_S: Final = 0.9


def add_commands(commands: Commands) -> None:
    """Add the local cluster."""
    dev = commands.add_local("dev", "run a local cluster of real processes until Ctrl-C")
    dev.add_argument("--nodes", metavar="N", default="3", help="how many nodes (default: 3)")
    dev.add_argument(
        "--base-port",
        metavar="PORT",
        default=BASE_PORT,
        help=f"port of the first node, the others follow; HTTP {HTTP_OFFSET} above; "
        f"0: free ports (default: {BASE_PORT})",
    )
    dev.add_argument(
        "--log-dir", metavar="DIR", help="keep the logs here (default: gone at the end)"
    )


async def run(arguments: argparse.Namespace) -> int:
    """Run a local cluster until a signal; return the exit code.

    Raises:
        ConfigError: a bad option, or a port is taken.
    """
    nodes = _number("--nodes", arguments.nodes, "1", str(NODES_MAX))
    highest = 65_535 - HTTP_OFFSET - NODES_MAX
    binds = pick_binds(nodes, _number("--base-port", arguments.base_port, "0", str(highest)))
    log_dir = None if arguments.log_dir is None else Path(arguments.log_dir)
    code = DONE
    async with trio.open_nursery() as nursery:
        await nursery.start(_until_signal, nursery.cancel_scope)
        try:
            async with launch_cluster(nodes, binds=binds, log_dir=log_dir) as local:
                _introduce(local)
                await _watch(local)
        except ClusterError as error:
            sys.stderr.write(f"hypercache: {error}\n")
            code = UNAVAILABLE
        nursery.cancel_scope.cancel()
    return code


def pick_binds(nodes: int, base_port: int) -> list[tuple[str, str]]:
    """The (websocket, HTTP) address of each node.

    Raises:
        ConfigError: a port is taken; the message says which and what to do.
    """
    if base_port == 0:
        return [(f"{HOST}:0", f"{HOST}:0")] * nodes
    ports = range(base_port, base_port + nodes)
    for port in (*ports, *(port + HTTP_OFFSET for port in ports)):
        _check_free(port)
    return [(f"{HOST}:{port}", f"{HOST}:{port + HTTP_OFFSET}") for port in ports]


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise ConfigError(
                f"--base-port: port {port} is taken, perhaps by a cluster that already runs; "
                "stop it, choose another --base-port, or take free ports with --base-port 0"
            ) from None


async def _until_signal(
    scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
            break


def _introduce(local: LocalCluster) -> None:
    first = local.nodes[0]
    target = "" if first.ws == f"{HOST}:{BASE_PORT}" else f" --target {first.ws}"
    lines = [
        f"A cluster of {len(local.nodes)} nodes is ready. Talk to it from another terminal:",
        f"  hypercache set{target} greeting hello",
        f"  hypercache get{target} greeting",
        f"  hypercache status{target}",
        f"  curl http://{first.http}/cluster/members",
        f"Logs: {local.log_dir}. Ctrl-C ends it, and its data with it.",
        "",
    ]
    sys.stdout.write("\n".join(lines))
    sys.stdout.flush()


async def _watch(local: LocalCluster) -> None:
    """Show the members, live on a terminal; in a pipe only wait."""
    console = Console()
    if not console.is_terminal:
        await trio.sleep_forever()
    with Live(_table([]), console=console, auto_refresh=False) as live:
        while True:
            rows = await _rows(local.nodes)
            live.update(_table(rows), refresh=True)
            await trio.sleep(REFRESH_S)


async def _rows(nodes: Sequence[NodeProcess]) -> list[list[str]]:
    rows: dict[str, list[str]] = {}

    async def ask(node: NodeProcess) -> None:
        rows[node.id] = await _row(node)

    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(ask, node)
    return [rows[node.id] for node in nodes]


async def _row(node: NodeProcess) -> list[str]:
    head = [node.id, node.ws, node.http, str(node.pid)]
    if not node.running:
        return [*head, "[red]ended[/red]", "", ""]
    try:
        body: Any = await ask_node(node.ws, "status", {}, QUESTION_TIMEOUT_S)
    except ClusterError:
        return [*head, "[yellow]silent[/yellow]", "", ""]
    state = "[green]ready[/green]" if body["ready"] else "[yellow]waits[/yellow]"
    return [*head, state, str(body["records"]), f"{body['members_alive']} of {body['members']}"]


def _table(rows: Sequence[Sequence[str]]) -> Table:
    table = Table(
        "node", "websocket", "http", "pid", "state", "records", "sees alive",
        title=f"HyperCache  {time.strftime('%H:%M:%S')}", title_justify="left",
    )  # fmt: skip
    for row in rows:
        table.add_row(*row)
    return table


def _number(flag: str, text: str, low: str, high: str) -> int:
    try:
        return between(whole, low, high)(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from None
