"""Trace files: a header, then records, as a stream of msgpack objects.

The header is a map; every record is an array of the 14 fields of `TraceRecord`, in order. Writing
is a task of its own, fed through a bounded buffer that drops and counts what does not fit: tracing
never slows an actor down, and a file that cannot be written ends the tracing, not the node.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, Self

import attrs
import msgpack
import trio

from actors._active import ACTIVE, NOBODY
from actors._errors import TraceFormatError
from actors._trace import FIELDS, Kind, Record, TraceLog, TraceRecord

FORMAT: Final = "actors-trace"
VERSION: Final = 1
BUFFER_MAX: Final = 50_000  # records that wait to be written
SLICE: Final = 500  # records packed in one go, about 0.3 ms
GATHER_S: Final = 0.05  # so long records gather before they are written together
FILE_BYTES_MAX: Final = 4 << 30
READ_BYTES: Final = 64 << 10
RECORD_BYTES_MAX: Final = 64 << 10  # the reader's limit for one object

_LOG = logging.getLogger("actors")
_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15  # Fibonacci hashing (Knuth, TAOCP 3, 6.4)


@attrs.frozen
class TraceHeader:
    """What a trace file says about its node."""

    node: str
    boot_id: int
    anchor_s: float
    """Wall clock minus the clock of the records, in seconds."""


def sampled(chain: int, share: float) -> bool:
    """Whether a chain belongs to the sample: all nodes agree, as it hangs on the id alone.

    Records without a chain always do.
    """
    return not chain or ((chain * _GOLDEN) & _MASK) < share * (1 << 64)


class TraceWriter:
    """Writes the records of a log to a file while `run` runs.

    Attributes:
        written: Records in the file so far.
        dropped: Records that found the buffer full or the file at its limit.
    """

    def __init__(
        self,
        path: str | Path,
        trace: TraceLog,
        *,
        sample: float = 1.0,
        buffer_max: int = BUFFER_MAX,
        file_bytes_max: int = FILE_BYTES_MAX,
        threads: bool = True,
    ) -> None:
        """Make a writer; the file is made, or overwritten, by `run`.

        Args:
            path: The file.
            trace: The log to write.
            sample: The share of chains to write, 0 to 1.
            buffer_max: How many records may wait.
            file_bytes_max: Where to stop, in bytes.
            threads: Write in a worker thread, so that a slow disk stalls nobody. False under
                virtual time, where nothing real may be waited for.
        """
        if not 0.0 <= sample <= 1.0:
            raise ValueError(f"a sample is a share from 0 to 1, not {sample}")
        self.path = Path(path)
        self.written = 0
        self.dropped = 0
        self._trace = trace
        self._sample = sample
        self._buffer: deque[Record] = deque()
        self._buffer_max = buffer_max
        self._bytes_left = file_bytes_max
        self._threads = threads
        self._wake = trio.Event()
        self._packed = b""  # a slice on its way; a cancel may come before its thread starts
        self._packer = msgpack.Packer()

    def sink(self, record: Record) -> None:
        """Take a record to be written; never waits."""
        if self._sample < 1.0 and not sampled(record[7], self._sample):
            return
        if len(self._buffer) >= self._buffer_max:
            self.dropped += 1
            return
        self._buffer.append(record)
        if len(self._buffer) == 1:
            self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, then write what is left and close the file.

        Raises:
            OSError: If the file cannot be made. Later errors end the tracing and are logged.
        """
        ACTIVE.set(NOBODY)
        with self.path.open("wb") as file:
            self._write(file, self._packer.pack(_header(self._trace)))
            self._trace.attach(self.sink)
            try:
                task_status.started()
                await self._serve(file)
            except OSError as error:
                _LOG.error("tracing to %s ends: %s", self.path, error)  # expected
            finally:
                self._trace.detach()
                self._flush(file)

    async def _serve(self, file: IO[bytes]) -> None:
        while True:
            await self._wake.wait()
            await trio.sleep(GATHER_S)
            self._wake = trio.Event()
            while self._buffer:
                self._packed = self._pack_slice()
                if self._threads:
                    await trio.to_thread.run_sync(self._write_packed, file)
                else:
                    self._write_packed(file)
                    await trio.lowlevel.checkpoint()

    def _flush(self, file: IO[bytes]) -> None:
        """The last slices, without waiting: the buffer is bounded and so is this."""
        try:
            self._write_packed(file)
            while self._buffer:
                self._write(file, self._pack_slice())
            if self.dropped:
                self._write(file, self._packer.pack(self._gap()))
        except OSError as error:
            _LOG.error("the end of the trace %s is lost: %s", self.path, error)

    def _pack_slice(self) -> bytes:
        buffer, pack = self._buffer, self._packer.pack
        records = [buffer.popleft() for _ in range(min(SLICE, len(buffer)))]
        packed = b"".join([pack(record) for record in records])
        if len(packed) > self._bytes_left:
            self._bytes_left = 0
            self.dropped += len(records)
            return b""
        self._bytes_left -= len(packed)
        self.written += len(records)
        return packed

    def _write_packed(self, file: IO[bytes]) -> None:
        packed, self._packed = self._packed, b""
        self._write(file, packed)

    @staticmethod
    def _write(file: IO[bytes], data: bytes) -> None:
        file.write(data)
        file.flush()

    def _gap(self) -> Record:
        """A note at the end of the file that says how many records it lacks."""
        trace = self._trace
        return (
            trace.next_seq(), trace.clock(), Kind.NOTE.value, "", 0, 0, 0, 0, "records dropped",
            0, 0.0, 0.0, str(self.dropped), 0,
        )  # fmt: skip


def write_ring(trace: TraceLog, path: str | Path) -> int:
    """Write what is in the ring now, and return how many records that were."""
    records = trace.raw()
    packer = msgpack.Packer()
    with Path(path).open("wb") as file:
        file.write(packer.pack(_header(trace)))
        file.writelines(packer.pack(record) for record in records)
    return len(records)


def _header(trace: TraceLog) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "node": trace.node,
        "boot_id": trace.boot_id,
        "anchor_s": float(trace.anchor_s),
        "fields": list(FIELDS),
    }


class TraceReader:
    """Reads one trace file as a stream; close it or use it in a `with`.

    Raises:
        OSError: If the file cannot be opened.
        TraceFormatError: If it is no trace file of this version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = self.path.open("rb")
        self._unpacker = msgpack.Unpacker(
            self._file, read_size=READ_BYTES, max_buffer_size=RECORD_BYTES_MAX, use_list=False
        )
        try:
            self.header = self._read_header()
        except TraceFormatError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[TraceRecord]:
        """The records in the order they were written.

        Raises:
            TraceFormatError: After the last good record, if the file goes on with anything else.
        """
        while True:
            start = self._unpacker.tell()
            raw = self._next()
            if raw is None:
                return
            if not isinstance(raw, tuple) or not _is_record(raw):
                raise TraceFormatError(f"{self.path}: no trace record at byte {start}")
            yield TraceRecord(*raw)

    def _read_header(self) -> TraceHeader:
        raw = self._next()
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise TraceFormatError(f"{self.path}: not a trace file")
        if raw.get("version") != VERSION:
            raise TraceFormatError(
                f"{self.path}: version {raw.get('version')} of the format; this reads {VERSION}"
            )
        node, boot_id, anchor_s = raw.get("node"), raw.get("boot_id"), raw.get("anchor_s")
        if not (isinstance(node, str) and isinstance(boot_id, int) and isinstance(anchor_s, float)):
            raise TraceFormatError(f"{self.path}: the header lacks node, boot_id or anchor_s")
        return TraceHeader(node, boot_id, anchor_s)

    def _next(self) -> object:
        """The next object; None at a clean end."""
        start = self._unpacker.tell()
        try:
            return self._unpacker.unpack()
        except msgpack.OutOfData:
            self._file.seek(0, 2)
            size = self._file.tell()
            if size > start:
                raise TraceFormatError(
                    f"{self.path}: cut off in the middle of the record at byte {start} of {size}"
                ) from None
            return None
        except (ValueError, msgpack.UnpackException) as error:
            raise TraceFormatError(f"{self.path}: bad data at byte {start}: {error}") from error


_TYPES: Final[tuple[type | tuple[type, ...], ...]] = (
    int, (int, float), str, str, int, int, int, int, str, int, (int, float), (int, float), str, int,
)  # fmt: skip


def _is_record(raw: tuple[object, ...]) -> bool:
    return len(raw) == len(_TYPES) and all(map(isinstance, raw, _TYPES))
