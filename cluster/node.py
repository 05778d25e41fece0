"""`python -m cluster.node`: run one node in the foreground.

Arguments become a `Config`, logging goes to standard error, and `assembly.serve` does the rest.
This module holds no classes, because `python -m` loads it under another name than an import would.

Exit codes: 0 stopped in order, 1 failed to start or to go on, 2 a bad option.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import trio
from loguru import logger

from cluster.assembly import serve
from cluster.config import Config, load
from cluster.errors import ClusterError, ConfigError

if TYPE_CHECKING:
    from loguru import Message, Record

__all__ = ["main", "set_up_logging"]

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


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
