"""The replica: merges what coordinators send into the own copy, and answers what it holds.

It refuses whoever names another ring than its own (a write is never acknowledged and dropped), and
what is malformed or stamped too far ahead of its clock. What is past its deadline it lets go of.
"""

from typing import Final

import attrs

from cluster.core.clock import HybridClock, hlc_of
from cluster.core.exchange import ITEM_BYTES
from cluster.core.operations import (
    FailureCode,
    ReplicaRead,
    ReplicaReadReply,
    ReplicaWrite,
    ReplicaWriteReply,
)
from cluster.core.record import check_many, version
from cluster.core.ring import RingView
from cluster.core.table import RecordTable
from cluster.core.values import BootId, CoreError, NodeId

__all__ = ["Replica", "ReplicaCounters"]


@attrs.define
class ReplicaCounters:
    """What happened since the start; the names are those of the statistics."""

    replica_writes: int = 0
    replica_reads: int = 0
    replica_records_merged: int = 0
    replica_records_behind: int = 0
    replica_expired: int = 0
    replica_refused_not_owner: int = 0
    replica_refused_skewed: int = 0
    replica_refused_invalid: int = 0


class Replica:
    """Replica operations of one node."""

    def __init__(
        self,
        node_id: NodeId,
        boot: BootId,
        clock: HybridClock,
        table: RecordTable,
        *,
        value_max: int = 1 << 20,
        reply_bytes_max: int = 1 << 21,
    ) -> None:
        self._node_id: Final = node_id
        self._boot: Final = boot
        self._clock: Final = clock
        self._table: Final = table
        self._value_max: Final = value_max
        self._reply_bytes_max: Final = reply_bytes_max
        self.view: RingView | None = None
        self.counters: Final = ReplicaCounters()

    def write(
        self, message: ReplicaWrite, now: float, wall_ms: int, *, same_ring: bool
    ) -> ReplicaWriteReply | None:
        """Merge records; None if the deadline has passed and nobody waits for the answer.

        Args:
            message: what the coordinator sent.
            now: the node's clock, seconds.
            wall_ms: the node's wall clock.
            same_ring: whether the sender's frame named the ring that this node has.
        """
        counters = self.counters
        counters.replica_writes += 1
        if message.deadline <= now:
            counters.replica_expired += 1
            return None
        refused = self._refusal(same_ring=same_ring) or self._bad(message, wall_ms)
        if refused:
            return ReplicaWriteReply(message.round_id, self._boot, [], refused)
        higher = self._table.apply_many(message.keys, message.records)
        counters.replica_records_merged += len(message.keys) - len(higher)
        counters.replica_records_behind += len(higher)
        return ReplicaWriteReply(message.round_id, self._boot, higher)

    def read(self, message: ReplicaRead, now: float, *, same_ring: bool) -> ReplicaReadReply | None:
        """Answer the own copies that differ from the versions sent, as many as fit into a reply."""
        counters = self.counters
        counters.replica_reads += 1
        if message.deadline <= now:
            counters.replica_expired += 1
            return None
        keys, versions = message.keys, message.versions
        refused = self._refusal(same_ring=same_ring)
        if not refused and versions and len(versions) != len(keys):
            counters.replica_refused_invalid += 1
            refused = FailureCode.INVALID
        if refused:
            return ReplicaReadReply(message.round_id, self._boot, 0, [], [], refused, message.after)
        covered = len(keys)
        indices: list[int] = []
        records: list[bytes | None] = []
        size = 0
        for index, record in enumerate(self._table.get_many(keys)):
            if versions and versions[index] == (b"" if record is None else version(record)):
                continue
            size += ITEM_BYTES + (0 if record is None else len(record))
            if size > self._reply_bytes_max and index:
                covered = index
                break
            indices.append(index)
            records.append(record)
        return ReplicaReadReply(
            message.round_id, self._boot, covered, indices, records, 0, message.after
        )

    def _refusal(self, *, same_ring: bool) -> int:
        """Who has the ring that we have knows what we own; with any other nothing is agreed."""
        if same_ring and self.view is not None:
            return 0
        self.counters.replica_refused_not_owner += 1
        return FailureCode.NOT_OWNER

    def _bad(self, message: ReplicaWrite, wall_ms: int) -> int:
        """The code of what is wrong with the records of a write, or 0."""
        records = message.records
        try:
            check_many(records, self._value_max)
        except CoreError:
            self.counters.replica_refused_invalid += 1
            return FailureCode.INVALID
        if len(records) != len(message.keys):
            self.counters.replica_refused_invalid += 1
            return FailureCode.INVALID
        # Records order by their stamps, so the greatest holds the furthest clock.
        if records and self._clock.observe(hlc_of(max(records)), wall_ms) is not None:
            self.counters.replica_refused_skewed += 1
            return FailureCode.CLOCK_SKEW
        return 0
