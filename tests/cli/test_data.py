"""get, set, del, mget, mset, touch, ttl: what is printed, what is stored, how it ends."""

import json

import pytest

from cluster.core.values import Level
from cluster.errors import (
    BatchError,
    InvalidKey,
    Overloaded,
    Timeout,
    Unavailable,
    ValueTooLarge,
)
from tests.cli.fake_shell import STAMP, World


async def test_set_and_get():
    world = World()
    assert (await world.run("set", "k", "hé")).out == b"OK\n"
    assert world.cache.data == {b"k": ("hé", None)}
    ran = await world.run("get", "k")
    assert (ran.code, ran.out, ran.err) == (0, "hé\n".encode(), "")


async def test_the_shared_options_may_stand_on_both_sides():
    world = World()
    await world.run("set", "k", "v", "--target", "a:1", "--target", "b:2", "--consistency", "one")
    await world.run("--target", "c:3", "--timeout", "250ms", "get", "k")
    await world.run("get", "k", "--timeout", "3")
    world.environment = {"HYPERCACHE_TARGET": "d:4,e:5", "HYPERCACHE_CONSISTENCY": "ALL"}
    await world.run("get", "k")
    assert world.cache.opened == [
        (("a:1", "b:2"), Level.ONE, 2.0),
        (("c:3",), Level.QUORUM, 0.25),
        (("127.0.0.1:7946",), Level.QUORUM, 3.0),
        (("d:4", "e:5"), Level.ALL, 2.0),
    ]


async def test_absent():
    world = World()
    for command in (("get", "k"), ("ttl", "k"), ("touch", "k", "--ttl", "1s")):
        ran = await world.run(*command)
        assert (ran.code, ran.out) == (1, b"")
        assert "no such key: k" in ran.err
    ran = await world.run("get", "k", "--json")
    assert (ran.code, json.loads(ran.out)) == (1, {"key": "k", "found": False})


async def test_values_of_all_kinds_are_printed():
    world = World()
    world.cache.data = {b"b": (b"\x00\xff", None), b"m": ({"a": [1, None]}, None)}
    assert (await world.run("get", "b")).out == b"\x00\xff"
    assert (await world.run("get", "b", for_people=True)).out == b"\x00\xff\n"
    assert json.loads((await world.run("get", "m")).out) == {"a": [1, None]}
    entry = json.loads((await world.run("--json", "get", "b")).out)
    assert entry == {
        "key": "b", "found": True, "value": {"b64": "AP8="}, "stamp": str(STAMP),
        "expires_at": None, "level": "QUORUM", "asked": 3, "answered": 2, "epoch": 7,
    }  # fmt: skip


async def test_bytes_come_from_standard_input():
    world = World(stdin=b"\xff\n")
    assert (await world.run("set", "k", "--stdin")).code == 0
    assert world.cache.data[b"k"] == (b"\xff\n", None)
    for wrong in (("set", "k"), ("set", "k", "v", "--stdin")):
        ran = await world.run(*wrong)
        assert ran.code == 2
        assert "VALUE or --stdin" in ran.err


async def test_what_the_shell_hands_over_is_kept_byte_for_byte():
    world = World()
    await world.run("set", "\udcff", "\udcfe")
    assert world.cache.data == {b"\xff": (b"\xfe", None)}


@pytest.mark.parametrize(("text", "seconds"), [("60", 60), ("1.5s", 1.5), ("2m", 120)])
async def test_ttl(text, seconds):
    world = World()
    await world.run("set", "k", "v", "--ttl", text)
    assert world.cache.data[b"k"] == ("v", 1000.0 + seconds)
    assert (await world.run("ttl", "k")).out == f"{seconds:.3f}\n".encode()
    shown = json.loads((await world.run("ttl", "k", "--json")).out)
    assert shown == {"key": "k", "ttl_s": seconds, "expires_at": 1000.0 + seconds}


async def test_ttl_for_ever():
    world = World()
    await world.run("set", "k", "v")
    assert (await world.run("ttl", "k")).out == b"never\n"
    assert json.loads((await world.run("ttl", "k", "--json")).out)["ttl_s"] is None


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf", "1w"])
async def test_a_bad_ttl(text):
    ran = await World().run("set", "k", "v", f"--ttl={text}")
    assert ran.code == 2
    assert "--ttl" in ran.err


async def test_touch_and_delete():
    world = World()
    await world.run("mset", "a=1", "b=2=3", "c=", "--ttl", "5s")
    assert world.cache.data == {b"a": ("1", 1005.0), b"b": ("2=3", 1005.0), b"c": ("", 1005.0)}
    assert (await world.run("touch", "a", "--ttl", "9s")).out == b"OK\n"
    assert world.cache.data[b"a"] == ("1", 1009.0)
    assert (await world.run("del", "a", "b", "absent")).code == 0
    assert list(world.cache.data) == [b"c"]
    ran = await world.run("mset", "novalue")
    assert ran.code == 2
    assert "'novalue' is no KEY=VALUE" in ran.err


async def test_mget():
    world = World()
    await world.run("mset", "a=1", "b=[red]")
    ran = await world.run("mget", "b", "a")
    assert (ran.code, ran.out) == (0, b"key\tvalue\nb\t[red]\na\t1\n")
    assert json.loads((await world.run("mget", "a", "b", "--json")).out) == {"a": "1", "b": "[red]"}
    ran = await world.run("mget", "a", "absent")
    assert (ran.code, ran.out) == (1, b"key\tvalue\na\t1\n")
    shown = (await world.run("mget", "a", "b", for_people=True)).out.decode()
    assert "[red]" in shown
    assert "┃" in shown


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidKey("empty"), 2),
        (ValueTooLarge("2 MiB"), 2),
        (Unavailable("2 of 3 owners"), 3),
        (Timeout("outcome unknown"), 3),
        (Overloaded("full", 1.0), 3),
        (BatchError("some", {}, {"a": InvalidKey("x"), "b": Timeout("y")}), 3),
        (BatchError("some", {}, {"a": InvalidKey("x")}), 2),
    ],
)
async def test_errors_become_one_line_and_an_exit_code(error, code):
    world = World()
    world.cache.fails = error
    ran = await world.run("get", "k")
    assert (ran.code, ran.out) == (code, b"")
    assert ran.err == f"hypercache: {type(error).__name__}: {error}\n"
    shown = json.loads((await world.run("get", "k", "--json")).err)
    assert (shown["error"], shown["message"]) == (type(error).__name__, str(error))
    assert ("keys" in shown) == isinstance(error, BatchError)
