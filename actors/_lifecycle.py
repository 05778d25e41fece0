"""The life of a cell as a table.

    new -> starting -> running -> stopping -> waiting -> ended
               ^                                 |
               +------------ restart ------------+

`waiting` is the time between two incarnations: the cell keeps its mail and has no behaviour. A
suspended actor is still `running`; it merely takes no mail.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from actors._errors import InvalidTransition


class State(enum.Enum):
    """Where a cell is in its life."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    WAITING = "waiting"
    ENDED = "ended"


class Step(enum.Enum):
    """What can happen to a cell."""

    LAUNCH = "launch"
    """An incarnation begins."""
    READY = "ready"
    """Its `started` has returned."""
    STOP = "stop"
    """It was told to stop, or stops itself."""
    EXIT = "exit"
    """The incarnation is over."""
    END = "end"
    """There will be no other."""


_S, _E = State, Step
TRANSITIONS: Final[Mapping[tuple[State, Step], State]] = MappingProxyType({
    (_S.NEW, _E.LAUNCH): _S.STARTING,
    (_S.NEW, _E.END): _S.ENDED,
    (_S.STARTING, _E.READY): _S.RUNNING,
    (_S.STARTING, _E.STOP): _S.STOPPING,
    (_S.STARTING, _E.EXIT): _S.WAITING,
    (_S.RUNNING, _E.STOP): _S.STOPPING,
    (_S.RUNNING, _E.EXIT): _S.WAITING,
    (_S.STOPPING, _E.READY): _S.STOPPING,
    (_S.STOPPING, _E.STOP): _S.STOPPING,
    (_S.STOPPING, _E.EXIT): _S.WAITING,
    (_S.WAITING, _E.LAUNCH): _S.STARTING,
    (_S.WAITING, _E.END): _S.ENDED,
})  # fmt: skip


def advance(state: State, step: Step) -> State:
    """The state after a step.

    Raises:
        InvalidTransition: If the table has no such line.
    """
    after = TRANSITIONS.get((state, step))
    if after is None:
        raise InvalidTransition(f"a cell that is {state.value} cannot take the step {step.value}")
    return after
