"""What the client hands to its callers: stamps and entries.

A `Stamp` is the 16 bytes that version a record, with a text form that can be printed, compared,
stored and read back. An `Entry` is one answer to a read with everything the cluster said about it.

What a value means is decided in `values`; nothing here talks to a node.
"""

from typing import Any, Final, Self

import attrs

from cluster.core.clock import STAMP_BYTES
from cluster.core.values import COUNTER_BITS, Level
from cluster.errors import InvalidValue

__all__ = ["Consistency", "Entry", "Stamp"]

Consistency = Level
"""How many owners of a key must answer: ONE, QUORUM (a majority) or ALL. Set per request or for a
whole cache.
"""

_HALF: Final = STAMP_BYTES // 2
_HALF_DIGITS: Final = 2 * _HALF
_TEXT_CHARS: Final = 2 * _HALF_DIGITS + 1


class Stamp(bytes):
    """The version of a record: 16 bytes, ordered as bytes, which is the order in which writes win.

    As text it is `<clock>-<boot>`, 16 hexadecimal digits each. Texts order as the stamps do.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form back.

        Raises:
            InvalidValue: the text is no stamp.
        """
        clock, dash, boot = text.partition("-")
        if len(text) != _TEXT_CHARS or len(clock) != _HALF_DIGITS or not dash:
            raise InvalidValue(
                f"a stamp looks like 0193a5b2f1c00000-0193a5b2f1c0d4e5, not {text!r}"
            )
        try:
            stamp = cls(bytes.fromhex(clock) + bytes.fromhex(boot))
        except ValueError:
            raise InvalidValue(f"a stamp is hexadecimal, unlike {text!r}") from None
        if len(stamp) != STAMP_BYTES:  # fromhex skips blanks
            raise InvalidValue(f"a stamp is hexadecimal, unlike {text!r}")
        return stamp

    @property
    def wall_ms(self) -> int:
        """Milliseconds since the epoch on the clock of the node that stamped it."""
        return int.from_bytes(self[:_HALF], "big") >> COUNTER_BITS

    @property
    def counter(self) -> int:
        """Position among the stamps of the same millisecond and boot."""
        return int.from_bytes(self[:_HALF], "big") & ((1 << COUNTER_BITS) - 1)

    @property
    def boot(self) -> int:
        """The boot id of the node that stamped it."""
        return int.from_bytes(self[_HALF:], "big")

    def __str__(self) -> str:
        return f"{self[:_HALF].hex()}-{self[_HALF:].hex()}"

    def __repr__(self) -> str:
        return f"Stamp.parse({str(self)!r})"


@attrs.frozen
class Entry:
    """One key as the cluster answered it.

    Attributes:
        value: the decoded value.
        stamp: the version of the record.
        expires_at: seconds since the epoch at which it expires; None: never.
        level: the level at which it was read.
        asked: how many owners the coordinating node asked.
        answered: how many of them had answered when it replied.
        epoch: the epoch of the ring by which the coordinating node decided.
    """

    value: Any
    stamp: Stamp
    expires_at: float | None
    level: Consistency
    asked: int
    answered: int
    epoch: int
