"""Commands for data: get, set, del, mget, mset, touch, ttl.

A key is taken from the command line byte for byte. A value is text unless it comes from standard
input (`--stdin`), which is stored as bytes.
"""

import argparse
import os
from typing import Any

from cluster.cli.exits import DONE, NOT_FOUND
from cluster.cli.parsing import Commands
from cluster.cli.shell import Shell, seconds
from cluster.errors import ConfigError

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    """Add the data commands."""
    get = commands.add("get", _get, "print the value of a key")
    get.add_argument("key", metavar="KEY")

    put = commands.add("set", _set, "set a key to a text, or to what comes from standard input")
    put.add_argument("key", metavar="KEY")
    put.add_argument("value", metavar="VALUE", nargs="?")
    put.add_argument("--stdin", action="store_true", help="store standard input, as bytes")
    _add_ttl(put, "expire after this time (default: never)")

    delete = commands.add("del", _delete, "delete keys")
    delete.add_argument("keys", metavar="KEY", nargs="+")

    mget = commands.add("mget", _mget, "print the values of several keys")
    mget.add_argument("keys", metavar="KEY", nargs="+")

    mset = commands.add("mset", _mset, "set several keys to texts")
    mset.add_argument("pairs", metavar="KEY=VALUE", nargs="+")
    _add_ttl(mset, "expire after this time (default: never)")

    touch = commands.add("touch", _touch, "let a key live longer; never shortens its life")
    touch.add_argument("key", metavar="KEY")
    _add_ttl(touch, "time to live from now", required=True)

    ttl = commands.add("ttl", _ttl, "print the seconds a key has left to live")
    ttl.add_argument("key", metavar="KEY")


def _add_ttl(parser: argparse.ArgumentParser, text: str, *, required: bool = False) -> None:
    parser.add_argument(
        "--ttl", metavar="DURATION", required=required, help=f"{text}; 250ms, 60s, 3h, or seconds"
    )


async def _get(shell: Shell, arguments: argparse.Namespace) -> int:
    key = _key(arguments.key)
    async with shell.cache() as cache:
        entry = await cache.get_entry(key)
    if shell.output.as_json:
        shell.output.json(_entry_json(key, entry))
    elif entry is None:
        shell.output.remark(f"no such key: {arguments.key}")
    else:
        shell.output.raw(entry.value)
    return NOT_FOUND if entry is None else DONE


async def _set(shell: Shell, arguments: argparse.Namespace) -> int:
    key, ttl_s = _key(arguments.key), _ttl_s(arguments.ttl)
    if arguments.stdin == (arguments.value is not None):
        raise ConfigError("set: give either VALUE or --stdin")
    value = shell.read_input() if arguments.stdin else _text(arguments.value)
    async with shell.cache() as cache:
        stamp = await cache.set(key, value, ttl=ttl_s)
    _done(shell, {"key": key, "stamp": str(stamp)})
    return DONE


async def _delete(shell: Shell, arguments: argparse.Namespace) -> int:
    keys = [_key(each) for each in arguments.keys]
    async with shell.cache() as cache:
        await cache.delete_many(keys)
    _done(shell, {"deleted": keys})
    return DONE


async def _mget(shell: Shell, arguments: argparse.Namespace) -> int:
    keys = [_key(each) for each in arguments.keys]
    async with shell.cache() as cache:
        found: dict[bytes, Any] = await cache.get_many(keys)
    if shell.output.as_json:
        shell.output.json(found)
    else:
        shell.output.table(["key", "value"], [(key, found[key]) for key in keys if key in found])
    missing = [key for key in keys if key not in found]
    return NOT_FOUND if missing else DONE


async def _mset(shell: Shell, arguments: argparse.Namespace) -> int:
    ttl_s = _ttl_s(arguments.ttl)
    items: dict[bytes, Any] = {}
    for pair in arguments.pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"mset: {pair!r} is no KEY=VALUE")
        items[_key(key)] = _text(value)
    async with shell.cache() as cache:
        await cache.set_many(items, ttl=ttl_s)
    _done(shell, {"set": list(items)})
    return DONE


async def _touch(shell: Shell, arguments: argparse.Namespace) -> int:
    key, ttl_s = _key(arguments.key), _ttl_s(arguments.ttl)
    async with shell.cache() as cache:
        found = await cache.touch(key, ttl_s)
    if not found:
        shell.output.remark(f"no such key: {arguments.key}")
        return NOT_FOUND
    _done(shell, {"key": key, "touched": True})
    return DONE


async def _ttl(shell: Shell, arguments: argparse.Namespace) -> int:
    key = _key(arguments.key)
    async with shell.cache() as cache:
        entry = await cache.get_entry(key)
    if entry is None:
        shell.output.remark(f"no such key: {arguments.key}")
        return NOT_FOUND
    left_s = None if entry.expires_at is None else max(0.0, entry.expires_at - shell.wall_s())
    if shell.output.as_json:
        shell.output.json({"key": key, "ttl_s": left_s, "expires_at": entry.expires_at})
    else:
        shell.output.line("never" if left_s is None else f"{left_s:.3f}")
    return DONE


def _key(text: str) -> bytes:
    return os.fsencode(text)


def _text(text: str) -> str | bytes:
    """The value as text; as bytes if the shell handed over something that is no UTF-8."""
    raw = os.fsencode(text)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _ttl_s(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return seconds(text)
    except ValueError as error:
        raise ConfigError(f"--ttl: {error}") from None


def _entry_json(key: bytes, entry: Any) -> dict[str, Any]:
    if entry is None:
        return {"key": key, "found": False}
    return {
        "key": key,
        "found": True,
        "value": entry.value,
        "stamp": str(entry.stamp),
        "expires_at": entry.expires_at,
        "level": entry.level.name,
        "asked": entry.asked,
        "answered": entry.answered,
        "epoch": entry.epoch,
    }


def _done(shell: Shell, shown: dict[str, Any]) -> None:
    if shell.output.as_json:
        shell.output.json(shown)
    else:
        shell.output.line("OK")
