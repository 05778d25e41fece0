"""Callbacks of the host: loggers and counters that the runtime calls and does not depend on.

A hook that raises is a bug in the hook. It is reported once through the standard logging, with its
traceback, and not called again, as trio does with its instruments: neither the actor that happened
to run nor an ordered stop may fail because a log line could not be written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from actors._trace import TraceRecord

T = TypeVar("T")

_LOG = logging.getLogger("actors")


class Hook(Generic[T]):
    """A list of callbacks."""

    __slots__ = ("_callbacks", "_name")

    def __init__(self, name: str, *callbacks: Callable[[T], None] | None) -> None:
        self._name = name
        self._callbacks = [callback for callback in callbacks if callback is not None]

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def add(self, callback: Callable[[T], None]) -> Callable[[], None]:
        """Call it from now on; returns a function that ends this."""
        self._callbacks.append(callback)

        def remove() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return remove

    def __call__(self, value: T) -> None:
        for callback in tuple(self._callbacks):
            try:
                callback(value)
            except Exception:  # noqa: BLE001  # see above: it is reported, with its traceback
                self._callbacks.remove(callback)
                _LOG.exception("the hook %s raised and is not called again", self._name)


@attrs.frozen
class CrashReport:
    """What is known when an actor crashes, before its supervisor decides what follows."""

    path: str
    incarnation: int
    error: BaseException
    message_type: str
    """The type of the message in hand; empty if there was none."""
    chain: int
    records: tuple[TraceRecord, ...]
    """The last trace records of this actor, oldest first."""


@attrs.frozen
class SlowHandler:
    """A handler held its actor, and if it never waited the whole thread, for long."""

    path: str
    type: str
    took_s: float
