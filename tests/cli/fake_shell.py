"""The surroundings of a command without a cluster: a dict as cache, plain functions as nodes."""

import io
from contextlib import asynccontextmanager

import attrs
import trio

from cluster.cli.main import parser, run_command
from cluster.cli.output import Output
from cluster.cli.shell import ClientOptions, Shell
from cluster.client import Entry, Stamp
from cluster.core.values import Level
from cluster.errors import Unavailable
from cluster.options import resolve

STAMP = Stamp(bytes(range(16)))
NOW_S = 1000.0


@attrs.define
class FakeCache:
    """Key bytes to (value, expires_at); `fails` is raised by everything."""

    data: dict = attrs.field(factory=dict)
    fails: Exception | None = None
    opened: list = attrs.field(factory=list)

    @asynccontextmanager
    async def connect(self, *targets, consistency, timeout):  # noqa: ASYNC109 - as the SDK has it
        self.opened.append((targets, consistency, timeout))
        await trio.lowlevel.checkpoint()
        if self.fails is not None:
            raise self.fails
        yield self

    async def get_entry(self, key):
        await trio.lowlevel.checkpoint()
        if key not in self.data:
            return None
        value, expires_at = self.data[key]
        return Entry(value, STAMP, expires_at, Level.QUORUM, 3, 2, 7)

    async def get_many(self, keys):
        await trio.lowlevel.checkpoint()
        return {key: self.data[key][0] for key in keys if key in self.data}

    async def set(self, key, value, ttl=None):
        await self.set_many({key: value}, ttl)
        return STAMP

    async def set_many(self, items, ttl=None):
        await trio.lowlevel.checkpoint()
        expires_at = None if ttl is None else NOW_S + ttl
        self.data |= {key: (value, expires_at) for key, value in items.items()}

    async def delete_many(self, keys):
        await trio.lowlevel.checkpoint()
        for key in keys:
            self.data.pop(key, None)

    async def touch(self, key, ttl):
        await trio.lowlevel.checkpoint()
        if key in self.data:
            self.data[key] = (self.data[key][0], NOW_S + ttl)
        return key in self.data


@attrs.define
class Ran:
    code: int
    out: bytes
    err: str


@attrs.define
class World:
    """Runs commands against a fake cache, and fake nodes: address -> topic -> body or function."""

    cache: FakeCache = attrs.field(factory=FakeCache)
    nodes: dict = attrs.field(factory=dict)
    stdin: bytes = b""
    environment: dict = attrs.field(factory=dict)

    async def ask(self, address, topic, arguments, timeout_s):
        assert timeout_s > 0
        await trio.lowlevel.checkpoint()
        if address not in self.nodes:
            raise Unavailable(f"cannot connect to {address}")
        body = self.nodes[address][topic]
        if isinstance(body, Exception):
            raise body
        return body(**arguments) if callable(body) else body

    async def run(self, *arguments, for_people=False):
        parsed = parser().parse_args(list(arguments))
        options = resolve(ClientOptions, vars(parsed), self.environment)
        out, err = io.BytesIO(), io.StringIO()
        shell = Shell(
            options=options,
            output=Output(out, err, options.as_json, for_people),
            connect=self.cache.connect,
            ask_node=self.ask,
            read_input=lambda: self.stdin,
            wall_s=lambda: NOW_S,
        )
        code = await run_command(shell, parsed)
        return Ran(code, out.getvalue(), err.getvalue())
