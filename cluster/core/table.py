"""The record table: what a replica holds, key to record, in one dict per partition.

Records are bytes objects (`record`), so a dict of them costs about 266 bytes per record of 16-byte
key and 100-byte value, holds nothing the garbage collector could follow, and merging is one
comparison. Many small dicts instead of one large: growing one moves about a thousand entries, not
a million. (Up to Python 3.13 such dicts are not even tracked; from 3.14 on all dicts are, and a
process that holds a large table calls `gc.freeze` once the empty table is built.)

**Expiry** needs no index. Readers see by `record.is_visible` that a record is over; the table only
has to let go of values, and does so by sweeping: a sweep looks at all records of one partition,
replaces what has expired by `record.gone` and learns the partition's next expiry, before which it
is not due again. Partitions are random samples of the keys, so, as in the active expire cycle of
Redis, one that held much that was over tells that the next will too and is worth going on; one
that held little is followed by a rest. So values that are over make up about one in
`_SWEEP_WORTH` of the records at most, and sweeps in vain cost about 0.1 % of a core. An index by
time was the alternative: some 60 bytes for every expiring record, more work for every write of
one, and containers that grow to millions of keys where keys share their time to live.

The table reads no clock, and it judges no record: what comes from outside was checked before
(`values.check_key`, `record.check`). It does not know owners, quorums or digests.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from cluster.core.clock import STAMP_BYTES
from cluster.core.record import (
    ENCODING_MASK,
    EXPIRES,
    EXPIRY_BYTES,
    FLAGS_AT,
    HEADER_BYTES,
    TOMBSTONE,
    gone,
)
from cluster.core.values import (
    VIRTUAL_NODES_DEFAULT,
    CoreError,
    Stamp,
    hash_of,
    partition_shift,
)

SCAN_LIMIT_MAX: Final = 10_000
"""Most records of one page of a scan."""

SCAN_LOOKED_MAX: Final = 10_000
"""Records after which a page of a scan ends at the next partition, however few were found."""

_NEVER: Final = b"\xff" * EXPIRY_BYTES
_EXPIRY_END: Final = HEADER_BYTES + EXPIRY_BYTES
_LIVE_EXPIRING: Final = EXPIRES | ENCODING_MASK

_SWEEP_WORTH: Final = 8
"""A sweep was worth its time if one in so many of the records it looked at had expired."""

_SWEEP_WASTED_MAX: Final = 1000
"""Records looked at in vain, in one call, after which sweeping rests."""

_SWEEP_REST_RECORDS_PER_MS: Final = 4
"""The rest is 1 ms for so many records looked at in vain; one costs about 0.3 us out of cache."""

_SWEEP_REST_MS_MAX: Final = 10_000


class InvalidCursorError(CoreError):
    """Raised for a scan cursor that no scan of this table has given out."""


@attrs.frozen
class ScanPage:
    """One page of a scan.

    Attributes:
        records: (key, record) pairs, tombstones and expired records among them.
        cursor: where the next page begins; empty after the last page. Pages may be short or empty
            before the last one.
    """

    records: list[tuple[bytes, bytes]]
    cursor: str


@attrs.frozen
class TableStatistics:
    """What the table holds.

    Attributes:
        records: keys held, with tombstones and records whose value has expired.
        bytes: sum of the lengths of keys and records.
        tombstones: deleted keys.
        expiring: records that have a value and an expiry.
        gone: records that have expired and have let their value go.
    """

    records: int
    bytes: int
    tombstones: int
    expiring: int
    gone: int


class RecordTable:
    """Records by key, merged as they come; counts are exact at all times.

    Invariant: `_sweep_at[p]` is not later than the earliest expiry of a value in partition `p`,
    so nothing that expires is forgotten. It is 8 bytes, as in the record, and compares so.
    """

    __slots__ = (
        "_bytes",
        "_expiring",
        "_gone",
        "_partitions",
        "_rest_until_ms",
        "_shift",
        "_sweep_at",
        "_sweep_next",
        "_tombstones",
    )

    def __init__(self, partitions: int = VIRTUAL_NODES_DEFAULT) -> None:
        self._shift = partition_shift(partitions)
        self._partitions: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        self._sweep_at = [_NEVER] * partitions
        self._rest_until_ms = 0
        self._sweep_next = 0
        self._bytes = 0
        self._tombstones = 0
        self._expiring = 0
        self._gone = 0

    def __len__(self) -> int:
        """Number of keys held, tombstones and gone records among them."""
        return sum(map(len, self._partitions))

    @property
    def expiring(self) -> int:
        """Number of records that have a value and an expiry."""
        return self._expiring

    def get(self, key: bytes) -> bytes | None:
        """The record held for the key, whatever its state; None if there never was one."""
        return self._partitions[hash_of(key) >> self._shift].get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What `get` says for each key, in their order."""
        partitions = self._partitions
        shift = self._shift
        return [
            partitions[hashed >> shift].get(key)
            for key, hashed in zip(keys, map(hash_of, keys), strict=True)
        ]

    def apply(self, key: bytes, record: bytes) -> Stamp | None:
        """Merges one record in.

        Returns:
            None if the table now holds what was written: this record, or a later state of the
            same stamp (touched, or gone). Else the stamp of the newer record that it keeps.
        """
        partition = hash_of(key) >> self._shift
        records = self._partitions[partition]
        held = records.get(key)
        if held is None:
            self._bytes += len(key) + len(record)
            if record[FLAGS_AT] >= EXPIRES:
                self._count_in(partition, record)
        elif record > held:
            self._bytes += len(record) - len(held)
            if record[FLAGS_AT] | held[FLAGS_AT] >= EXPIRES:
                self._count_out(held)
                self._count_in(partition, record)
        else:
            stamp = held[:STAMP_BYTES]
            return None if stamp == record[:STAMP_BYTES] else stamp
        records[key] = record
        return None

    def apply_many(
        self, keys: Sequence[bytes], records: Sequence[bytes]
    ) -> list[tuple[int, Stamp]]:
        """Merges many records in, in their order; the loop of `apply` without its calls.

        Returns:
            For each record that lost, its index and what `apply` returns; empty if none did.
        """
        assert len(keys) == len(records)
        partitions = self._partitions
        shift = self._shift
        refused: list[tuple[int, Stamp]] = []
        added_bytes = 0
        for index, (key, record, hashed) in enumerate(
            zip(keys, records, map(hash_of, keys), strict=True)
        ):
            partition = hashed >> shift
            held_records = partitions[partition]
            held = held_records.get(key)
            if held is None:
                added_bytes += len(key) + len(record)
                if record[FLAGS_AT] >= EXPIRES:
                    self._count_in(partition, record)
            elif record > held:
                added_bytes += len(record) - len(held)
                if record[FLAGS_AT] | held[FLAGS_AT] >= EXPIRES:
                    self._count_out(held)
                    self._count_in(partition, record)
            else:
                stamp = held[:STAMP_BYTES]
                if stamp != record[:STAMP_BYTES]:
                    refused.append((index, stamp))
                continue
            held_records[key] = record
        self._bytes += added_bytes
        return refused

    def partition(self, partition: int) -> Mapping[bytes, bytes]:
        """A live, read-only view of one partition, keys to records in order of first arrival."""
        return MappingProxyType(self._partitions[partition])

    def statistics(self) -> TableStatistics:
        """Exact counts at this moment."""
        return TableStatistics(
            records=len(self),
            bytes=self._bytes,
            tombstones=self._tombstones,
            expiring=self._expiring,
            gone=self._gone,
        )

    def next_sweep_ms(self) -> int | None:
        """Wall clock time from which on `expire` has something to do; None if nothing expires."""
        earliest = min(self._sweep_at)
        if earliest == _NEVER:
            return None
        return max(int.from_bytes(earliest, "big"), self._rest_until_ms)

    def expire(self, wall_ms: int, limit: int) -> int:
        """Lets go of values that have expired, one slice of the work.

        Args:
            wall_ms: wall clock, milliseconds since the epoch.
            limit: records to look at, about 0.5 us each with letting go; the slice ends with the
                partition in which the limit is reached.

        Returns:
            How many records are gone now. `next_sweep_ms` says when to call again.
        """
        if wall_ms < self._rest_until_ms <= wall_ms + _SWEEP_REST_MS_MAX:
            return 0  # a rest that lasts longer was begun before the wall clock was set back
        wall = wall_ms.to_bytes(EXPIRY_BYTES, "big")
        dropped = looked = wasted = 0
        while looked < limit and wasted < _SWEEP_WASTED_MAX:
            partition = self._next_due(wall)
            if partition is None:
                break
            size = len(self._partitions[partition])
            found = self._sweep(partition, wall)
            looked += size
            dropped += found
            if found * _SWEEP_WORTH < size:
                wasted += size
        rest_ms = min(wasted // _SWEEP_REST_RECORDS_PER_MS, _SWEEP_REST_MS_MAX)
        self._rest_until_ms = wall_ms + rest_ms if rest_ms else 0
        return dropped

    def scan(self, cursor: str = "", limit: int = 1000, prefix: bytes = b"") -> ScanPage:
        """Pages through the records, by partition and in order of keys within each.

        A key that is held throughout a scan is returned exactly once, whatever is written
        meanwhile; one that arrives meanwhile may or may not be.

        Args:
            cursor: empty for the first page, then the cursor of the page before.
            limit: most records of the page, 1 to `SCAN_LIMIT_MAX`.
            prefix: only keys that begin so.

        Raises:
            InvalidCursorError: the cursor is not from a scan of this table.
        """
        assert 1 <= limit <= SCAN_LIMIT_MAX
        partition, after = self._position(cursor)
        found: list[tuple[bytes, bytes]] = []
        looked = 0
        for number in range(partition, len(self._partitions)):
            if looked >= SCAN_LOOKED_MAX:
                return ScanPage(found, f"{number:x}.")
            records = self._partitions[number]
            looked += len(records)
            keys = sorted(key for key in records if key > after and key.startswith(prefix))
            after = b""
            found += [(key, records[key]) for key in keys[: limit - len(found)]]
            if len(found) == limit:
                return ScanPage(found, f"{number:x}.{found[-1][0].hex()}")
        return ScanPage(found, "")

    def _position(self, cursor: str) -> tuple[int, bytes]:
        if not cursor:
            return 0, b""
        number, dot, after = cursor.partition(".")
        try:
            position = int(number, 16), bytes.fromhex(after)
        except ValueError as error:
            raise InvalidCursorError(f"no cursor of a scan: {cursor!r:.80}") from error
        if not dot or not 0 <= position[0] < len(self._partitions):
            raise InvalidCursorError(f"no cursor of a scan of this table: {cursor!r:.80}")
        return position

    def _count_in(self, partition: int, record: bytes) -> None:
        flags = record[FLAGS_AT]
        if flags & _LIVE_EXPIRING > EXPIRES:
            self._expiring += 1
            expiry = record[HEADER_BYTES:_EXPIRY_END]
            if expiry < self._sweep_at[partition]:  # noqa: PLR1730 - min() costs three times this
                self._sweep_at[partition] = expiry
        elif flags & TOMBSTONE:
            self._tombstones += 1
        elif flags & EXPIRES:
            self._gone += 1

    def _count_out(self, record: bytes) -> None:
        flags = record[FLAGS_AT]
        if flags & _LIVE_EXPIRING > EXPIRES:
            self._expiring -= 1
        elif flags & TOMBSTONE:
            self._tombstones -= 1
        elif flags & EXPIRES:
            self._gone -= 1

    def _next_due(self, wall: bytes) -> int | None:
        """The partition to sweep next, round robin, so that the one longest unswept comes first."""
        if min(self._sweep_at) > wall:
            return None
        partition = self._sweep_next
        while self._sweep_at[partition] > wall:
            partition = (partition + 1) % len(self._partitions)
        self._sweep_next = (partition + 1) % len(self._partitions)
        return partition

    def _sweep(self, partition: int, wall: bytes) -> int:
        records = self._partitions[partition]
        earliest = _NEVER
        over: list[tuple[bytes, bytes]] = []
        for key, record in records.items():
            if record[FLAGS_AT] & _LIVE_EXPIRING > EXPIRES:
                expiry = record[HEADER_BYTES:_EXPIRY_END]
                if expiry <= wall:
                    over.append((key, record))
                elif expiry < earliest:
                    earliest = expiry
        for key, record in over:
            records[key] = rest = gone(record)
            self._bytes += len(rest) - len(record)
        self._expiring -= len(over)
        self._gone += len(over)
        self._sweep_at[partition] = earliest
        return len(over)
