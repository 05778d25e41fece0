"""Hand-written hooks for the messages of the hot path.

Each reader accepts a row that is obviously right (exact length, exact types, columns checked by one
`set(map(type, ...))`) and hands every other row to the general hook, which either explains what is
wrong or copes with a row from another release. So there is one place that says no, and the fast
path needs no error texts. Each writer is one list display.
"""

from typing import Any, Final

import attrs
import cattrs

from cluster.core import operations as op
from cluster.wire.converter import U64_MAX, StructureHook, row_hook
from cluster.wire.messages import TAGS

_BYTES: Final = frozenset({bytes})
_BYTES_OR_NONE: Final = frozenset({bytes, type(None)})
_INT: Final = frozenset({int})


def _row(message_type: type[Any]) -> int:
    """Length of a row of exactly this release."""
    return 1 + len(attrs.fields(message_type))


_WRITE_ROW: Final = _row(op.Write)
_KEYS_ROW: Final = _row(op.Read)
_WRITE_REPLY_ROW: Final = _row(op.WriteReply)
_READ_REPLY_ROW: Final = _row(op.ReadReply)
_REPLICA_WRITE_ROW: Final = _row(op.ReplicaWrite)
_REPLICA_WRITE_REPLY_ROW: Final = _row(op.ReplicaWriteReply)
_REPLICA_READ_ROW: Final = _row(op.ReplicaRead)
_REPLICA_READ_REPLY_ROW: Final = _row(op.ReplicaReadReply)


def register_hot_hooks(converter: cattrs.Converter) -> None:
    """Replaces the general hooks of the hot messages in `converter`."""
    for message_type, make_reader in _READERS.items():
        reader = make_reader(row_hook(converter, message_type))
        converter.register_structure_hook(message_type, reader)
    for message_type, writer in _WRITERS.items():
        converter.register_unstructure_hook(message_type, writer)


def _ids(*values: Any) -> bool:
    """Whether all are ints of 64 bits without sign."""
    for value in values:  # noqa: SIM110 - all() with a generator takes three times as long
        if type(value) is not int or not 0 <= value <= U64_MAX:
            return False
    return True


def _id_column(column: Any) -> bool:
    if type(column) is not list:
        return False
    if len(column) <= 1:
        return not column or _ids(column[0])
    return set(map(type, column)) <= _INT and min(column) >= 0 and max(column) <= U64_MAX


def _byte_column(column: Any) -> bool:
    if type(column) is not list:
        return False
    if len(column) == 1:
        return type(column[0]) is bytes
    return set(map(type, column)) <= _BYTES


# --------------------------------------------------------------------------- readers


def _write_reader(general: StructureHook) -> StructureHook:
    def read(row: Any, kind: Any) -> Any:
        if len(row) == _WRITE_ROW:
            _, request_id, level, deadline, keys, bodies, ttl_ms = row
            if (
                _ids(request_id, level, ttl_ms)
                and type(deadline) is float
                and _byte_column(keys)
                and _byte_column(bodies)
                and len(keys) == len(bodies)
            ):
                return op.Write(request_id, level, deadline, keys, bodies, ttl_ms)
        return general(row, kind)

    return read


def _keys_reader(message_type: type[Any]) -> Any:
    """For `Read` and `Delete`, which have the same fields."""

    def make(general: StructureHook) -> StructureHook:
        def read(row: Any, kind: Any) -> Any:
            if len(row) == _KEYS_ROW:
                _, request_id, level, deadline, keys = row
                if _ids(request_id, level) and type(deadline) is float and _byte_column(keys):
                    return message_type(request_id, level, deadline, keys)
            return general(row, kind)

        return read

    return make


def _write_reply_reader(general: StructureHook) -> StructureHook:
    def read(row: Any, kind: Any) -> Any:
        if len(row) == _WRITE_REPLY_ROW:
            _, request_id, stamp, restamped, failures, asked, answered = row
            if (
                restamped == []
                and failures == []
                and type(stamp) is bytes
                and _ids(request_id, asked, answered)
            ):
                return op.WriteReply(request_id, stamp, restamped, failures, asked, answered)
        return general(row, kind)

    return read


def _read_reply_reader(general: StructureHook) -> StructureHook:
    def read(row: Any, kind: Any) -> Any:
        if len(row) == _READ_REPLY_ROW:
            _, request_id, records, failures, asked, answered = row
            if (
                failures == []
                and type(records) is list
                and set(map(type, records)) <= _BYTES_OR_NONE
                and _ids(request_id, asked, answered)
            ):
                return op.ReadReply(request_id, records, failures, asked, answered)
        return general(row, kind)

    return read


def _replica_write_reader(general: StructureHook) -> StructureHook:
    def read(row: Any, kind: Any) -> Any:
        if len(row) == _REPLICA_WRITE_ROW:
            _, round_id, deadline, keys, records, chains = row
            if (
                _ids(round_id)
                and type(deadline) is float
                and _byte_column(keys)
                and _byte_column(records)
                and len(keys) == len(records)
                and _id_column(chains)
            ):
                return op.ReplicaWrite(round_id, deadline, keys, records, chains)
        return general(row, kind)

    return read


def _replica_write_reply_reader(general: StructureHook) -> StructureHook:
    def read(row: Any, kind: Any) -> Any:
        if len(row) == _REPLICA_WRITE_REPLY_ROW:
            _, round_id, boot, higher, refused = row
            if higher == [] and _ids(round_id, boot, refused):
                return op.ReplicaWriteReply(round_id, boot, higher, refused)
        return general(row, kind)

    return read


def _replica_read_reader(general: StructureHook) -> StructureHook:
    def read(row: Any, kind: Any) -> Any:
        if len(row) == _REPLICA_READ_ROW:
            _, round_id, deadline, keys, versions, chains, after = row
            if (
                _ids(round_id, after)
                and type(deadline) is float
                and _byte_column(keys)
                and _byte_column(versions)
                and (not versions or len(versions) == len(keys))
                and _id_column(chains)
            ):
                return op.ReplicaRead(round_id, deadline, keys, versions, chains, after)
        return general(row, kind)

    return read


def _replica_read_reply_reader(general: StructureHook) -> StructureHook:
    def read(row: Any, kind: Any) -> Any:
        if len(row) == _REPLICA_READ_REPLY_ROW:
            _, round_id, boot, covered, indices, records, refused, after = row
            if (
                _ids(round_id, boot, covered, refused, after)
                and _id_column(indices)
                and type(records) is list
                and set(map(type, records)) <= _BYTES_OR_NONE
                and len(indices) == len(records)
            ):
                return op.ReplicaReadReply(
                    round_id, boot, covered, indices, records, refused, after
                )
        return general(row, kind)

    return read


_READERS: Final[dict[type[Any], Any]] = {
    op.Write: _write_reader,
    op.Delete: _keys_reader(op.Delete),
    op.Read: _keys_reader(op.Read),
    op.WriteReply: _write_reply_reader,
    op.ReadReply: _read_reply_reader,
    op.ReplicaWrite: _replica_write_reader,
    op.ReplicaWriteReply: _replica_write_reply_reader,
    op.ReplicaRead: _replica_read_reader,
    op.ReplicaReadReply: _replica_read_reply_reader,
}

# --------------------------------------------------------------------------- writers

_WRITE: Final = TAGS[op.Write]
_DELETE: Final = TAGS[op.Delete]
_READ: Final = TAGS[op.Read]
_WRITE_REPLY: Final = TAGS[op.WriteReply]
_READ_REPLY: Final = TAGS[op.ReadReply]
_REPLICA_WRITE: Final = TAGS[op.ReplicaWrite]
_REPLICA_WRITE_REPLY: Final = TAGS[op.ReplicaWriteReply]
_REPLICA_READ: Final = TAGS[op.ReplicaRead]
_REPLICA_READ_REPLY: Final = TAGS[op.ReplicaReadReply]


def _unwrite(m: op.Write) -> list[Any]:
    return [_WRITE, m.request_id, m.level, m.deadline, m.keys, m.bodies, m.ttl_ms]


def _undelete(m: op.Delete) -> list[Any]:
    return [_DELETE, m.request_id, m.level, m.deadline, m.keys]


def _unread(m: op.Read) -> list[Any]:
    return [_READ, m.request_id, m.level, m.deadline, m.keys]


def _unfailures(failures: list[op.Failure]) -> list[Any]:
    return [[failure.index, failure.code, failure.message] for failure in failures]


def _unwrite_reply(m: op.WriteReply) -> list[Any]:
    failures = _unfailures(m.failures)
    return [_WRITE_REPLY, m.request_id, m.stamp, m.restamped, failures, m.asked, m.answered]


def _unread_reply(m: op.ReadReply) -> list[Any]:
    failures = _unfailures(m.failures)
    return [_READ_REPLY, m.request_id, m.records, failures, m.asked, m.answered]


def _unreplica_write(m: op.ReplicaWrite) -> list[Any]:
    return [_REPLICA_WRITE, m.round_id, m.deadline, m.keys, m.records, m.chains]


def _unreplica_write_reply(m: op.ReplicaWriteReply) -> list[Any]:
    return [_REPLICA_WRITE_REPLY, m.round_id, m.boot, m.higher, m.refused]


def _unreplica_read(m: op.ReplicaRead) -> list[Any]:
    return [_REPLICA_READ, m.round_id, m.deadline, m.keys, m.versions, m.chains, m.after]


def _unreplica_read_reply(m: op.ReplicaReadReply) -> list[Any]:
    head = [_REPLICA_READ_REPLY, m.round_id, m.boot, m.covered]
    return [*head, m.indices, m.records, m.refused, m.after]


_WRITERS: Final[dict[type[Any], Any]] = {
    op.Write: _unwrite,
    op.Delete: _undelete,
    op.Read: _unread,
    op.WriteReply: _unwrite_reply,
    op.ReadReply: _unread_reply,
    op.ReplicaWrite: _unreplica_write,
    op.ReplicaWriteReply: _unreplica_write_reply,
    op.ReplicaRead: _unreplica_read,
    op.ReplicaReadReply: _unreplica_read_reply,
}
