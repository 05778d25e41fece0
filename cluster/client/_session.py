"""What a session has seen: the highest clock, and the newest stamp of each of its last keys.

The clock goes along in every frame, so that whichever node coordinates stamps above what the
session has seen (causality). The stamps matter at level ONE only, where a replica may answer
something older than this session has already written or read: such an answer is not shown to the
caller ("read your writes" and "monotonic reads": Terry et al., "Session Guarantees for Weakly
Consistent Replicated Data", PDIS 1994).

A mark is the stamp of a record, followed by its flags and expiry if it is a tombstone or expires:
such a record may disappear from the replicas in the end, and then "absent" is no older than it.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Final

from cluster.core import record as rec
from cluster.core.clock import STAMP_BYTES
from cluster.core.values import COUNTER_BITS

__all__ = ["KEYS_REMEMBERED", "Session"]

KEYS_REMEMBERED: Final = 10_000
"""Keys whose newest stamp a session knows at least; it never holds more than twice as many."""

_NOTHING: Final = b""
_TOMBSTONE: Final = bytes((rec.TOMBSTONE,))
_EXPIRES: Final = bytes((rec.EXPIRES,))
_MAY_VANISH: Final = rec.TOMBSTONE | rec.EXPIRES


class Session:
    """The highest clock and the newest stamps seen.

    Marks live in two generations: new ones go to the young, and once it is full it becomes the old
    one. That bounds them at the price of one dict store per key, where strict order of use would
    double it.
    """

    __slots__ = ("_limit", "_newest", "_old", "_young", "clock")

    def __init__(self, keys_remembered: int = KEYS_REMEMBERED) -> None:
        self.clock = 0
        """Hybrid clock reading: milliseconds << 16 | counter."""
        self._limit = keys_remembered
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}
        self._newest = _NOTHING

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def observe(self, clock: int) -> None:
        """Take note of the clock of a frame."""
        self.clock = max(self.clock, clock)

    def wrote(self, keys: Sequence[bytes], stamp: bytes, ttl_ms: int, *, deleted: bool) -> None:
        """These keys were written with this stamp."""
        mark = stamp
        if deleted:
            mark = stamp + _TOMBSTONE
        elif ttl_ms:
            # A stamp is never below its node's wall clock: this is not before the real expiry.
            expiry_ms = (int.from_bytes(stamp[:8], "big") >> COUNTER_BITS) + ttl_ms
            mark = stamp + _EXPIRES + expiry_ms.to_bytes(rec.EXPIRY_BYTES, "big")
        if mark >= self._newest:
            self._newest = mark  # below no mark there is, so nothing can be lowered
            if len(keys) == 1:
                self._young[keys[0]] = mark
            else:
                self._young.update(zip(keys, repeat(mark)))
        else:
            for key in keys:
                self._raise(key, mark)
        if len(self._young) >= self._limit:
            self._age()

    def read(self, keys: Sequence[bytes], records: Sequence[bytes | None]) -> None:
        """These records were shown to the caller."""
        young, old, newest = self._young, self._old, self._newest
        for key, record in zip(keys, records, strict=True):
            if record is None:
                continue
            mark = record[:STAMP_BYTES]
            if record[rec.FLAGS_AT] & _MAY_VANISH:
                mark = _mark_of(record)
            known = young.get(key) or old.get(key, _NOTHING)
            if mark >= known:
                young[key] = mark
                if mark > newest:
                    self._newest = newest = mark
        if len(young) >= self._limit:
            self._age()

    def touched(self, keys: Sequence[bytes], stamps: Sequence[bytes], ttl_ms: int) -> None:
        """These keys, as far as they were there, live on for a while."""
        expiry_ms = (self.clock >> COUNTER_BITS) + ttl_ms
        suffix = _EXPIRES + expiry_ms.to_bytes(rec.EXPIRY_BYTES, "big")
        for key, stamp in zip(keys, stamps, strict=True):
            if stamp:
                self._raise(key, stamp + suffix)
        if len(self._young) >= self._limit:
            self._age()

    def is_stale(self, key: bytes, record: bytes | None) -> bool:
        """Whether a replica's answer is older than what this session has seen of the key."""
        mark = self._young.get(key) or self._old.get(key)
        if mark is None:
            return False
        if record is not None:
            return record[:STAMP_BYTES] < mark[:STAMP_BYTES]
        return not self._may_be_gone(mark)

    def _may_be_gone(self, mark: bytes) -> bool:
        if len(mark) == STAMP_BYTES:
            return False
        if rec.is_tombstone(mark):
            return True
        return rec.is_expired(mark, self.clock >> COUNTER_BITS)

    def _raise(self, key: bytes, mark: bytes) -> None:
        known = self._young.get(key) or self._old.get(key, _NOTHING)
        if mark >= known:
            self._young[key] = mark
            self._newest = max(self._newest, mark)

    def _age(self) -> None:
        self._old, self._young = self._young, {}


def _mark_of(record: bytes) -> bytes:
    flags = record[rec.FLAGS_AT]
    if flags & rec.EXPIRES:
        return record[:STAMP_BYTES] + _EXPIRES + record[rec.HEADER_BYTES : _EXPIRY_END]
    return record[: rec.HEADER_BYTES] if flags & rec.TOMBSTONE else record[:STAMP_BYTES]


_EXPIRY_END: Final = rec.HEADER_BYTES + rec.EXPIRY_BYTES
