"""Exit codes of the `hypercache` command, and which error ends with which."""

from typing import Final

from cluster.errors import (
    BatchError,
    ClusterError,
    ConfigError,
    InvalidKey,
    InvalidValue,
    ValueTooLarge,
)

__all__ = ["DONE", "INTERRUPTED", "NOT_FOUND", "UNAVAILABLE", "USAGE", "exit_code"]

DONE: Final = 0
NOT_FOUND: Final = 1
"""What was asked for is not there; for `doctor`: something is wrong."""
USAGE: Final = 2
UNAVAILABLE: Final = 3
"""The cluster did not do it, or not in time."""
INTERRUPTED: Final = 130
"""Ended by Ctrl-C, as shells count it."""


def exit_code(error: ClusterError) -> int:
    """2 for what the caller wrote, 3 for what the cluster could not do."""
    if isinstance(error, BatchError):
        return max(exit_code(each) for each in error.errors.values())
    if isinstance(error, ConfigError | InvalidKey | InvalidValue | ValueTooLarge):
        return USAGE
    return UNAVAILABLE
