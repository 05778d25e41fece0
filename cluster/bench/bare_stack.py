"""The bare stack: a toy store on plain trio, trio-websocket and msgpack, as a yardstick.

A node of a toy quorum store (three of them, RF=3, W=2, R=2): frames, payloads and number of hops
are those of the product (client -> coordinator -> two replicas -> acks -> reply; a connection per
direction between two nodes, one writer task each), a dict holds the records. It has nothing else:
no checks, no stamps beyond a counter, no actors, no failure handling, no trace. It also has none of
the product's savings: it keeps trio's own TCP stream and bundles no requests (decisions 7 and 9),
so a ratio to it is what users get, and not the cost of the promises alone.

    python -m cluster.bench.bare_stack --node-id b1 --bootstrap-expect 3 [--seed host:port]

The options and the two lines it prints are those of `python -m cluster.node` that matter here.
Nodes find each other through the seed: whoever says hello is dialled back and told the addresses
known so far.
"""

import argparse
import contextlib
import signal
import sys
from typing import Any

import trio
import trio_websocket

from cluster.bench.bare_link import (
    FRAME_BYTES_MAX,
    MESSAGE_QUEUE_FRAMES,
    RECEIVE_BUFFER_BYTES,
    Outbox,
    Tag,
    WebSocket,
    dial,
    frame,
    pack,
    receive,
)

__all__ = ["BareNode", "BareServer", "main"]

BOOT = 1_760_000_000_000 << 16
BOOT_BYTES = BOOT.to_bytes(8, "big")
STAMP_BYTES = 16


class BareNode:
    """The table of one node and its rounds in flight."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}
        self.peers: list[Outbox] = []
        self._writes: dict[int, tuple[Outbox, list[int], bytes]] = {}
        self._reads: dict[int, tuple[Outbox, list[list[Any]], list[bytes | None]]] = {}
        self._rounds = 0
        self._clock = BOOT
        self._turn = 0

    # ------------------------------------------------------------------ client side

    def on_client_frame(self, outbox: Outbox, messages: list[list[Any]]) -> None:
        """Coordinate all requests of one frame: one round for its writes, one for its reads."""
        tag = messages[0][0]
        if len(messages) == 1:
            (self._write if tag == Tag.WRITE else self._read)(outbox, messages)
            return
        writes = [message for message in messages if message[0] == Tag.WRITE]
        if writes:
            self._write(outbox, writes)
        if len(writes) < len(messages):
            self._read(outbox, [message for message in messages if message[0] == Tag.READ])

    def _write(self, outbox: Outbox, requests: list[list[Any]]) -> None:
        keys: list[bytes]
        bodies: list[bytes]
        if len(requests) == 1:
            _, request_id, _, budget_ms, keys, bodies, _ = requests[0]
            ids = [request_id]
        else:
            budget_ms = requests[0][3]
            ids = [request[1] for request in requests]
            keys = [key for request in requests for key in request[4]]
            bodies = [body for request in requests for body in request[5]]
        self._clock += 1
        stamp = self._clock.to_bytes(8, "big") + BOOT_BYTES
        records = [stamp + body for body in bodies]
        self.table.update(zip(keys, records, strict=True))
        self._rounds = round_id = self._rounds + 1
        self._writes[round_id] = (outbox, ids, stamp)
        part = pack([Tag.REPLICA_WRITE, round_id, budget_ms, keys, records, ids])
        for peer in self.peers:
            peer.put_packed(part)

    def _read(self, outbox: Outbox, requests: list[list[Any]]) -> None:
        if len(requests) == 1:
            keys = requests[0][4]
        else:
            keys = [key for request in requests for key in request[4]]
        records = list(map(self.table.get, keys))
        versions = [record[:STAMP_BYTES] if record else b"" for record in records]
        self._rounds = round_id = self._rounds + 1
        self._reads[round_id] = (outbox, requests, records)
        self._turn = (self._turn + 1) % len(self.peers)
        ids = [request[1] for request in requests]
        message = [Tag.REPLICA_READ, round_id, requests[0][3], keys, versions, ids]
        self.peers[self._turn].put(message)

    # ------------------------------------------------------------------ peer side

    def on_peer_frame(self, peer: Outbox, messages: list[list[Any]]) -> None:
        """Handle the messages of a peer; `peer` is this node's own connection to it."""
        for message in messages:
            tag = message[0]
            if tag == Tag.REPLICA_WRITE:
                self.table.update(zip(message[3], message[4], strict=True))
                peer.put([Tag.REPLICA_WRITTEN, message[1], BOOT, []])
            elif tag == Tag.REPLICA_WRITTEN:
                self._on_written(message[1])
            elif tag == Tag.REPLICA_READ:
                peer.put(self._answer(message))
            else:
                self._on_values(message)

    def _on_written(self, round_id: int) -> None:
        pending = self._writes.pop(round_id, None)
        if pending is not None:
            outbox, ids, stamp = pending
            for request_id in ids:
                outbox.put([Tag.WRITTEN, request_id, stamp, [], [], 3, 2])

    def _answer(self, message: list[Any]) -> list[Any]:
        _, round_id, _, keys, versions, _ = message
        records = list(map(self.table.get, keys))
        mine = [record[:STAMP_BYTES] if record else b"" for record in records]
        indices: list[int] = []
        if mine != versions:
            indices = [index for index, version in enumerate(versions) if version != mine[index]]
        differing = [records[index] for index in indices]
        return [Tag.REPLICA_VALUES, round_id, BOOT, len(keys), indices, differing]

    def _on_values(self, message: list[Any]) -> None:
        _, round_id, _, _, indices, theirs = message
        outbox, requests, records = self._reads.pop(round_id)
        for index, record in zip(indices, theirs, strict=True):
            records[index] = max(records[index] or b"", record or b"") or None
        if len(requests) == 1:
            outbox.put([Tag.VALUES, requests[0][1], records, [], 2, 2])
            return
        start = 0
        for request in requests:
            end = start + len(request[4])
            outbox.put([Tag.VALUES, request[1], records[start:end], [], 2, 2])
            start = end


class BareServer:
    """Accepts connections and dials peers."""

    def __init__(self, node: BareNode, nursery: trio.Nursery, address: str, expected: int) -> None:
        self._node = node
        self._nursery = nursery
        self._address = address
        self._expected = expected
        self._outboxes: dict[str, Outbox] = {}
        self.complete = trio.Event()

    async def accept(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it ends."""
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(
                nursery,
                stream,
                message_queue_size=MESSAGE_QUEUE_FRAMES,
                max_message_size=FRAME_BYTES_MAX,
                receive_buffer_size=RECEIVE_BUFFER_BYTES,
            )
            ws = await request.accept()
            try:
                [[_, address]] = await receive(ws)
                await (self._serve_peer(ws, address) if address else self._serve_client(ws))
            except trio_websocket.ConnectionClosed:
                nursery.cancel_scope.cancel()

    async def _serve_client(self, ws: WebSocket) -> None:
        outbox = Outbox()
        on_frame = self._node.on_client_frame
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_until_closed, outbox, ws)
            try:
                while True:
                    on_frame(outbox, await receive(ws))
            except trio_websocket.ConnectionClosed:
                nursery.cancel_scope.cancel()

    async def _serve_peer(self, ws: WebSocket, address: str) -> None:
        peer = self.meet(address)
        peer.put([Tag.PEERS, sorted(self._outboxes)])
        on_frame = self._node.on_peer_frame
        while True:
            messages = await receive(ws)
            if messages[0][0] != Tag.PEERS:
                on_frame(peer, messages)
                continue
            for known in messages[0][1]:
                if known != self._address:
                    self.meet(known)

    def meet(self, address: str) -> Outbox:
        """What goes to a peer, which is dialled when it is new."""
        if address not in self._outboxes:
            outbox = self._outboxes[address] = Outbox()
            self._nursery.start_soon(self._link, address, outbox)
        return self._outboxes[address]

    async def _link(self, address: str, outbox: Outbox) -> None:
        async with dial(address) as ws:
            await ws.send_message(frame([pack([Tag.HELLO, self._address])]))
            self._node.peers.append(outbox)
            if len(self._node.peers) == self._expected - 1:
                self.complete.set()
            await write_until_closed(outbox, ws)


async def write_until_closed(outbox: Outbox, ws: WebSocket) -> None:
    """Write what waits until the other side ends the connection."""
    with contextlib.suppress(trio_websocket.ConnectionClosed):
        await outbox.run(ws)


async def serve(options: argparse.Namespace) -> None:
    """Run one node until SIGTERM or SIGINT."""
    host, _, port = options.bind.rpartition(":")
    [listener] = await trio.open_tcp_listeners(int(port), host=host)
    address = "{}:{}".format(*listener.socket.getsockname())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_on_signal, nursery.cancel_scope)
        server = BareServer(BareNode(), nursery, address, options.bootstrap_expect)
        nursery.start_soon(trio.serve_listeners, server.accept, [listener])
        say(f"listening node={options.node_id} ws={address} http=off")
        for seed in options.seed:
            server.meet(seed)
        await server.complete.wait()
        say(f"ready node={options.node_id}")


async def stop_on_signal(scope: trio.CancelScope) -> None:
    """End the node at the first signal."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


def say(line: str) -> None:
    """One line for whoever started this process."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Entry point of one node process."""
    parser = argparse.ArgumentParser(prog="python -m cluster.bench.bare_stack")
    parser.add_argument("--node-id", required=True)
    parser.add_argument("--bind", default="127.0.0.1:0")
    parser.add_argument("--http", default="off", help="taken and ignored: it has no HTTP face")
    parser.add_argument("--seed", action="append", default=[])
    parser.add_argument("--bootstrap-expect", type=int, default=3)
    trio.run(serve, parser.parse_args())


if __name__ == "__main__":
    main()
