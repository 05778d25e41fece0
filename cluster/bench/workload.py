"""The work that is measured: which keys, which values, how many requests in flight.

The same loop drives the product and the bare stack, so its own cost is in the client's CPU of both.
Keys are 16 bytes, written first in one shuffled order and used in others; values come from a pool
of random bytes. All are prepared before the clock starts.
"""

import enum
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import trio

from cluster.bench.accounting import cpu_seconds, own_cpu_seconds
from cluster.bench.measure import Sample

__all__ = ["Cell", "Data", "Kind", "Store", "fill", "measure"]

VALUE_POOL = 1_000
FILL_BATCH_KEYS = 1_000
NANOSECONDS = 1_000_000_000
NANOSECONDS_PER_US = 1_000


class Kind(enum.Enum):
    """What a workload does: write, read, or write and read in turns."""

    SET = "set"
    GET = "get"
    MIXED = "mixed"


@attrs.frozen
class Cell:
    """One measurement of the table.

    Attributes:
        kind: what it does.
        in_flight: calls that wait for an answer at the same time.
        batch: keys per call (`set_many`, `get_many`); 0: single keys (`set`, `get`).
    """

    kind: Kind
    in_flight: int
    batch: int

    @property
    def title(self) -> str:
        """The name of the row."""
        if self.batch:
            return f"{self.kind.value}_many {self.batch:,}"
        return f"{self.kind.value}, {self.in_flight} in flight"


class Store(Protocol):
    """The calls that are measured: those of the product's client, which the bare client copies."""

    async def set(self, key: Any, value: Any, /) -> Any:
        """Write one key."""

    async def get(self, key: Any, /) -> Any:
        """Read one key."""

    async def set_many(self, items: Mapping[Any, Any], /) -> Any:
        """Write several keys."""

    async def get_many(self, keys: Sequence[Any], /) -> Any:
        """Read several keys."""


PASSES = 4
"""Different orders in which the keys are used, one after the other."""


@attrs.frozen
class Data:
    """The keys, the orders in which they are filled and used, and the values written to them.

    Every pass over the keys has an order of its own, unlike that in which they were first written:
    otherwise neighbours in time are neighbours in memory, which no real load has, and which favours
    a store the more, the simpler it is.
    """

    keys: list[bytes]
    values: list[bytes]
    passes: list[list[bytes]]
    fill_order: list[bytes]

    @classmethod
    def make(cls, keys: int, value_min: int, value_max: int, seed: int) -> "Data":
        """`keys` keys of 16 bytes; values of `value_min` to `value_max` bytes."""
        rng = random.Random(seed)  # noqa: S311 - a workload is to be repeatable, not secret
        names = [b"key:%012d" % number for number in range(keys)]
        pool = min(VALUE_POOL, keys)
        values = [rng.randbytes(rng.randint(value_min, value_max)) for _ in range(pool)]
        passes = [rng.sample(names, keys) for _ in range(PASSES)]
        return cls(names, values, passes, fill_order=rng.sample(names, keys))


async def fill(store: Store, data: Data) -> None:
    """Write every key once, in batches, in an order that another seed makes another."""
    keys, values = data.fill_order, data.values
    for start in range(0, len(keys), FILL_BATCH_KEYS):
        chunk = keys[start : start + FILL_BATCH_KEYS]
        await store.set_many({key: values[i % len(values)] for i, key in enumerate(chunk)})


async def measure(
    store: Store, data: Data, cell: Cell, warm_s: float, seconds: float, pids: Sequence[int]
) -> Sample:
    """Run a cell: first to warm up, then to measure.

    Args:
        store: what is measured.
        data: it holds these keys already, where the cell reads.
        cell: what to do.
        warm_s: seconds whose operations are not counted.
        seconds: seconds that are measured.
        pids: the node processes on this machine; empty where they are elsewhere.

    Raises:
        ClusterError: an operation failed; a measurement with failures is none.
    """
    call = _call(store, data, cell)
    keys_per_call = cell.batch or 1
    warm_calls = len(await _run(call, cell.in_flight, warm_s))
    client_cpu_s, node_cpu_s = own_cpu_seconds(), cpu_seconds(pids)
    start_ns = time.perf_counter_ns()
    latencies_us = await _run(call, cell.in_flight, seconds)
    elapsed_s = (time.perf_counter_ns() - start_ns) / NANOSECONDS
    return Sample(
        operations=len(latencies_us) * keys_per_call,
        elapsed_s=elapsed_s,
        client_cpu_s=own_cpu_seconds() - client_cpu_s,
        node_cpu_s=cpu_seconds(pids) - node_cpu_s if pids else None,
        latencies_us=latencies_us,
        warm_operations=warm_calls * keys_per_call,
    )


async def _run(call: Callable[[int], Awaitable[Any]], in_flight: int, seconds: float) -> list[int]:
    """Latencies, in microseconds, of calls until the time is over; at least one per worker."""
    clock = time.perf_counter_ns
    end_ns = clock() + int(seconds * NANOSECONDS)
    latencies_us: list[int] = []

    async def worker(number: int) -> None:
        turn = number
        began_ns = clock()
        while True:
            await call(turn)
            now_ns = clock()
            latencies_us.append((now_ns - began_ns) // NANOSECONDS_PER_US)
            if now_ns >= end_ns:
                return
            began_ns = now_ns
            turn += in_flight

    async with trio.open_nursery() as nursery:
        for number in range(in_flight):
            nursery.start_soon(worker, number)
    return latencies_us


def _call(store: Store, data: Data, cell: Cell) -> Callable[[int], Awaitable[Any]]:
    """The call number `turn` of a cell; every worker walks through all keys."""
    write, read = (
        _batch_calls(store, data, cell.batch) if cell.batch else _single_calls(store, data)
    )
    if cell.kind is Kind.SET:
        return write
    if cell.kind is Kind.GET:
        return read

    def write_or_read(turn: int) -> Awaitable[Any]:
        # Each worker takes turns, and neighbouring workers do the opposite of each other.
        round_number, worker = divmod(turn, cell.in_flight)
        return (read if (round_number + worker) & 1 else write)(turn)

    return write_or_read


def _single_calls(
    store: Store, data: Data
) -> tuple[Callable[[int], Awaitable[Any]], Callable[[int], Awaitable[Any]]]:
    keys, values = [key for each in data.passes for key in each], data.values
    key_count, value_count = len(keys), len(values)

    def write(turn: int) -> Awaitable[Any]:
        return store.set(keys[turn % key_count], values[turn % value_count])

    def read(turn: int) -> Awaitable[Any]:
        return store.get(keys[turn % key_count])

    return write, read


def _batch_calls(
    store: Store, data: Data, batch: int
) -> tuple[Callable[[int], Awaitable[Any]], Callable[[int], Awaitable[Any]]]:
    chunks = len(data.keys) // batch
    assert chunks, "fewer keys than a batch"
    values = [data.values[i % len(data.values)] for i in range(batch)]

    def keys(turn: int) -> list[bytes]:
        number, chunk = divmod(turn, chunks)
        start = chunk * batch
        return data.passes[number % PASSES][start : start + batch]

    def write(turn: int) -> Awaitable[Any]:
        return store.set_many(dict(zip(keys(turn), values, strict=True)))

    def read(turn: int) -> Awaitable[Any]:
        return store.get_many(keys(turn))

    return write, read
