"""What only real sockets can do: half frames, half-open handshakes, huge announcements, IPv6."""

import functools
import socket
import struct
import tracemalloc

import pytest
import trio

from cluster.errors import ConnectionLost
from cluster.net.base import BadFrame
from cluster.net.websocket import WebSocketTransport
from tests.net.worlds import LIMITS, TEST_TIMEOUT_S, echo, never

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, BINARY, MASKED, LENGTH16, LENGTH64 = 0x81, 0x82, 0x80, 126, 127
MASK = bytes(4)


@pytest.fixture
def errors():
    return []


@pytest.fixture
def transport(errors):
    return WebSocketTransport(LIMITS, on_error=lambda _remote, error: errors.append(error))


async def serve(nursery, transport, handler, bind="127.0.0.1:0"):
    return await nursery.start(functools.partial(transport.serve, bind, handler))


async def upgraded(address):
    """A raw TCP stream on which the websocket handshake is done."""
    host, port = address.rsplit(":", 1)
    stream = await trio.open_tcp_stream(host, int(port))
    await stream.send_all(UPGRADE)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await stream.receive_some(1)
    assert answer.startswith(b"HTTP/1.1 101")
    return stream


class Witness:
    """A handler that echoes and notes how each connection ended."""

    def __init__(self):
        self.frames, self.reasons, self.ended = [], [], trio.Event()

    async def __call__(self, connection):
        try:
            while True:
                frame = await connection.receive()
                self.frames.append(frame)
                await connection.send(frame)
        except ConnectionLost as lost:
            self.reasons.append(str(lost))
            self.ended.set()
            raise


async def test_a_client_killed_in_the_middle_of_a_frame_leaves_nothing(transport, errors):
    witness = Witness()
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            address = await serve(nursery, transport, witness)
            async with transport.dial(address, timeout_s=5) as other:
                stream = await upgraded(address)
                head = bytes((BINARY, MASKED | LENGTH16)) + struct.pack("!H", 5000) + MASK
                await stream.send_all(head + bytes(1234))
                linger = struct.pack("ii", 1, 0)  # a reset instead of an orderly end
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                stream.socket.close()
                await witness.ended.wait()
                await other.send(b"untouched")
                assert await other.receive() == b"untouched"
                await trio.testing.wait_all_tasks_blocked()
                assert transport.statistics().open == 1
            nursery.cancel_scope.cancel()
    assert witness.frames == [b"untouched"]
    assert "dropped by the other side" in witness.reasons[0]
    assert errors == []


async def test_an_announced_huge_message_allocates_nothing(transport):
    witness = Witness()
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            address = await serve(nursery, transport, witness)
            stream = await upgraded(address)
            tracemalloc.start()
            head = bytes((BINARY, MASKED | LENGTH64)) + struct.pack("!Q", 1 << 40) + MASK
            await stream.send_all(head + bytes(LIMITS.frame_bytes_max + 1))
            await witness.ended.wait()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            farewell = await stream.receive_some(1000)
            await stream.aclose()
            nursery.cancel_scope.cancel()
    assert peak < 8 * LIMITS.frame_bytes_max
    assert farewell[:1] == b"\x88"
    assert struct.unpack("!H", farewell[2:4]) == (1009,)
    assert b"1048576 bytes" in farewell
    assert "1009" in witness.reasons[0]


async def test_a_half_open_handshake_ends_and_holds_up_nobody(transport):
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            address = await serve(nursery, transport, echo)
            host, port = address.split(":")
            silent = [await trio.open_tcp_stream(host, int(port)) for _ in range(3)]
            await silent[0].send_all(UPGRADE[:30])
            async with transport.dial(address, timeout_s=5) as connection:
                await connection.send(b"quick")
                assert await connection.receive() == b"quick"
            for stream in silent:
                assert await stream.receive_some(100) == b""
                await stream.aclose()
            counted = transport.statistics()
            nursery.cancel_scope.cancel()
    assert (counted.opening, counted.failed, counted.accepted) == (0, 3, 1)


async def test_connections_in_the_handshake_are_limited(transport):
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            address = await serve(nursery, transport, echo)
            host, port = address.split(":")
            silent = [await trio.open_tcp_stream(host, int(port)) for _ in range(4)]
            await trio.testing.wait_all_tasks_blocked()
            assert transport.statistics().opening == LIMITS.handshakes_max
            with pytest.raises(ConnectionLost):
                async with transport.dial(address, timeout_s=5):
                    raise AssertionError("one too many")
            assert transport.statistics().refused == 1
            for stream in silent:
                await stream.aclose()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "junk", [b"\x00" * 100, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"A" * 100_000, b"\r\n" * 50]
)
async def test_what_speaks_no_websocket_is_turned_away(transport, errors, junk):
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            address = await serve(nursery, transport, echo)
            host, port = address.split(":")
            stream = await trio.open_tcp_stream(host, int(port))
            try:
                await stream.send_all(junk)
                while await stream.receive_some(1000):
                    pass
            except trio.BrokenResourceError:
                assert len(junk) > 1000, "a short request is answered, not reset"
            await stream.aclose()
            async with transport.dial(address, timeout_s=5) as connection:
                await connection.send(b"fine")
                assert await connection.receive() == b"fine"
            nursery.cancel_scope.cancel()
    assert errors == []


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff\xff\xff\xff",  # reserved bits and an unknown opcode
        bytes((BINARY, 5)) + b"plain",  # not masked
        b"\x80\x80" + MASK,  # a continuation of nothing
        b"\x88\x81" + MASK + b"\x01",  # a close frame of one byte
        b"\x89\xfe" + struct.pack("!H", 200) + MASK + bytes(200),  # a ping of 200 bytes
    ],
)
async def test_broken_framing_ends_only_that_connection(transport, errors, junk):
    witness = Witness()
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            address = await serve(nursery, transport, witness)
            async with transport.dial(address, timeout_s=5) as other:
                stream = await upgraded(address)
                await stream.send_all(junk)
                await witness.ended.wait()
                await stream.aclose()
                await other.send(b"untouched")
                assert await other.receive() == b"untouched"
            nursery.cancel_scope.cancel()
    assert [type(error) for error in errors] == [BadFrame]


async def test_text_messages_are_refused(transport):
    witness = Witness()
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            address = await serve(nursery, transport, witness)
            stream = await upgraded(address)
            await stream.send_all(bytes((TEXT, MASKED | 4)) + MASK + b"text")
            farewell = await stream.receive_some(1000)
            await stream.aclose()
            nursery.cancel_scope.cancel()
    assert struct.unpack("!H", farewell[2:4]) == (1003,)
    assert b"binary" in farewell


async def test_a_dialled_server_that_never_answers_or_hangs_up(transport):
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            for handle, reason in (
                (never, "no answer within 0.2 s"),
                (hang_up, "closed by the other side before the websocket handshake"),
                (answer_404, "HTTP status 404"),
            ):
                (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
                nursery.start_soon(trio.serve_listeners, handle, [listener])
                address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
                with pytest.raises(ConnectionLost, match=reason):
                    async with transport.dial(address, timeout_s=0.2):
                        raise AssertionError("connected")
            nursery.cancel_scope.cancel()


async def hang_up(stream):
    await stream.receive_some(1000)
    await stream.aclose()


async def answer_404(stream):
    await stream.receive_some(1000)
    await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    await stream.receive_some(1000)
    await stream.aclose()


async def test_a_handler_that_stopped_reading_does_not_hold_up_the_end(transport):
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            address = await serve(nursery, transport, never)
            async with transport.dial(address, timeout_s=5) as connection:
                with trio.move_on_after(0.1):
                    while True:
                        await connection.send(bytes(100_000))
            nursery.cancel_scope.cancel()


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
async def test_ipv6(transport):
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            address = await serve(nursery, transport, echo, "[::1]:0")
            assert address.startswith("[::1]:")
            async with transport.dial(address, timeout_s=5) as connection:
                await connection.send(b"six")
                assert await connection.receive() == b"six"
            nursery.cancel_scope.cancel()


async def test_a_name_with_several_addresses_is_served_on_one_free_port(transport):
    with trio.fail_after(TEST_TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            address = await serve(nursery, transport, echo, "localhost:0")
            async with transport.dial(address, timeout_s=5) as connection:
                await connection.send(b"here")
                assert await connection.receive() == b"here"
            nursery.cancel_scope.cancel()
