"""The TCP stream: the kernel first, the scheduler only to wait."""

import socket

import pytest
import trio
import trio.testing

from cluster.net.tcp import TcpStream


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = socket.create_connection(listener.getsockname())
        right, _ = listener.accept()
    streams = TcpStream(left), TcpStream(right)
    yield streams
    for stream in streams:
        stream.close()


async def test_what_is_sent_arrives(pair):
    left, right = pair
    await left.send_all(b"hello")
    assert await right.receive_some() == b"hello"


async def test_a_send_that_need_not_wait_passes_no_checkpoint(pair):
    with trio.testing.assert_no_checkpoints():
        await pair[0].send_all(b"x" * 100)


async def test_a_full_buffer_waits_for_the_reader(pair):
    left, right = pair
    data = bytes(range(256)) * 16_384
    got = bytearray()

    async def read():
        while len(got) < len(data):
            got.extend(await right.receive_some(100_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await left.send_all(data)
    assert got == data


async def test_after_a_full_read_the_rest_comes_without_waiting(pair):
    left, right = pair
    await left.send_all(b"abcdef")
    assert await right.receive_some(3) == b"abc"
    assert await right.receive_some(3) == b"def"


async def test_the_end_of_the_stream_is_empty_bytes(pair):
    left, right = pair
    await left.send_all(b"last")
    await left.send_eof()
    assert await right.receive_some() == b"last"
    assert await right.receive_some() == b""
    await right.send_all(b"still")
    assert await left.receive_some() == b"still"


async def test_a_gone_reader_breaks_the_sender(pair):
    left, right = pair
    right.close()
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BrokenResourceError):
        await left.send_all(b"x" * 10_000_000)


async def test_closing_wakes_who_waits(pair):
    left, _ = pair

    async def read():
        with pytest.raises(trio.ClosedResourceError):
            await left.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        left.close()
    for use in (left.receive_some, left.send_eof, left.wait_send_all_might_not_block):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    with pytest.raises(trio.ClosedResourceError):
        await left.send_all(b"x")


async def test_two_senders_are_a_bug_that_is_told(pair):
    left, right = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.send_all, b"x" * 10_000_000)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await left.send_all(b"y")
        nursery.cancel_scope.cancel()
    right.close()


async def test_a_reader_that_takes_nothing_for_long_breaks_the_connection(pair, mock_clock):
    mock_clock.autojump_threshold = 0
    with pytest.raises(trio.BrokenResourceError, match="no bytes taken for 5 s"):
        await pair[0].send_all(b"x" * 10_000_000)
