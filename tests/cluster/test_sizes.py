"""Near every limit: what fits is carried in pieces, what does not is refused; nothing breaks."""

import pytest
import trio

from actors import introspection
from actors.testing import virtual
from cluster.core.operations import Read, ReadReply, Refused, Write, WriteReply
from cluster.core.values import Level
from cluster.errors import Timeout
from cluster.net.greeting import greet
from cluster.wire.codec import Codec
from cluster.wire.handshake import client_hello
from cluster.wire.messages import FrameHeader
from tests.cluster.memory_cluster import ALL, ONE, memory_cluster

SMALL = {"value_max_bytes": 30_000, "frame_max_bytes": 1 << 16}
"""Two values of the largest size just fit a frame."""


def unharmed(cluster):
    """No actor of any node has crashed."""
    for name in cluster.names:
        tree = cluster[name].node.system.introspect()
        crashed = {each.path: each.last_error for each in introspection.actors(tree)}
        assert not {path: error for path, error in crashed.items() if error}


@virtual()
@pytest.mark.parametrize("codec", ["msgpack", "json"])
async def test_values_of_the_largest_size_in_batches_far_beyond_a_frame(codec):
    async with memory_cluster(3, codec=codec, **SMALL) as cluster:
        items = {f"key-{number}": bytes([number]) * 30_000 for number in range(40)}
        async with cluster.only("n1", codec=codec, timeout=10) as cache:
            await cache.set_many(items, consistency=ALL)
            assert await cache.get_many(items, consistency=ALL) == items
        async with cluster.only("n2", codec=codec, timeout=10) as cache:
            assert await cache.get_many(items) == items
            await cache.delete_many(items, consistency=ALL)
            assert await cache.get_many(items) == {}
        unharmed(cluster)


@virtual()
async def test_touching_many_large_values():
    async with memory_cluster(3, **SMALL) as cluster, cluster.client(timeout=10) as cache:
        items = {f"key-{number}": bytes([number]) * 30_000 for number in range(40)}
        await cache.set_many(items, ttl=100)
        async with cluster.only("n1") as one:
            requests = [(one, key) for key in items]

            async def touch(cache, key):
                assert await cache.touch(key, 1000, consistency=ALL, timeout=10)

            async with trio.open_nursery() as nursery:
                for request in requests:
                    nursery.start_soon(touch, *request)
        await trio.sleep(200)
        assert await cache.get_many(items, consistency=ALL) == items
        unharmed(cluster)


@virtual()
async def test_writing_back_many_large_values():
    async with memory_cluster(3, **SMALL) as cluster:
        items = {f"key-{number}": bytes([number]) * 30_000 for number in range(40)}
        hosts = cluster.names
        cluster.network.partition("n1", hosts[1:])
        async with cluster.only("n1", timeout=10) as cache:
            await cache.set_many(items, consistency=ONE)
        await trio.sleep(20)
        cluster.network.heal()
        async with cluster.only("n2", timeout=20) as cache:
            assert await cache.get_many(items, consistency=ALL) == items
        async with cluster.only("n3", timeout=20) as cache:
            assert await cache.get_many(items, consistency=ONE) == items
        unharmed(cluster)


@virtual()
async def test_writing_many_large_values_again_above_a_higher_stamp():
    async with memory_cluster(3, **SMALL) as cluster:
        items = {f"key-{number}": bytes([number]) * 30_000 for number in range(20)}
        cluster["n1"].node.environment.skew_ms = 400
        async with cluster.only("n1", timeout=10) as cache:
            await cache.set_many(dict.fromkeys(items, b"old"), consistency=ALL)
        replica = cluster["n3"].node
        async with cluster.only("n2", timeout=10) as cache:
            before = (await cluster.ask("n2", "stats"))["replicator"]["restamps"]
            replica.environment.skew_ms = -90
            await cache.set_many(items, consistency=ALL)
            assert await cache.get_many(items, consistency=ALL) == items
            assert (await cluster.ask("n2", "stats"))["replicator"]["restamps"] >= before
        unharmed(cluster)


class RawClient:
    """Sends messages as they are, and takes what comes back."""

    def __init__(self, connection, codec):
        self.connection = connection
        self.codec = codec

    async def ask(self, message):
        (answer,) = await self.ask_all([message])
        return answer

    async def ask_all(self, messages):
        """Sends all in one frame; the answers in the order of the questions."""
        now = trio.current_time()
        await self.connection.send(self.codec.encode(FrameHeader(0, 0, 0), messages, now))
        answers = {}
        with trio.fail_after(30):
            while len(answers) < len(messages):
                frame = self.codec.decode(await self.connection.receive(), now)
                for answer in frame.messages:
                    if hasattr(answer, "request_id"):
                        answers[answer.request_id] = answer
        return [answers[message.request_id] for message in messages]


async def raw(cluster, name, check, codec="msgpack"):
    transport = cluster.network.transport("raw")
    codec = Codec(codec)
    async with transport.dial(cluster[name].address, timeout_s=1) as connection:
        await greet(connection, client_hello(77), codec)
        await check(RawClient(connection, codec))
    cluster.network.kill("raw")


@virtual()
async def test_a_frame_full_of_the_smallest_keys_does_not_outgrow_the_frames_between_nodes():
    async with memory_cluster(3) as cluster:

        async def check(client):
            deadline = trio.current_time() + 20
            batches = [[b"%05d" % (part * 1_000 + n) for n in range(1_000)] for part in range(100)]
            writes = [
                Write(number, Level.ALL, deadline, keys, [b"\x01"] * len(keys))
                for number, keys in enumerate(batches)
            ]
            for answer in await client.ask_all(writes):
                assert isinstance(answer, WriteReply)
                assert not answer.failures
            reads = [Read(200 + n, Level.ALL, deadline, keys) for n, keys in enumerate(batches)]
            for answer in await client.ask_all(reads):
                assert isinstance(answer, ReadReply)
                assert not answer.failures

        await raw(cluster, "n1", check)
        unharmed(cluster)


@virtual()
@pytest.mark.parametrize("codec", ["msgpack", "json"])
async def test_requests_whose_answers_would_outgrow_a_frame_fail_alone(codec):
    async with memory_cluster(3, codec=codec, **SMALL) as cluster, cluster.client() as cache:
        await cache.set("key", "value")
        answers = []

        async def check(client):
            deadline = trio.current_time() + 5
            for number, key in enumerate((b"k", b"\x01")):
                write = Write(10 + number, Level.ONE, deadline, [key], [b"\x01" + b"x" * 200])
                answers.append(await client.ask(write))
                reads = Read(20 + number, Level.ALL, deadline, [key] * 1_000)
                answers.append(await client.ask(reads))
            assert isinstance(await client.ask(Read(99, Level.ALL, deadline, [b"key"])), ReadReply)

        await raw(cluster, "n1", check, codec)
        assert all(isinstance(each, WriteReply | ReadReply | Refused) for each in answers)
        assert await cache.get("key", consistency=ALL) == "value"
        unharmed(cluster)


@virtual()
async def test_a_value_that_no_node_takes_is_refused_by_the_node_too():
    async with memory_cluster(3, **SMALL) as cluster:

        async def check(client):
            deadline = trio.current_time() + 5
            body = b"\x01" + b"x" * 30_001
            answer = await client.ask(Write(1, Level.ONE, deadline, [b"key"], [body]))
            assert isinstance(answer, Refused)
            assert "30001 bytes, the limit is 30000" in answer.message

        await raw(cluster, "n1", check)
        unharmed(cluster)


@virtual()
async def test_a_reader_that_takes_nothing_is_cut_off_and_nobody_else_suffers():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("big", b"x" * 500_000)
        transport = cluster.network.transport("raw")
        codec = Codec("msgpack")
        async with transport.dial(cluster["n1"].address, timeout_s=1) as connection:
            await greet(connection, client_hello(77), codec)
            now = trio.current_time()
            for number in range(50):
                message = Read(number, Level.ONE, now + 30, [b"big"])
                await connection.send(codec.encode(FrameHeader(0, 0, 0), [message], now))
            for _ in range(20):
                await trio.sleep(1)
                assert await cache.get("big") == b"x" * 500_000
            assert cluster["n1"].counter("hypercache_dist_connections", kind="client") == 1
        with pytest.raises(Timeout):
            await cache.get("big", timeout=0.000_001)
        unharmed(cluster)
