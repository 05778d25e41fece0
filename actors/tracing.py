"""The trace log: its records, its file format, and how to write and read files.

`docs/trace.md` says how to record and read a trace. In a test:

    system.trace.where(kind="handle", actor="/n1/replicator")
    system.trace.chain(chain_id)
"""

from actors._show_lines import line_of
from actors._trace import CAPACITY, FIELDS, Kind, Record, TraceLog, TraceRecord
from actors._trace_file import (
    FORMAT,
    VERSION,
    TraceHeader,
    TraceReader,
    TraceWriter,
    sampled,
    write_ring,
)

__all__ = [
    "CAPACITY",
    "FIELDS",
    "FORMAT",
    "VERSION",
    "Kind",
    "Record",
    "TraceHeader",
    "TraceLog",
    "TraceReader",
    "TraceRecord",
    "TraceWriter",
    "line_of",
    "sampled",
    "write_ring",
]
