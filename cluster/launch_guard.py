"""Ends the processes of a launcher that died without ending them itself (SIGKILL, a lost terminal).

It reads `+PID` and `-PID` lines on standard input from its launcher; at the end of the input it
kills every process that is still listed, and ends. Where the system has process file descriptors, a
pid that was reused is not hit. It runs as a script (`python -I launch_guard.py`), imports the
standard library only, and is no part of the cluster.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterable

__all__ = ["guard"]


def guard(lines: Iterable[str]) -> None:
    """Follow the lines to their end, then kill what is left."""
    watched: dict[int, int | None] = {}
    for line in lines:
        pid = int(line[1:])
        if line[0] == "+":
            with contextlib.suppress(ProcessLookupError):
                watched[pid] = _descriptor(pid)
        else:
            descriptor = watched.pop(pid, None)
            if descriptor is not None:
                os.close(descriptor)
    for pid, descriptor in watched.items():
        with contextlib.suppress(ProcessLookupError):
            _kill(pid, descriptor)


def _descriptor(pid: int) -> int | None:
    return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None


def _kill(pid: int, descriptor: int | None) -> None:
    if descriptor is not None:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    guard(sys.stdin)
