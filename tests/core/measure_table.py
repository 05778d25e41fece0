"""Measures what the record table costs: resident bytes per record, time per call, worst pauses.

    python tests/core/measure_table.py [records]

prints one JSON object. Run it in a process of its own: it reads the resident size of the process.
Records have 16-byte keys and 100-byte values, then all are overwritten once, in random order, with
values of 50 to 150 bytes.
"""

import gc
import json
import os
import random
import subprocess
import sys
from array import array
from pathlib import Path
from time import perf_counter_ns

from cluster.core.clock import stamp
from cluster.core.record import BYTES, make
from cluster.core.table import RecordTable

PAYLOAD = bytes(range(256))
BATCH = 1000
SWEEP_LIMIT = 1000


def resident_bytes():
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    command = ["ps", "-o", "rss=", "-p", str(os.getpid())]  # where there is no /proc
    return int(subprocess.run(command, check=True, capture_output=True).stdout) * 1024


def key_of(number):
    return b"key:%012d" % number


def record_of(number, hlc, size, expiry_ms=0):
    start = number & 63
    body = bytes((BYTES,)) + PAYLOAD[start : start + size]
    return make(stamp(hlc, 7 << 16), body, expiry_ms)


def load(table, numbers, hlc, sizes):
    """Applies in batches made just before, as frames would bring them; returns ns per key, worst.

    The worst is of single applies, interleaved: every 16th batch goes one by one.
    """
    spent = worst = keys_done = 0
    for start in range(0, len(numbers), BATCH):
        batch = numbers[start : start + BATCH]
        keys = [key_of(number) for number in batch]
        records = [record_of(number, hlc, sizes(number)) for number in batch]
        if start // BATCH % 16 == 15:
            for key, record in zip(keys, records, strict=True):
                begin = perf_counter_ns()
                table.apply(key, record)
                worst = max(worst, perf_counter_ns() - begin)
        else:
            begin = perf_counter_ns()
            refused = table.apply_many(keys, records)
            spent += perf_counter_ns() - begin
            keys_done += len(keys)
            assert not refused
    return spent / keys_done, worst


def best_of(function, repeat=3):
    """Shortest time in ns of some calls, and the result."""
    best = None
    for _ in range(repeat):
        begin = perf_counter_ns()
        function()
        took = perf_counter_ns() - begin
        best = took if best is None else min(best, took)
    return best


def measure_calls(table, count):
    rng = random.Random(3)
    numbers = [rng.randrange(count) for _ in range(20_000)]
    keys = [key_of(number) for number in numbers]
    records = [record_of(number, 1 << 50, 100) for number in numbers]

    def get_each():
        get = table.get
        for key in keys:
            get(key)

    def apply_each():
        apply = table.apply
        for key, record in zip(keys, records, strict=True):
            apply(key, record)

    return {
        "get_ns": best_of(get_each) / len(keys),
        "get_many_ns": best_of(lambda: table.get_many(keys)) / len(keys),
        "apply_first_ns": best_of(apply_each, 1) / len(keys),
        "apply_equal_ns": best_of(apply_each) / len(keys),
    }


def measure_sweeps(table, count):
    """Gives every fourth record an expiry, then lets them go in slices."""
    base_ms = 1_700_000_000_000
    for number in range(0, count, 4):
        expiry_ms = base_ms + number % 977
        table.apply(key_of(number), record_of(number, 1 << 51, 100, expiry_ms))
    worst = spent = dropped = 0
    while table.statistics().expiring:
        begin = perf_counter_ns()
        dropped += table.expire(table.next_sweep_ms() + 10_000, SWEEP_LIMIT)
        took = perf_counter_ns() - begin
        worst = max(worst, took)
        spent += took
    return {"expire_ns": spent / dropped, "expire_slice_worst_ms": worst / 1e6}


def full_collection_worst_ms():
    worst = 0
    for _ in range(5):
        begin = perf_counter_ns()
        gc.collect()
        worst = max(worst, perf_counter_ns() - begin)
    return worst / 1e6


def measure(count):
    rng = random.Random(1)
    table = RecordTable()
    empty_collection_ms = full_collection_worst_ms()
    numbers = array("I", range(count))
    rng.shuffle(numbers)
    empty = resident_bytes()
    insert_ns, insert_worst = load(table, numbers, 1 << 48, lambda _: 100)
    loaded = resident_bytes()
    rng.shuffle(numbers)
    overwrite_ns, overwrite_worst = load(
        table, numbers, 1 << 49, lambda number: 50 + number * 2_654_435_761 % 101
    )
    overwritten = resident_bytes()
    assert len(table) == count
    return {
        "records": count,
        "bytes_per_record_loaded": (loaded - empty) / count,
        "bytes_per_record_overwritten": (overwritten - empty) / count,
        "apply_many_insert_ns": insert_ns,
        "apply_many_overwrite_ns": overwrite_ns,
        "apply_worst_ms": max(insert_worst, overwrite_worst) / 1e6,
        **measure_calls(table, count),
        "gc_full_worst_ms": full_collection_worst_ms(),
        "gc_full_empty_worst_ms": empty_collection_ms,
        "gc_tracked_partitions": sum(map(gc.is_tracked, table._partitions)),
        **measure_sweeps(table, count),
    }


if __name__ == "__main__":
    arguments = sys.argv[1:]
    print(json.dumps(measure(int(arguments[0]) if arguments else 1_000_000)))  # noqa: T201 - its output
