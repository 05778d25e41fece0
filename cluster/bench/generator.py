"""The parent's side of a load process: it asks, one line of JSON each way."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from cluster.bench.measure import Sample
from cluster.bench.workload import Cell
from cluster.errors import ClusterError, Unavailable

__all__ = ["DataShape", "Generator", "LoadError", "open_generator"]

STOP_GRACE_S = 5.0
RECEIVE_BYTES = 256 * 1024


class LoadError(ClusterError):
    """The load process ended, or an operation failed while it was measured."""


@attrs.frozen
class DataShape:
    """What is written: `keys` keys of 16 bytes, values of random bytes.

    The same shape and seed give the same keys and values in every process.
    """

    keys: int
    value_min: int
    value_max: int
    seed: int = 1


class Generator:
    """A load process that is connected to its cluster."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._buffer = bytearray()

    async def fill(self, shape: DataShape) -> None:
        """Write every key once.

        Raises:
            LoadError: an operation failed.
        """
        await self._ask({"do": "fill", **attrs.asdict(shape)})

    async def measure(self, cell: Cell, shape: DataShape, warm_s: float, seconds: float) -> Sample:
        """Run a cell once.

        Raises:
            LoadError: an operation failed.
        """
        what = {"kind": cell.kind.value, "in_flight": cell.in_flight, "batch": cell.batch}
        how_long = {"warm_s": warm_s, "seconds": seconds}
        return Sample(
            **await self._ask({"do": "measure", **attrs.asdict(shape), **what, **how_long})
        )

    async def connected(self) -> None:
        """Wait until the load process says that it reached its cluster.

        Raises:
            Unavailable: no node answered.
        """
        answer = await self._read_line()
        if "error" in answer:
            raise Unavailable(answer["error"])

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            await self._stdin.send_all(json.dumps(request).encode() + b"\n")
        except trio.BrokenResourceError as error:
            raise LoadError("the load process ended") from error
        answer = await self._read_line()
        if "error" in answer:
            raise LoadError(f"the load failed with {answer['error']}")
        return answer

    async def _read_line(self) -> dict[str, Any]:
        while (end := self._buffer.find(b"\n")) < 0:
            chunk = await self._stdout.receive_some(RECEIVE_BYTES)
            if not chunk:
                raise LoadError("the load process ended; its error is above")
            self._buffer += chunk
        answer: dict[str, Any] = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        return answer


@asynccontextmanager
async def open_generator(
    targets: Sequence[str], pids: Sequence[int], *, bare: bool
) -> AsyncIterator[Generator]:
    """A load process for a cluster, ended with the block.

    Args:
        targets: addresses of nodes.
        pids: the node processes, where they are on this machine.
        bare: whether the nodes are those of the bare stack.

    Raises:
        Unavailable: no node answered.
    """
    options = [part for target in targets for part in ("--target", target)]
    options += [part for pid in pids for part in ("--pid", str(pid))]
    options += ["--bare"] if bare else []
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "cluster.bench.load", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        generator = Generator(process)
        await generator.connected()
        yield generator
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _end(process: trio.Process) -> None:
    """It ends with its input; one that does not is killed."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    await process.stdout.aclose()
    with trio.move_on_after(STOP_GRACE_S):
        await process.wait()
    process.kill()
    await process.wait()
