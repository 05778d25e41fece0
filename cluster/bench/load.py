"""The process that makes the load: `python -m cluster.bench.load`.

The product and the bare stack have one each, so that the CPU of their clients is that of a process.
It connects, says `ready`, then answers each line of standard input (a JSON object, see
`generator.py`) with a line of standard output, and ends with its input.
"""

import argparse
import functools
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import trio

from cluster.bench.bare_client import connect_bare
from cluster.bench.workload import Cell, Data, Kind, Store, fill, measure
from cluster.errors import ClusterError

__all__ = ["main"]

CONNECT_TIMEOUT_S = 10.0

make_data = functools.lru_cache(maxsize=1)(Data.make)


@asynccontextmanager
async def connect_product(addresses: list[str]) -> AsyncIterator[Store]:
    """The product's own client."""
    # Imported here: the generator of the bare stack is to carry the bare stack only.
    from cluster.client import connect  # noqa: PLC0415

    async with connect(*addresses, timeout=CONNECT_TIMEOUT_S) as cache:
        yield cache


async def answer(store: Store, request: dict[str, Any], pids: list[int]) -> dict[str, Any]:
    """Do what a line asks for."""
    data = make_data(*(request[name] for name in ("keys", "value_min", "value_max", "seed")))
    if request["do"] == "fill":
        await fill(store, data)
        return {}
    cell = Cell(Kind(request["kind"]), request["in_flight"], request["batch"])
    sample = await measure(store, data, cell, request["warm_s"], request["seconds"], pids)
    return attrs.asdict(sample)


async def lines_of_stdin() -> AsyncIterator[str]:
    """Lines of standard input, without blocking the loop that the connections live in."""
    rest = b""
    async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stream:
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode()


def say(result: dict[str, Any]) -> None:
    """One line for the parent."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


async def run(options: argparse.Namespace) -> None:
    """Connect, then answer lines; a failure is an answer too."""
    store: AbstractAsyncContextManager[Store] = (
        connect_bare(options.target) if options.bare else connect_product(options.target)
    )
    async with store as connected:
        say({"ready": True})
        async for line in lines_of_stdin():
            say(await answer(connected, json.loads(line), options.pid))


def main() -> None:
    """Entry point of a generator process."""
    parser = argparse.ArgumentParser(prog="python -m cluster.bench.load")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("--pid", action="append", type=int, default=[])
    options = parser.parse_args()
    try:
        trio.run(run, options)
    except* (ClusterError, OSError) as failures:
        say({"error": describe(failures)})


def describe(failure: BaseException) -> str:
    """The first failure of a group, in a line."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return f"{type(failure).__name__}: {failure}"


if __name__ == "__main__":
    main()
