"""`python -m cluster.node`: run one node in the foreground.

Arguments become a `Config`, logging goes to standard error, and `serve` runs an `assembly.Node`
with websockets, signals, and the `listening` and `ready` lines.
This module holds no classes, because `python -m` loads it under another name than an import would.

Exit codes: 0 stopped in order, 1 failed to start or to go on, 2 a bad option.
"""

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import trio
from loguru import logger

from cluster.assembly import Node
from cluster.collector import collector_watched
from cluster.config import Config, load
from cluster.core.values import COUNTER_BITS, WALL_MS_MAX, BootId
from cluster.environment import RealEnvironment
from cluster.errors import ClusterError, ConfigError, NodeFailed
from cluster.gateway.http import open_listener
from cluster.net.base import ConnectionLimits
from cluster.net.websocket import WebSocketTransport

if TYPE_CHECKING:
    from loguru import Message, Record

__all__ = ["main", "serve", "set_up_logging"]

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

BOOTS_MAX: Final = 3
"""Boots that one process tries until no peer knows a later one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a node until it is told to stop; return the exit code."""
    try:
        config = load(sys.argv[1:] if arguments is None else arguments, os.environ)
    except ConfigError as error:
        print(f"hypercache: {error}", file=sys.stderr)  # noqa: T201 - logging is not set up yet
        return EXIT_USAGE
    set_up_logging(config)
    try:
        return trio.run(serve, config)
    except Exception as error:  # noqa: BLE001 - the last frame of the process tells and ends
        _tell(error)
        return EXIT_FAILED


async def serve(config: Config) -> int:
    """Run one node in this process until SIGTERM or SIGINT; the exit code is returned.

    A node whose peers know a later boot of it, because its wall clock was ahead in the life before,
    begins anew under one that is later still, unless it has served: then what it held is lost, and
    whoever watches the process should know.
    """
    above = 0
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        for left in reversed(range(BOOTS_MAX)):
            node, failure = await _run_boot(config, signals, above)
            if failure is None:
                break
            above = node.outdated_by
            can_be_raised = 0 < above >> COUNTER_BITS < WALL_MS_MAX
            if not (left and can_be_raised) or node.serving.is_set():
                raise failure
            logger.warning("a peer knows boot {:016x} of this node: it begins anew above", above)
            # The ports stay the same: they have been told.
            config = attrs.evolve(config, bind=node.address, http=config.http and node.http_address)
    return 0


async def _run_boot(
    config: Config, signals: AsyncIterator[int], above: BootId
) -> tuple[Node, NodeFailed | None]:
    """One boot, from start to end, and what it failed of."""
    limits = ConnectionLimits(frame_bytes_max=config.frame_max_bytes)
    environment = RealEnvironment(None, WebSocketTransport(limits))
    listener = None if config.http is None else open_listener(config.http)
    node = Node(config, environment, http_listener=listener, threads=True, above=above)
    failure = None
    with (
        contextlib.closing(listener) if listener else contextlib.nullcontext(),
        collector_watched(node.registry),
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, node, signals)
            nursery.start_soon(_announce, node, not above)
            try:
                await node.run()
            except NodeFailed as error:
                failure = error
            nursery.cancel_scope.cancel()
    return node, failure


async def _stop_on_signal(node: Node, signals: AsyncIterator[int]) -> None:
    async for number in signals:
        logger.info("{}: stopping in order", signal.Signals(number).name)
        await node.stop()
        return


async def _announce(node: Node, first: bool) -> None:
    """Tell whoever started this process how far it is, on standard output."""
    name = node.config.node_id
    await node.bound.wait()
    if first:
        http = node.http_address or "off"
        print(f"listening node={name} ws={node.address} http={http}", flush=True)  # noqa: T201
    await node.serving.wait()
    print(f"ready node={name}", flush=True)  # noqa: T201


def set_up_logging(config: Config) -> None:
    """Send log lines of the wanted level to standard error, each with the id of the node."""
    logger.remove()
    logger.configure(extra={"node": config.node_id})
    # `diagnose` would print the values of variables, keys and values of users among them.
    logger.add(
        _write_json if config.log_format == "json" else sys.stderr,
        level=config.log_level.upper(),
        format=_text_format,
        backtrace=False,
        diagnose=False,
    )
    # The actor runtime knows the standard logging only.
    logging.getLogger("actors").addFilter(_pass_on)


def _pass_on(record: logging.LogRecord) -> bool:
    """Write a line of the standard logging with ours, instead of where it would have gone."""
    with_its_name = logger.patch(lambda found: found.update({"name": record.name}))
    with_its_name.opt(exception=record.exc_info).log(record.levelname, "{}", record.getMessage())
    return False


def _text_format(record: "Record") -> str:
    extra = "".join(f" {name}={{extra[{name}]}}" for name in record["extra"] if name != "node")
    return (
        "{time:YYYY-MM-DD HH:mm:ss.SSS} <level>{level: <7}</level> {extra[node]} "
        f"<cyan>{{name}}</cyan>: {{message}}{extra}\n{{exception}}"
    )


def _write_json(message: "Message") -> None:
    record = message.record
    line = {
        "at": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name.lower(),
        "module": record["name"],
        "message": record["message"],
        **record["extra"],
    }
    if record["exception"] is not None:
        line["error"] = repr(record["exception"].value)
        line["text"] = str(message)
    sys.stderr.write(json.dumps(line, default=str) + "\n")


def _tell(error: Exception) -> None:
    """One line for what a person can mend; a traceback for the rest."""
    leaves = list(_leaves(error))
    if all(isinstance(each, OSError | ClusterError) for each in leaves):
        for each in leaves:
            logger.error("{}", each.strerror or each if isinstance(each, OSError) else each)
    else:
        logger.opt(exception=error).critical("the node failed")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


if __name__ == "__main__":
    sys.exit(main())
