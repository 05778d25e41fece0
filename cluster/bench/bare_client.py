"""The client of the bare stack: dict in, dict out, a connection per node, nothing else.

Requests for single keys all go to one node, so that what waits at the same time leaves in one
frame; a batch goes to one node after the other.
"""

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import outcome
import trio

from cluster.bench.bare_link import Outbox, Tag, WebSocket, dial, frame, pack, receive

__all__ = ["BareClient", "connect_bare"]

QUORUM = 2
BUDGET_MS = 2_000
STAMP_AND_FLAG_BYTES = 17
BYTES_FLAG = b"\x01"


class BareClient:
    """Requests in flight over a connection per node."""

    def __init__(self, outboxes: Sequence[Outbox]) -> None:
        self._coordinator = outboxes[0]
        self._waiting: dict[int, trio.lowlevel.Task] = {}
        self._ids = itertools.count(1)
        self._turn = itertools.cycle(outboxes)

    async def set(self, key: bytes, value: bytes) -> None:
        """Write one key at QUORUM."""
        request_id = next(self._ids)
        message = [Tag.WRITE, request_id, QUORUM, BUDGET_MS, [key], [BYTES_FLAG + value], 0]
        await self._ask(self._coordinator, request_id, message)

    async def get(self, key: bytes) -> bytes | None:
        """Read one key at QUORUM."""
        request_id = next(self._ids)
        message = [Tag.READ, request_id, QUORUM, BUDGET_MS, [key]]
        [record] = (await self._ask(self._coordinator, request_id, message))[2]
        return None if record is None else record[STAMP_AND_FLAG_BYTES:]

    async def set_many(self, items: Mapping[bytes, bytes]) -> None:
        """Write all keys at QUORUM."""
        request_id = next(self._ids)
        bodies = [BYTES_FLAG + value for value in items.values()]
        message = [Tag.WRITE, request_id, QUORUM, BUDGET_MS, list(items), bodies, 0]
        await self._ask(next(self._turn), request_id, message)

    async def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Read all keys at QUORUM: those found."""
        request_id = next(self._ids)
        message = [Tag.READ, request_id, QUORUM, BUDGET_MS, list(keys)]
        records = (await self._ask(next(self._turn), request_id, message))[2]
        return {
            key: record[STAMP_AND_FLAG_BYTES:]
            for key, record in zip(keys, records, strict=True)
            if record is not None
        }

    async def read_replies(self, ws: WebSocket) -> None:
        """Wake the task of each reply."""
        waiting = self._waiting
        while True:
            for message in await receive(ws):
                task = waiting.pop(message[1])
                trio.lowlevel.reschedule(task, outcome.Value(message))

    async def _ask(self, outbox: Outbox, request_id: int, message: list[Any]) -> Any:
        self._waiting[request_id] = trio.lowlevel.current_task()
        outbox.put(message)
        return await trio.lowlevel.wait_task_rescheduled(_abort)


def _abort(_raise_cancel: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED


@asynccontextmanager
async def connect_bare(addresses: Sequence[str]) -> AsyncIterator[BareClient]:
    """A client with a connection to each node; it is meant for one process that ends with it."""
    outboxes = [Outbox() for _ in addresses]
    client = BareClient(outboxes)
    async with trio.open_nursery() as nursery:
        for address, outbox in zip(addresses, outboxes, strict=True):
            await nursery.start(_link, client, address, outbox)
        yield client
        nursery.cancel_scope.cancel()


async def _link(
    client: BareClient,
    address: str,
    outbox: Outbox,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    async with dial(address) as ws, trio.open_nursery() as nursery:
        await ws.send_message(frame([pack([Tag.HELLO, ""])]))
        nursery.start_soon(outbox.run, ws)
        nursery.start_soon(client.read_replies, ws)
        task_status.started()
