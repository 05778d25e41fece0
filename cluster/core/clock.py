"""The hybrid logical clock that stamps every write.

Kulkarni et al., "Logical Physical Clocks and Consistent Snapshots in Globally Distributed
Databases" (2014), section 3. A reading is one integer, `milliseconds << 16 | counter`: it follows
the wall clock while that moves on, and counts where it does not (same millisecond, set back, behind
a reading seen from another node). Whatever is stamped after an observed stamp is therefore above
it, and a reading is never further from real time than the worst wall clock that was believed.

With both parts in one integer the paper's case distinction becomes `max(wall << 16, last + 1)`:
a full counter carries into the milliseconds by itself.

The clock does not read the wall clock; callers hand it in. It knows nothing of boots, except that
`stamp` packs one behind a reading to make stamps of different nodes distinct.
"""

import struct
from typing import Final

import attrs

from cluster.core.values import COUNTER_BITS, BootId, Stamp

OFFSET_MAX_MS_DEFAULT: Final = 500
"""How far, in milliseconds, a remote clock may be ahead of the own wall clock."""

STAMP_BYTES: Final = 16

_STAMP: Final = struct.Struct(">QQ")


@attrs.frozen
class ClockSkewed:
    """Refusal of a reading from a clock too far ahead. Whoever sent it must not be believed.

    Attributes:
        remote_ms: wall clock part of the refused reading, milliseconds since the epoch.
        wall_ms: own wall clock at that time.
        offset_max_ms: how far ahead would have been accepted.
    """

    remote_ms: int
    wall_ms: int
    offset_max_ms: int

    @property
    def ahead_ms(self) -> int:
        """How far the remote clock is ahead of the own one."""
        return self.remote_ms - self.wall_ms


class HybridClock:
    """Strictly monotone readings near the wall clock, above everything observed."""

    __slots__ = ("_last", "offset_max_ms", "refused")

    def __init__(self, offset_max_ms: int = OFFSET_MAX_MS_DEFAULT) -> None:
        assert offset_max_ms >= 0
        self._last = 0
        self.offset_max_ms: Final = offset_max_ms
        self.refused = 0
        """Readings refused as skewed since the start."""

    @property
    def last(self) -> int:
        """The highest reading given out or observed; 0 at first."""
        return self._last

    def tick(self, wall_ms: int) -> int:
        """Returns the next reading, above all before it and all observed."""
        reading = wall_ms << COUNTER_BITS
        if reading <= self._last:
            reading = self._last + 1
        self._last = reading
        return reading

    def observe(self, hlc: int, wall_ms: int) -> ClockSkewed | None:
        """Takes note of a reading from elsewhere, so that later ticks are above it.

        A reading that the own clock has already reached is accepted without a look at the wall
        clock: it moves nothing, and after the own wall clock was set back it would be refused for
        no fault of its sender.

        Returns:
            None if accepted. The refusal if the reading is more than `offset_max_ms` ahead of
            `wall_ms`: it is counted, and the own clock stays as it is.
        """
        if hlc <= self._last:
            return None
        remote_ms = hlc >> COUNTER_BITS
        if remote_ms - wall_ms > self.offset_max_ms:
            self.refused += 1
            return ClockSkewed(remote_ms, wall_ms, self.offset_max_ms)
        self._last = hlc
        return None

    def observe_client(self, hlc: int, wall_ms: int) -> None:
        """Takes note of what a client has seen: `observe`, but at most half as far ahead.

        What a client has seen it has from a node, so causality holds through clients between nodes
        whose clocks are that close. A client that lies must not push this clock to where peers,
        whose own may be the other half behind, refuse what it stamps. Further ahead is ignored.
        """
        if (hlc >> COUNTER_BITS) - wall_ms > self.offset_max_ms // 2:
            self.refused += 1
        else:
            self.observe(hlc, wall_ms)


def stamp(hlc: int, boot: BootId) -> Stamp:
    """Packs a reading and the boot that made it; stamps order as bytes like (reading, boot)."""
    return _STAMP.pack(hlc, boot)


def hlc_of(stamp: Stamp) -> int:
    """The clock reading of a stamp, or of a record, which begins with its stamp."""
    return int.from_bytes(stamp[:8], "big")


def boot_of(stamp: Stamp) -> BootId:
    """The boot id of a stamp, or of a record, which begins with its stamp."""
    return int.from_bytes(stamp[8:16], "big")
