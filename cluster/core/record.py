"""Records: one `bytes` object per key, the same in memory and on the wire.

    hlc (8, big-endian) | boot id (8) | flags (1) | [expiry, wall ms (8), only if EXPIRES] | value

The first 16 bytes are the stamp. The flags are, from the top: TOMBSTONE, EXPIRES, LINEARIZABLE, two
bits that must be zero, and three bits of encoding. A tombstone is 17 bytes long: no encoding, no
expiry, no value. An expired record may drop its value and becomes GONE (25 bytes): it keeps stamp
and expiry, and with them its version.

**Why merge is max.** Two replicas keep the record of the higher stamp; at equal stamps a tombstone
over a value, an expiring record over one that is not, the one with the higher (linearizable,
encoding), the later expiry, the greater value. Bytes compare at the first position where they
differ, and the fields stand in just this order: the stamp is fixed in width and big-endian; the
flags are one byte whose bits are in order of rank; if the flags are equal then both records have
an expiry or neither has, so expiry meets expiry and value meets value. Hence the order of records
*is* the order of `bytes`, which is total, and `max` of a total order is commutative, associative
and idempotent: a semilattice, in which replicas that have seen the same records in any order, any
number of times, hold the same.

Dropping a value goes against this order on purpose: GONE ranks below every encoding, so that a
touch that reaches a replica after it let the value go brings value and later expiry back.

This module does not read clocks and does not look into values; the SDK encodes and decodes them.
"""

import operator
from collections.abc import Sequence
from typing import Final

from cluster.core.clock import STAMP_BYTES
from cluster.core.values import WALL_MS_MAX, CoreError, Stamp

TOMBSTONE: Final = 0x80
EXPIRES: Final = 0x40
LINEARIZABLE: Final = 0x20
_RESERVED: Final = 0x18
ENCODING_MASK: Final = 0x07

GONE: Final = 0
BYTES: Final = 1
STR: Final = 2
MSGPACK: Final = 3
CUSTOM: Final = 4

FLAGS_AT: Final = STAMP_BYTES
HEADER_BYTES: Final = STAMP_BYTES + 1
EXPIRY_BYTES: Final = 8
_EXPIRY_END: Final = HEADER_BYTES + EXPIRY_BYTES
_VERSION_FLAGS: Final = TOMBSTONE | EXPIRES

_BYTE: Final = tuple(bytes((flags,)) for flags in range(256))
_NO_STAMP: Final = bytes(STAMP_BYTES)
_NO_STAMP_END: Final = _NO_STAMP + b"\xff"
"""Above every record without a stamp that `check` would look at: their flags are below 0xff."""
_PLAIN: Final = frozenset((BYTES, STR, MSGPACK, CUSTOM))
_ONLY_BYTES: Final = {bytes}
_FLAGS_OF: Final = operator.itemgetter(FLAGS_AT)


class InvalidBodyError(CoreError):
    """Raised for a body from a client that cannot become a record."""


class InvalidRecordError(CoreError):
    """Raised for a record from another node that breaks the format or exceeds a limit."""


def make(stamp: Stamp, body: bytes, expiry_ms: int = 0) -> bytes:
    """Makes a record of a stamp and a checked client body (`encoding byte | value`).

    Args:
        stamp: 16 bytes.
        body: as accepted by `check_body`.
        expiry_ms: absolute wall clock time of expiry, or 0 for never.
    """
    if not expiry_ms:
        return stamp + body
    flags = _BYTE[body[0] | EXPIRES]
    return stamp + flags + expiry_ms.to_bytes(EXPIRY_BYTES, "big") + body[1:]


def tombstone(stamp: Stamp) -> bytes:
    """Makes the record that says: deleted at this stamp."""
    return stamp + _BYTE[TOMBSTONE]


def stamp_of(record: bytes) -> Stamp:
    """The 16 bytes that version the record."""
    return record[:STAMP_BYTES]


def flags_of(record: bytes) -> int:
    """The flags byte: TOMBSTONE, EXPIRES, LINEARIZABLE and the encoding."""
    return record[FLAGS_AT]


def expiry_of(record: bytes) -> int:
    """Absolute wall clock milliseconds at which the record expires; 0 for never."""
    if record[FLAGS_AT] & EXPIRES:
        return int.from_bytes(record[HEADER_BYTES:_EXPIRY_END], "big")
    return 0


def value_of(record: bytes) -> bytes:
    """The encoded value; empty for tombstones and records that are gone."""
    return record[_EXPIRY_END if record[FLAGS_AT] & EXPIRES else HEADER_BYTES :]


def body_of(record: bytes) -> bytes:
    """`encoding byte | value`, as a client sends and receives it."""
    flags = record[FLAGS_AT]
    if flags & EXPIRES:
        return _BYTE[flags & ENCODING_MASK] + record[_EXPIRY_END:]
    if flags > ENCODING_MASK:
        return _BYTE[flags & ENCODING_MASK] + record[HEADER_BYTES:]
    return record[FLAGS_AT:]


def is_tombstone(record: bytes) -> bool:
    """Whether the record says: deleted."""
    return record[FLAGS_AT] >= TOMBSTONE


def is_expired(record: bytes, wall_ms: int) -> bool:
    """Whether the record's expiry has come; its last millisecond is the one before the expiry."""
    if record[FLAGS_AT] & EXPIRES:
        return int.from_bytes(record[HEADER_BYTES:_EXPIRY_END], "big") <= wall_ms
    return False


def is_visible(record: bytes, wall_ms: int) -> bool:
    """Whether a reader at this time gets a value: not deleted, not gone, not expired."""
    flags = record[FLAGS_AT]
    if not flags & ENCODING_MASK:
        return False
    if flags & EXPIRES:
        return int.from_bytes(record[HEADER_BYTES:_EXPIRY_END], "big") > wall_ms
    return True


def gone(record: bytes) -> bytes:
    """The expiring record without its value: same stamp, same expiry, nothing to read."""
    flags = record[FLAGS_AT]
    assert flags & EXPIRES, "only a record that expires can be gone"
    return stamp_of(record) + _BYTE[flags & ~ENCODING_MASK] + record[HEADER_BYTES:_EXPIRY_END]


def with_expiry(record: bytes, expiry_ms: int) -> bytes:
    """The touched record: same stamp, expiry not before `expiry_ms`.

    As the stamp stays, a newer write that happens at the same time always wins over a touch. A
    touch never shortens: an expiry that is already later stays. A record that never expired gets
    the expiry, which is how a time to live is put on a value.

    The record must hold a value: what is deleted or gone cannot be touched back to life.
    """
    flags = record[FLAGS_AT]
    assert flags & ENCODING_MASK, "only a record with a value can be touched"
    assert 0 < expiry_ms <= WALL_MS_MAX
    if expiry_of(record) >= expiry_ms:
        return record
    expiry = expiry_ms.to_bytes(EXPIRY_BYTES, "big")
    return stamp_of(record) + _BYTE[flags | EXPIRES] + expiry + value_of(record)


def version(record: bytes) -> bytes:
    """What two replicas compare: stamp, whether deleted, expiry. At most 25 bytes.

    It leaves out value and encoding, so that a replica that has let an expired value go agrees with
    one that still has it. Versions order like the records they stand for, apart from what is left
    out; an ordinary record's version is just its stamp.
    """
    flags = record[FLAGS_AT]
    if flags < EXPIRES:
        return record[:STAMP_BYTES]
    return record[:STAMP_BYTES] + _BYTE[flags & _VERSION_FLAGS] + record[HEADER_BYTES:_EXPIRY_END]


def merge(a: bytes, b: bytes) -> bytes:
    """The record that a replica keeps of two; see the module's proof."""
    return max(a, b)


def check_body(body: bytes, value_bytes_max: int) -> bytes:
    """Returns a client's `encoding byte | value` if it may become a record.

    The value's content is not looked at.

    Raises:
        InvalidBodyError: not bytes, no encoding byte, one that is unknown, or too long a value.
    """
    if type(body) is not bytes or not body:
        raise InvalidBodyError("a body is bytes: one of encoding, then the value")
    if not BYTES <= body[0] <= CUSTOM:
        raise InvalidBodyError(f"unknown encoding {body[0]:#04x} of a value")
    if len(body) > value_bytes_max + 1:
        raise InvalidBodyError(f"a value of {len(body) - 1} bytes: the limit is {value_bytes_max}")
    return body


def check_many(records: Sequence[bytes], value_bytes_max: int) -> None:
    """Checks records that came from another node, quickly if they are ordinary ones.

    Records that are values without expiry differ only in length and encoding: whether all of them
    are such, and well formed, is seen without looking at each in Python.

    Raises:
        InvalidRecordError: one is not well formed or beyond the limit.
    """
    if not records:
        return
    if set(map(type, records)) == _ONLY_BYTES and min(map(len, records)) >= HEADER_BYTES:
        flags = set(map(_FLAGS_OF, records))
        longest = max(map(len, records)) - HEADER_BYTES
        if flags <= _PLAIN and longest <= value_bytes_max and min(records) > _NO_STAMP_END:
            return
    for record in records:
        check(record, value_bytes_max)


def check(record: bytes, value_bytes_max: int) -> bytes:
    """Returns a record that came from another node if it is well formed and within the limit.

    Raises:
        InvalidRecordError: it is not; the message says what is wrong.
    """
    if type(record) is not bytes or len(record) < HEADER_BYTES:
        raise InvalidRecordError(f"a record is at least {HEADER_BYTES} bytes")
    flags = record[FLAGS_AT]
    if record[:STAMP_BYTES] == _NO_STAMP:
        raise InvalidRecordError("a record without a stamp")
    if flags & _RESERVED or flags & ENCODING_MASK > CUSTOM:
        raise InvalidRecordError(f"unknown flags {flags:#04x} of a record")
    if flags & TOMBSTONE:
        if flags & (EXPIRES | ENCODING_MASK) or len(record) > HEADER_BYTES:
            raise InvalidRecordError("a tombstone carries neither expiry nor value")
        return record
    start = HEADER_BYTES
    if flags & EXPIRES:
        start = _EXPIRY_END
        if len(record) < start or not 0 < expiry_of(record) <= WALL_MS_MAX:
            raise InvalidRecordError("an expiring record without a sane expiry")
    if not flags & ENCODING_MASK and (not flags & EXPIRES or len(record) > start):
        raise InvalidRecordError("a record without encoding is an expired one without value")
    if len(record) - start > value_bytes_max:
        size = len(record) - start
        raise InvalidRecordError(f"a value of {size} bytes: the limit is {value_bytes_max}")
    return record
