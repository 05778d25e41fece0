"""What the trace of a node's actors leaves for people: a file while it runs, lines at a crash.

The trace itself, the format of its files and the program that reads them belong to `actors`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from actors import CrashReport
from actors.tracing import TraceLog, TraceWriter, line_of
from cluster.errors import NodeFailed

__all__ = ["last_lines", "recording"]

LAST_LINES_MAX: Final = 20
"""Lines of the flight recorder that go into the log with a crash."""


@asynccontextmanager
async def recording(
    path: str | None, trace: TraceLog, sample: float, *, threads: bool
) -> AsyncIterator[None]:
    """Write the trace to a file while the block runs, the ordered stop of its actors included.

    Args:
        path: the file, made or overwritten; None: nothing is written.
        trace: of the actors that run in the block.
        sample: share of the chains to write, 0 to 1.
        threads: write in a thread, so that a slow disk stalls nobody; not under virtual time.

    Raises:
        NodeFailed: the file cannot be made.
    """
    if path is None:
        yield
        return
    writer = TraceWriter(path, trace, sample=sample, threads=threads)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        # A cancel from outside leads to an ordered stop, which is still to be written.
        scope = trio.CancelScope(shield=True)
        try:
            await nursery.start(_write, writer, scope)
            yield
        except Exception as error:  # noqa: BLE001 - raised below, where no nursery wraps it
            failure = error
        finally:
            scope.cancel("its actors have ended")
    if failure is not None:
        raise failure


async def _write(
    writer: TraceWriter, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    with scope:
        try:
            await writer.run(task_status=task_status)
        except OSError as error:
            raise NodeFailed(f"--trace: cannot write {writer.path}: {error.strerror}") from None


def last_lines(report: CrashReport, trace: TraceLog) -> str:
    """The last records of an actor that crashed, one a line, oldest first."""
    return "\n".join(line_of(record, trace) for record in report.records[-LAST_LINES_MAX:])
