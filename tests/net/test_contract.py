"""What every transport promises, on the real and on the simulated network."""

import functools

import attrs
import pytest
import trio

from cluster.errors import ConnectionLost, HandshakeRefused, ProtocolError
from cluster.net.base import CLOSE_TIMEOUT_S
from cluster.net.greeting import DialledMyselfError, greet, welcome
from cluster.wire.codec import Codec, FrameLimits
from cluster.wire.handshake import LocalNode, client_hello, judge
from cluster.wire.messages import FrameHeader, RingRequest
from tests.net.worlds import KINDS, LIMITS, World, echo, hold, never, run_in, start

FRAME = 64 * 1024


def contract(check):
    """Makes a test per kind of network out of `async def check(world)`."""

    @pytest.mark.parametrize("kind", KINDS)
    def test(kind):
        run_in(kind, check)

    return test


@contract
async def test_frames_arrive_whole_and_in_order(world: World):
    frames = [bytes([n]) * size for n, size in enumerate((0, 1, 125, 126, 65_536, 1024 * 1024))]
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, echo)
        async with world.client.dial(address, timeout_s=5) as connection:
            assert connection.remote == address
            for frame in frames:
                await connection.send(frame)
            assert [await connection.receive() for _ in frames] == frames
            counted = connection.statistics()
        assert counted.frames_sent == counted.frames_received == len(frames)
        assert counted.bytes_sent == counted.bytes_received == sum(map(len, frames))
        nursery.cancel_scope.cancel()


@contract
async def test_what_was_sent_before_closing_is_received(world: World):
    endings = []

    async def collect(connection):
        frames = []
        try:
            while True:
                frames.append(await connection.receive())
        except ConnectionLost as lost:
            endings.append((frames, str(lost)))
            done.set()
            raise

    done = trio.Event()
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, collect)
        async with world.client.dial(address, timeout_s=5) as connection:
            await connection.send(b"one")
            await connection.send(b"two")
            await connection.aclose("had enough")
            with pytest.raises(ConnectionLost, match="had enough"):
                await connection.receive()
            with pytest.raises(ConnectionLost, match="had enough"):
                await connection.send(b"three")
            await connection.aclose("again")
        await done.wait()
        nursery.cancel_scope.cancel()
    ((frames, reason),) = endings
    assert frames == [b"one", b"two"]
    assert "had enough" in reason
    assert world.errors == []


@contract
async def test_a_handler_that_returns_closes(world: World):
    async def answer(connection):
        await connection.send(b"answer")

    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, answer)
        async with world.client.dial(address, timeout_s=5) as connection:
            assert await connection.receive() == b"answer"
            with pytest.raises(ConnectionLost, match=address.split(":")[0]):
                await connection.receive()
            with pytest.raises(ConnectionLost):
                await connection.send(b"late")
        nursery.cancel_scope.cancel()


@contract
async def test_a_failing_handler_ends_only_its_connection(world: World):
    async def fragile(connection):
        while True:
            frame = await connection.receive()
            if frame == b"bad":
                raise ProtocolError("Write.keys: missing")
            if frame == b"bug":
                raise ZeroDivisionError
            await connection.send(frame)

    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, fragile)
        dial = functools.partial(world.client.dial, address, timeout_s=5)
        async with dial() as one, dial() as two, dial() as three:
            await one.send(b"bad")
            with pytest.raises(ConnectionLost, match=r"Write\.keys: missing"):
                await one.receive()
            await two.send(b"bug")
            with pytest.raises(ConnectionLost, match="internal error"):
                await two.receive()
            await three.send(b"fine")
            assert await three.receive() == b"fine"
        nursery.cancel_scope.cancel()
    assert [type(error) for _, error in world.errors] == [ProtocolError, ZeroDivisionError]


@contract
async def test_a_dial_that_fails_says_why(world: World):
    for address, reason in (
        (world.nowhere, "refused"),
        (world.unresolvable, "name"),
        ("nonsense", "host:port"),
    ):
        with pytest.raises(ConnectionLost, match=reason) as caught:
            async with world.client.dial(address, timeout_s=5):
                raise AssertionError("connected")
        assert address in str(caught.value)


@contract
async def test_the_error_of_the_dialler_comes_through_unchanged(world: World):
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, never)
        with pytest.raises(KeyError, match="mine"):
            async with world.client.dial(address, timeout_s=5):
                raise KeyError("mine")
        with trio.CancelScope() as scope:
            async with world.client.dial(address, timeout_s=5):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


@contract
async def test_a_bound_address_is_refused_and_named(world: World):
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, echo)
        with pytest.raises(OSError, match=f"cannot listen on {address}: address already in use"):
            await world.server.serve(address, echo)
        nursery.cancel_scope.cancel()


@contract
async def test_a_stopped_server_frees_its_address_and_tells(world: World):
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            address = await start(nursery, world, never)
            connection = await outer.start(hold, world, address)
            nursery.cancel_scope.cancel()
        with pytest.raises(ConnectionLost):
            await connection.receive()
        await outer.start(functools.partial(world.server.serve, address, echo))
        async with world.client.dial(address, timeout_s=5) as again:
            await again.send(b"x")
            assert await again.receive() == b"x"
        outer.cancel_scope.cancel()


@contract
async def test_a_sender_waits_and_an_interrupted_send_drops_the_connection(world: World):
    drained = []

    async def late(connection):
        await go.wait()
        try:
            while True:
                drained.append(await connection.receive())
        finally:
            done.set()

    go, done = trio.Event(), trio.Event()
    sent = 0
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, late)
        async with world.client.dial(address, timeout_s=5) as connection:
            with trio.move_on_after(0.3) as scope:
                while True:
                    await connection.send(bytes(FRAME))
                    sent += 1
            assert scope.cancelled_caught
            with pytest.raises(ConnectionLost, match="interrupted"):
                await connection.send(b"more")
            go.set()
            await done.wait()
        nursery.cancel_scope.cancel()
    assert sent * FRAME < 32 * 1024 * 1024, "nothing held the sender back"
    assert len(drained) <= sent
    assert {len(frame) for frame in drained} <= {FRAME}, "a frame arrived in part"


@contract
async def test_a_frame_over_the_limit_of_the_receiver_ends_the_connection(world: World):
    world.small_server(10_000)
    reasons = []

    async def handler(connection):
        try:
            await connection.receive()
        except ConnectionLost as lost:
            reasons.append(str(lost))
            raise

    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, handler)
        async with world.client.dial(address, timeout_s=5) as connection:
            await connection.send(bytes(500_000))
            with pytest.raises(ConnectionLost, match=r"1009.*10000") as caught:
                await connection.receive()
            reasons.append(str(caught.value))
        nursery.cancel_scope.cancel()
    assert len(reasons) == 2
    assert all("1009" in reason and "10000" in reason for reason in reasons)


@contract
async def test_a_frame_over_the_own_limit_is_our_mistake(world: World):
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, echo)
        async with world.client.dial(address, timeout_s=5) as connection:
            with pytest.raises(ValueError, match="1048577 bytes"):
                await connection.send(bytes(LIMITS.frame_bytes_max + 1))
            await connection.send(b"still open")
            assert await connection.receive() == b"still open"
        nursery.cancel_scope.cancel()


@contract
async def test_connections_are_limited(world: World):
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, echo)
        for _ in range(LIMITS.connections_max):
            await nursery.start(hold, world, address)
        with pytest.raises(ConnectionLost, match=r"closed by the other side|reset"):
            async with world.client.dial(address, timeout_s=5):
                raise AssertionError("one too many")
        counted = world.server.statistics()
        assert (counted.open, counted.accepted, counted.refused) == (8, 8, 1)
        nursery.cancel_scope.cancel()


@contract
async def test_closing_is_bounded_and_survives_cancellation(world: World):
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, never)
        async with world.client.dial(address, timeout_s=5) as connection:
            started = trio.current_time()
            with trio.CancelScope() as scope:
                scope.cancel()
                await connection.aclose("bye")
            assert trio.current_time() - started < CLOSE_TIMEOUT_S + 1
            with pytest.raises(ConnectionLost, match="bye"):
                await connection.receive()
        nursery.cancel_scope.cancel()


# --------------------------------------------------------------------------- greeting


def node(node_id="n1", boot=7, **changes):
    mine = LocalNode(
        cluster="c",
        node_id=node_id,
        boot=boot,
        virtual_nodes=1024,
        replication_factor=3,
        value_max=1 << 20,
        frame_max=1 << 22,
        address=f"{node_id}:7946",
    )
    return attrs.evolve(mine, **changes)


class Acceptor:
    """A handler that greets, then notes what it learned."""

    def __init__(self, mine, timeout_s=5):
        self.mine, self.timeout_s, self.met = mine, timeout_s, []

    async def __call__(self, connection):
        ring = [1, [["n1", "n1:7946"]]]
        hello, given, codec = await welcome(
            connection, lambda hello: judge(hello, self.mine, ring), FrameLimits(), self.timeout_s
        )
        self.met.append((hello, given, codec.name))
        await connection.receive()


@contract
async def test_greeting(world: World):
    acceptor = Acceptor(node())
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, acceptor)
        for name, hello in (
            ("msgpack", node("n2").hello()),
            ("json", node("n2").hello()),
            ("json", client_hello((1 << 64) - 1)),
        ):
            async with world.client.dial(address, timeout_s=5) as connection:
                given = await greet(connection, hello, Codec(name), 5)
            assert (given.node_id, given.boot, given.version) == ("n1", 7, 1)
            assert given.ring == [1, [["n1", "n1:7946"]]]
            assert acceptor.met.pop() == (hello, given, name)
        nursery.cancel_scope.cancel()


@contract
async def test_a_refusal_is_told_on_both_sides(world: World):
    cases = (
        (node("n2", cluster="other").hello(), HandshakeRefused, "cluster 'c', not 'other'"),
        (node("n2", virtual_nodes=256).hello(), HandshakeRefused, "1024 virtual nodes, not 256"),
        (node("n1", boot=7).hello(), DialledMyselfError, "myself"),
        (node("n1", boot=8).hello(), HandshakeRefused, "taken"),
        (node("n2", version_min=9, version_max=9).hello(), HandshakeRefused, "version: 9 to 9"),
    )
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, Acceptor(node()))
        for hello, kind, reason in cases:
            async with world.client.dial(address, timeout_s=5) as connection:
                with pytest.raises(kind, match=reason) as caught:
                    await greet(connection, hello, Codec(), 5)
                assert type(caught.value) is kind
                with pytest.raises(ConnectionLost):
                    await connection.receive()
            _, error = world.errors.pop()
            assert isinstance(error, HandshakeRefused)
            assert reason in str(error)
        nursery.cancel_scope.cancel()


@contract
async def test_whoever_does_not_say_hello_is_told(world: World):
    codec = Codec()
    request = codec.encode(FrameHeader(0, 0, 0), [RingRequest()], 0)
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, Acceptor(node()))
        for frame, reason in (
            (request, "RingRequest before Hello"),
            (b"\x95\x01", "ends early"),
            (b"GET /", "neither a msgpack nor a JSON frame"),
        ):
            async with world.client.dial(address, timeout_s=5) as connection:
                await connection.send(frame)
                heard = []
                with pytest.raises(ConnectionLost) as caught:
                    await hear(connection, codec, heard)
                assert reason in "".join(heard) + str(caught.value)
            _, error = world.errors.pop()
            assert isinstance(error, ProtocolError)
            assert reason in str(error)
        nursery.cancel_scope.cancel()


async def hear(connection, codec, heard):
    while True:
        answer = codec.decode(await connection.receive(), 0)
        heard += [message.reason for message in answer.messages]


@contract
async def test_silence_in_the_greeting_ends(world: World):
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, Acceptor(node(), timeout_s=0.1))
        async with world.client.dial(address, timeout_s=5) as connection:
            with pytest.raises(ConnectionLost, match="Hello within"):
                await connection.receive()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        address = await start(nursery, world, never)
        async with world.client.dial(address, timeout_s=5) as connection:
            with pytest.raises(ConnectionLost, match="did not answer Hello"):
                await greet(connection, client_hello(1), Codec(), 0.1)
        nursery.cancel_scope.cancel()
