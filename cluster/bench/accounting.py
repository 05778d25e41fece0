"""CPU time and resident memory of other processes, as the operating system accounts for them.

CPU time comes from the kernel's clock of a process (nanoseconds, all threads, ended ones too),
which `/proc/PID/stat` would round to 10 ms. Both readings need Linux.
"""

import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from cluster.errors import ClusterError

__all__ = ["AccountingError", "cpu_seconds", "own_cpu_seconds", "resident_bytes"]

_PROCESS_CLOCK = 2
"""CPUCLOCK_SCHED of the kernel: `clock_getcpuclockid(3)` builds the id of a process's clock from
it."""


class AccountingError(ClusterError):
    """The system has no such process, or no such accounting."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system CPU time of all those processes together, in seconds.

    Raises:
        AccountingError: a process is gone, or this is not Linux.
    """
    return sum(map(_cpu_seconds, pids))


def own_cpu_seconds() -> float:
    """User and system CPU time of this process, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes(pid: int) -> int:
    """Resident memory of a process in bytes.

    Raises:
        AccountingError: the process is gone, or this is not Linux.
    """
    _require_linux()
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError as error:
        raise AccountingError(f"no memory accounting for process {pid}: {error}") from error
    return pages * resource.getpagesize()


def _cpu_seconds(pid: int) -> float:
    _require_linux()
    try:
        return time.clock_gettime((~pid << 3) | _PROCESS_CLOCK)
    except OSError as error:
        raise AccountingError(f"no CPU accounting for process {pid}: {error}") from error


def _require_linux() -> None:
    if sys.platform != "linux":
        raise AccountingError("CPU and memory of node processes can be measured on Linux only")
