"""Messages to frames and back.

A frame is `[version, clock, epoch, digest, [message, ...]]`, a message `[tag, field, ...]`. Each
message is encoded once, by itself; frames are put together from encoded messages, so sizes are
known exactly and what does not fit goes into the next frame.

**Deadlines.** Two machines do not share a clock: a deadline is seconds on the local clock in memory
and the remaining budget in whole milliseconds on the wire. The receiver adds its own clock. If it
also hands in its wall clock, the time that the frame was on its way (as far as it exceeds what two
wall clocks may differ by) is taken off each budget: work that waited too long in a socket arrives
expired.

**Bad input.** Whatever bytes come in, `decode` returns a frame whose every field has exactly its
type, or raises `ProtocolError` with a reason that names message and field. Nothing is allocated for
what a frame merely announces. Whether keys, levels and times make sense is not judged here.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import attrs
import cattrs

from cluster.core.values import COUNTER_BITS
from cluster.errors import ProtocolError
from cluster.wire import json_format, msgpack_format
from cluster.wire.converter import U64_MAX, FieldError, make_converter
from cluster.wire.handshake import PROTOCOL_VERSION, PROTOCOL_VERSION_MIN
from cluster.wire.hot_messages import register_hot_hooks
from cluster.wire.json_format import JsonFormat
from cluster.wire.limits import FrameLimits
from cluster.wire.messages import DEADLINE_FIELD, MESSAGE_TYPES, Frame, FrameHeader
from cluster.wire.msgpack_format import MsgpackFormat

__all__ = ["Codec", "CodecName", "FrameLimits", "codec_of"]

CodecName: TypeAlias = Literal["msgpack", "json"]

BUDGET_MS_MAX: Final = 24 * 60 * 60 * 1000
"""Longest remaining budget that is written or accepted: a day."""

OFFSET_BOUND_MS_DEFAULT: Final = 500
"""How far two wall clocks may differ before a frame counts as old."""

KEEP_BYTES_MIN: Final = 4096
SAME_MOMENT_S: Final = 0.001
"""A large message that goes to several links at the same moment is encoded once: only its budget
would differ, by less than its unit."""

_ONLY_INT: Final = {int}
_HEADER_FIELDS: Final = ("version", "clock", "epoch", "digest")
_DEFAULT_LIMITS: Final = FrameLimits()

_Reader: TypeAlias = tuple[type[Any], int, Callable[[Any, Any], Any]]
_Writer: TypeAlias = tuple[int, Callable[[Any], list[Any]]]


def codec_of(frame: bytes) -> CodecName:
    """Tells the format of a frame by its first byte.

    Raises:
        ProtocolError: it is neither msgpack nor JSON of a frame.
    """
    first = frame[:1]
    if first and first in msgpack_format.FIRST_BYTES:
        return "msgpack"
    if first and first in json_format.FIRST_BYTES:
        return "json"
    raise ProtocolError(f"neither a msgpack nor a JSON frame: it begins with {frame[:8].hex(' ')}")


class Codec:
    """Encodes and decodes in one format, for any number of connections.

    It holds no state but a reused buffer, which grows to the largest message it has encoded.
    """

    def __init__(
        self,
        name: CodecName = "msgpack",
        limits: FrameLimits = _DEFAULT_LIMITS,
        *,
        offset_bound_ms: int = OFFSET_BOUND_MS_DEFAULT,
    ) -> None:
        self.name: Final = name
        self.limits: Final = limits
        self._offset_bound_ms = offset_bound_ms
        self._format: MsgpackFormat | JsonFormat = (
            MsgpackFormat(limits) if name == "msgpack" else JsonFormat(limits)
        )
        self._readers, self._writers = _tables()
        self._encoded_message: Any = None
        self._encoded_at = 0.0
        self._encoded_part = b""
        self.message_bytes_max: Final = limits.frame_bytes_max - self._format.overhead_bytes
        """Largest encoded message that fits a frame."""

    def encode_message(self, message: Any, now: float) -> bytes:
        """Encodes one message.

        Args:
            message: of a type in `MESSAGE_TYPES`.
            now: the clock of its deadline, seconds.

        Raises:
            ValueError: a value cannot be carried, or the message is larger than a frame.
        """
        if message is self._encoded_message and now - self._encoded_at < SAME_MOMENT_S:
            return self._encoded_part
        deadline_at, write = self._writers[type(message)]
        row = write(message)
        if deadline_at:
            budget_ms = (row[deadline_at] - now) * 1000
            row[deadline_at] = int(min(max(budget_ms, 0), BUDGET_MS_MAX))
        try:
            part = self._format.dumps(row)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"{type(message).__name__} cannot be encoded: {error}") from error
        if len(part) > self.message_bytes_max:
            raise ValueError(
                f"{type(message).__name__} of {len(part)} bytes is over the frame limit of "
                f"{self.limits.frame_bytes_max} bytes"
            )
        if len(part) > KEEP_BYTES_MIN:
            self._encoded_message, self._encoded_at, self._encoded_part = message, now, part
        return part

    def fitting(self, parts: Sequence[bytes], start: int = 0) -> int:
        """The end of the longest run of `parts` from `start` that fits one frame.

        Each part comes from `encode_message`, so at least one always fits.
        """
        room = self.message_bytes_max
        last = min(len(parts), start + self.limits.messages_max)
        separators = self._format.separator_bytes * (last - start)
        if last == len(parts) and start == 0 and sum(map(len, parts)) + separators <= room:
            return last
        for end in range(start, last):
            room -= len(parts[end]) + self._format.separator_bytes
            if room < 0 and end > start:
                return end
        return last

    def assemble(self, header: FrameHeader, parts: Sequence[bytes]) -> bytes:
        """Puts encoded messages into one frame.

        Raises:
            ValueError: together they exceed the limits of a frame; see `fitting`.
        """
        head = (PROTOCOL_VERSION, header.clock, header.epoch, header.digest)
        frame = self._format.assemble(head, parts)
        if len(frame) > self.limits.frame_bytes_max or len(parts) > self.limits.messages_max:
            raise ValueError(f"{len(parts)} messages of {len(frame)} bytes do not fit one frame")
        return frame

    def encode(self, header: FrameHeader, messages: Sequence[Any], now: float) -> bytes:
        """Encodes a whole frame; for few messages, where splitting is no question."""
        return self.assemble(header, [self.encode_message(message, now) for message in messages])

    def decode(self, frame: bytes, now: float, wall_ms: int | None = None) -> Frame:
        """Decodes a frame.

        Args:
            frame: what one `receive` gave.
            now: seconds on the clock for deadlines.
            wall_ms: own wall clock, to take the frame's age off the budgets; None for senders whose
                header clock is no reading of their own (clients).

        Raises:
            ProtocolError: the frame breaks the protocol; the message says where.
        """
        if len(frame) > self.limits.frame_bytes_max:
            raise ProtocolError(
                f"a frame of {len(frame)} bytes, at most {self.limits.frame_bytes_max}"
            )
        header, rows = self._head(self._format.loads(frame))
        start = now - self._age_s(header.clock, wall_ms)
        readers = self._readers
        messages = []
        for row in rows:
            if type(row) is not list or not row or type(row[0]) is not int:
                raise ProtocolError("a message is a list that begins with its tag")
            reader = readers.get(row[0])
            if reader is None:
                raise ProtocolError(f"unknown message type {row[0]}")
            message_type, deadline_at, read = reader
            try:
                if deadline_at and len(row) > deadline_at:
                    row[deadline_at] = start + _budget_s(row[deadline_at])
                messages.append(read(row, message_type))
            except FieldError as error:
                raise ProtocolError(f"{message_type.__name__}.{error}") from None
        return Frame(header, messages)

    def _head(self, content: Any) -> tuple[FrameHeader, list[Any]]:
        if type(content) is not list or len(content) <= len(_HEADER_FIELDS):
            raise ProtocolError(f"a frame is a list of {len(_HEADER_FIELDS) + 1} fields")
        version, clock, epoch, digest, rows = content[:5]
        if (
            {type(version), type(clock), type(epoch), type(digest)} != _ONLY_INT
            or min(version, clock, epoch, digest) < 0
            or max(version, clock, epoch, digest) > U64_MAX
        ):
            raise ProtocolError(f"frame header {_bad_field(content)}: expected an int of 64 bits")
        if not PROTOCOL_VERSION_MIN <= version <= PROTOCOL_VERSION:
            raise ProtocolError(f"frame of protocol version {version}, known: {PROTOCOL_VERSION}")
        if type(rows) is not list:
            raise ProtocolError("frame messages: expected a list")
        if len(rows) > self.limits.messages_max:
            raise ProtocolError(f"{len(rows)} messages, at most {self.limits.messages_max}")
        return FrameHeader(clock, epoch, digest), rows

    def _age_s(self, clock: int, wall_ms: int | None) -> float:
        if wall_ms is None or clock == 0:
            return 0.0
        return max(0, wall_ms - (clock >> COUNTER_BITS) - self._offset_bound_ms) / 1000


def _bad_field(content: list[Any]) -> str:
    """The name of the first header field that is no int of 64 bits."""
    fields = zip(_HEADER_FIELDS, content, strict=False)
    return next(n for n, v in fields if type(v) is not int or not 0 <= v <= U64_MAX)


def _budget_s(budget_ms: Any) -> float:
    if type(budget_ms) is not int or not 0 <= budget_ms <= BUDGET_MS_MAX:
        raise FieldError(f"{DEADLINE_FIELD}: expected a budget of 0 to {BUDGET_MS_MAX} ms")
    return budget_ms * 0.001


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[int, _Reader], dict[type[Any], _Writer]]:
    """Hooks by tag and by type, looked up in the converter once."""
    converter: cattrs.Converter = make_converter()
    register_hot_hooks(converter)
    readers: dict[int, _Reader] = {}
    writers: dict[type[Any], _Writer] = {}
    for tag, message_type in MESSAGE_TYPES.items():
        names = [field.name for field in attrs.fields(message_type)]
        deadline_at = names.index(DEADLINE_FIELD) + 1 if DEADLINE_FIELD in names else 0
        reader = converter.get_structure_hook(message_type)
        readers[tag] = (message_type, deadline_at, reader)
        writers[message_type] = (deadline_at, converter.get_unstructure_hook(message_type))
    return readers, writers
