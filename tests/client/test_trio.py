"""The trio driver and the public cache, over loopback websockets and the simulated network."""

import socket

import pytest
import trio

from actors.testing import run_virtual
from cluster.client import Cache, Consistency, Entry, Stamp, connect
from cluster.core import record as rec
from cluster.core.operations import Failure, FailureCode, Read, ReadReply, Refused, Settled, Write
from cluster.errors import (
    BatchError,
    ConfigError,
    InvalidKey,
    InvalidValue,
    Overloaded,
    Timeout,
    Unavailable,
    ValueTooLarge,
)
from tests.client.fakes import WALL_MS, stamp_at
from tests.client.town import NODES, in_both, mute, town_of, until


@in_both()
async def test_values_go_and_come(town):
    async with town.connect() as cache:
        stamp = await cache.set("user:1", {"name": "Ada"}, ttl=60)
        assert isinstance(stamp, Stamp)
        assert await cache.get("user:1") == {"name": "Ada"}
        assert await cache.get(b"user:1") == {"name": "Ada"}
        entry = await cache.get_entry("user:1")
        assert entry == Entry(
            {"name": "Ada"}, stamp, WALL_MS / 1000 + 60, Consistency.QUORUM, 2, 2, 1
        )
        assert await cache.touch("user:1", 120)
        assert (await cache.get_entry("user:1")).expires_at == WALL_MS / 1000 + 120
        assert await cache.delete("user:1") > stamp
        assert await cache.get("user:1") is None
        assert await cache.get("user:1", default=7) == 7
        assert await cache.get_entry("user:1") is None
        assert not await cache.touch("user:1", 60)


@in_both()
async def test_batches(town):
    async with town.connect() as cache:
        items = {f"k{number}": number for number in range(250)}
        stamps = await cache.set_many(items)
        assert list(stamps) == list(items)
        assert await cache.get_many(items) == items
        assert await cache.get_many(["k1", "absent", "k2", b"k1"]) == {"k1": 1, "k2": 2, b"k1": 1}
        gone = await cache.delete_many(["k1", "k1", b"k1"])
        assert set(gone) == {"k1", b"k1"}
        assert await cache.get_many(["k1", "k2"]) == {"k2": 2}
        assert await cache.get_many([]) == {}
        assert await cache.set_many({}) == {}
        assert await cache.delete_many([]) == {}


@in_both()
async def test_of_two_spellings_of_one_key_the_last_value_is_written(town):
    async with town.connect() as cache:
        stamps = await cache.set_many({"k": 1, b"k": 2})
        assert stamps["k"] == stamps[b"k"]
        assert await cache.get("k") == 2
        assert [message.keys for message in town.requests(Write)] == [[b"k"]]


@in_both()
async def test_a_large_batch_of_large_values_travels_in_many_frames(town):
    async with town.connect(timeout=10.0) as cache:
        items = {f"k{number}": b"v" * 300_000 for number in range(40)}
        await cache.set_many(items)
        assert all(sum(map(len, m.bodies)) < 2**21 for m in town.requests(Write))
        for key, value in items.items():
            assert await cache.get(key) == value


@in_both()
async def test_json_works_as_well(town):
    async with town.connect(codec="json") as cache:
        await cache.set(b"\xff", b"\x00\xff")
        assert await cache.get(b"\xff") == b"\x00\xff"


@in_both()
async def test_many_requests_share_frames_and_one_connection_per_node(town):
    async with town.connect() as cache:
        await until(lambda: cache.statistics().ring_epoch == 1)
        await until(lambda: all(link.state == "up" for link in cache.statistics().links))
        frames_before = sum(len(node.headers) for node in town.nodes)

        async def work(number: int) -> None:
            for turn in range(10):
                await cache.set(f"k{number}", turn)
                assert await cache.get(f"k{number}") == turn

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(work, number)
        frames = sum(len(node.headers) for node in town.nodes) - frames_before
        assert frames < 300, "1,000 operations"
        assert len(cache.statistics().links) == NODES


@in_both()
async def test_a_batch_error_names_what_was_done_and_what_not(town):
    def script(message):
        if isinstance(message, Read) and b"bad" in message.keys:
            index = message.keys.index(b"bad")
            failure = Failure(index, FailureCode.TIMEOUT, "no quorum in time")
            records = [rec.make(stamp_at(5), b"\x02v") for _ in message.keys]
            return ReadReply(message.request_id, records, [failure], 3, 1)
        if isinstance(message, Write) and b"bad" in message.keys:
            return Refused(message.request_id, FailureCode.CLOCK_SKEW, "clock of n2 is ahead")
        return NotImplemented

    for node in town.nodes:
        node.script = script
    async with town.connect() as cache:
        with pytest.raises(BatchError, match=r"1 of 2 keys failed, .*'bad': no quorum") as caught:
            await cache.get_many(["good", "bad"])
        assert caught.value.results == {"good": "v"}
        assert isinstance(caught.value.errors["bad"], Timeout)
        with pytest.raises(BatchError, match="2 of 2") as caught:
            await cache.set_many({"good": 1, "bad": 2})
        assert set(caught.value.errors) == {"good", "bad"}


@in_both(value_max=100)
async def test_bad_arguments_are_refused_before_anything_is_sent(town):
    async with town.connect() as cache:
        with pytest.raises(ValueTooLarge, match="'k' has 101 bytes; the nodes store at most 100"):
            await cache.set("k", b"v" * 101)
        with pytest.raises(ValueTooLarge, match="'k2'"):
            await cache.set_many({"k1": 1, "k2": "x" * 101})
        for key in ("", "k" * 1025, 5):
            with pytest.raises(InvalidKey):
                await cache.get(key)
            with pytest.raises(InvalidKey):
                await cache.set_many({"fine": 1, key: 2})
        with pytest.raises(InvalidValue, match="tuple"):
            await cache.set("k", (1, 2))
        with pytest.raises(InvalidValue, match="ttl"):
            await cache.set("k", 1, ttl=0)
        with pytest.raises(InvalidValue, match="ttl"):
            await cache.touch("k", None)
        with pytest.raises(InvalidValue, match="consistency"):
            await cache.get("k", consistency="ONE")
        with pytest.raises(InvalidValue, match="timeout"):
            await cache.get("k", timeout=0)
        assert town.requests(object) == []
        await cache.set("k", b"v" * 100)


@in_both()
async def test_control_asks_any_node_or_a_certain_one(town):
    async with town.connect() as cache:
        assert await cache.control("ring", key="k") == ["ring", {"key": "k"}]
        await until(lambda: len([x for x in cache.statistics().links if x.state == "up"]) == 3)
        for node, address in zip(town.nodes, town.addresses, strict=True):
            before = len(node.requests)
            await cache.control("status", node=node.node_id)
            await cache.control("status", node=address)
            assert len(node.requests) == before + 2
        with pytest.raises(Unavailable):
            await cache.control("status", node="n9", timeout=0.05)
        with pytest.raises(InvalidValue):
            await cache.control("status", anything=object())
        assert await cache.control("status") == ["status", {}], "the connection goes on"


@in_both()
async def test_a_cancelled_caller_leaves_nothing_behind(town):
    async with town.connect() as cache:
        for node in town.nodes:
            node.script = lambda message: None if isinstance(message, Read) else NotImplemented
        with trio.move_on_after(0.02) as scope:
            await cache.get("k")
        assert scope.cancelled_caught
        statistics = cache.statistics()
        assert statistics.in_flight == 0
        assert sum(link.outstanding for link in statistics.links) == 0
        await cache.set("k", 1)


@in_both(count=1)
async def test_the_deadline_is_kept_and_told(town):
    async with town.connect(timeout=0.5) as cache:
        town.nodes[0].script = mute
        start = trio.current_time()
        with pytest.raises(Timeout, match="n1 had it and gave no answer; whether it took effect"):
            await cache.set("k", 1, timeout=0.1)
        assert 0.1 <= trio.current_time() - start < 0.4
        with pytest.raises(Timeout, match="'k' at ALL"):
            await cache.get("k", consistency=Consistency.ALL)


@in_both()
async def test_goes_on_when_a_node_dies_and_finds_it_again(town):
    async with town.connect(*town.addresses, timeout=5.0) as cache:
        await until(lambda: len([x for x in cache.statistics().links if x.state == "up"]) == 3)
        victim = town.nodes[1]
        town.stop(victim)
        for number in range(20):
            await cache.set(f"k{number}", number)
            assert await cache.get(f"k{number}") == number
        victim.boot += 50
        victim.requests.clear()
        await town.serve(victim, town.addresses[1])
        await until(lambda: all(link.state == "up" for link in cache.statistics().links))
        for number in range(20):
            assert await cache.get(f"k{number}") == number
        assert victim.requests


@in_both()
async def test_a_write_is_repeated_after_a_lost_connection(town):
    async with town.connect(timeout=5.0) as cache:
        lost = []

        def script(message):
            if isinstance(message, Write) and not lost:
                lost.append(message)
                raise ValueError("ends the connection")
            return NotImplemented

        for node in town.nodes:
            node.script = script
        await cache.set("k", 1)
        first, second = town.requests(Write)
        assert first.request_id == second.request_id
        assert cache.statistics().resent_writes == 1


@in_both(count=1)
async def test_no_node_is_unavailable_and_names_each_address(town):
    other = "nowhere:9"
    if town.kind == "websocket":
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            other = f"127.0.0.1:{unused.getsockname()[1]}"
    town.stop(town.nodes[0])
    start = trio.current_time()
    with pytest.raises(Unavailable) as caught:
        async with town.connect(town.addresses[0], other, timeout=0.3):
            pytest.fail("connected to nothing")
    assert 0.3 <= trio.current_time() - start < 2.0
    assert town.addresses[0] in str(caught.value)
    assert other in str(caught.value)


@in_both(reject="clients are not welcome")
async def test_when_every_seed_refuses_there_is_nothing_to_wait_for(town):
    start = trio.current_time()
    with pytest.raises(Unavailable, match="clients are not welcome"):
        async with town.connect(*town.addresses, timeout=10.0):
            pytest.fail("connected to nothing")
    assert trio.current_time() - start < 5.0


@in_both()
async def test_errors_of_the_block_come_out_as_they_are(town):
    with pytest.raises(KeyError, match="mine"):
        async with town.connect():
            raise KeyError("mine")
    with pytest.RaisesGroup(KeyError):
        async with town.connect(), trio.open_nursery():
            raise KeyError("mine")
    with trio.move_on_after(0.05) as scope:
        async with town.connect():
            await trio.sleep_forever()
    assert scope.cancelled_caught


@in_both()
async def test_a_closed_cache_refuses_and_fails_what_waits(town):
    failures = []

    async def wait(cache: Cache, started: trio.Event) -> None:
        started.set()
        try:
            await cache.set("k", 1)
        except Timeout as error:
            failures.append(error)

    for node in town.nodes:
        node.script = mute
    async with trio.open_nursery() as nursery, town.connect() as cache:
        started = trio.Event()
        nursery.start_soon(wait, cache, started)
        await started.wait()
        await until(lambda: bool(town.requests(Write)))
    assert len(failures) == 1
    assert "the client is closed" in str(failures[0])
    with pytest.raises(Unavailable, match="closed"):
        await cache.get("k")


@in_both(count=1)
async def test_nodes_learn_what_is_settled(town):
    async with town.connect() as cache:
        for number in range(300):
            await cache.set("k", number)
        assert town.requests(Settled)


@in_both()
async def test_too_many_callers_are_overloaded_at_once(town):
    async with town.connect() as cache:
        cache._driver.core._flights._in_flight_max = 1
        for node in town.nodes:
            node.script = mute
        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_get, cache)
            await until(lambda: cache.statistics().in_flight == 1)
            with pytest.raises(Overloaded, match="1 operations are in flight"):
                await cache.get("k")
            nursery.cancel_scope.cancel()


async def try_get(cache: Cache) -> None:
    await cache.get("other")


@pytest.mark.parametrize(
    ("seeds", "options", "error"),
    [
        ((), {}, ConfigError),
        (("no-port",), {}, ConfigError),
        (("n1:1",), {"codec": "xml"}, ConfigError),
        (("n1:1",), {"timeout": 0}, InvalidValue),
        (("n1:1",), {"consistency": 2}, InvalidValue),
    ],
)
async def test_bad_arguments_of_connect(seeds, options, error):
    with pytest.raises(error):
        async with connect(*seeds, **options):
            pytest.fail("connected")


def test_the_same_seed_gives_the_same_run():
    def trace() -> list[tuple[float, str]]:
        seen: list[tuple[float, str]] = []

        async def run() -> None:
            async with town_of("memory") as town, town.connect(*town.addresses) as cache:
                await cache.set("k", 0)
                town.stop(town.nodes[0])
                for number in range(30):
                    try:
                        await cache.set(f"k{number}", number)
                    except Timeout as error:
                        seen.append((trio.current_time(), str(error)))
                    seen.append((trio.current_time(), str(cache.statistics())))

        run_virtual(run, seed=11)
        return seen

    first = trace()
    assert len(first) >= 30
    assert first == trace()
