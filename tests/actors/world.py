"""A small world of actors with crashes, timers, helpers and asks; prints the hash of its trace.

Run as a script with a seed, by tests that compare processes.
"""

import hashlib
import random
import sys
from typing import Any

import msgpack
import trio

from actors import (
    ActorSystem,
    AskError,
    Backoff,
    Behaviour,
    ChildSpec,
    Context,
    MailboxSpec,
    Overflow,
    SupervisorSpec,
)
from actors.testing import run_virtual, running
from tests.actors.actor_kit import Get

NAMES = tuple("abcde")


class Gossip(Behaviour[Any]):
    """Tells, asks, sets timers, starts helpers and crashes, all by its own dice."""

    async def started(self, ctx: Context[Any]) -> None:
        ctx.set_timer("tick", ctx.rng.random(), "tick")

    async def receive(self, ctx: Context[Any], message: Any) -> None:
        dice = ctx.rng.random()
        if isinstance(message, Get):
            await trio.sleep(dice / 10)
            ctx.reply(message.number)
            return
        if message == "tick":
            ctx.set_timer("tick", dice, "tick")
        other = ctx.lookup(ctx.rng.choice(NAMES))
        if dice < 0.05:
            raise ValueError("crash")
        if dice < 0.3:
            ctx.start_task(self.ask, ctx, other, then=lambda outcome: repr(outcome.value))
        for _ in range(ctx.rng.randrange(3)):
            ctx.tell(other, "rumour", chain=ctx.rng.randrange(100))

    async def ask(self, ctx: Context[Any], other: Any) -> int:
        try:
            return await ctx.ask(other, Get(1), timeout_s=0.05)
        except AskError:
            return -1


async def live(seed: int) -> ActorSystem:
    spec = MailboxSpec(capacity=4, overflow=Overflow.DROP_OLD)
    root = SupervisorSpec(
        "", tuple(ChildSpec(name, Gossip, mailbox=spec) for name in NAMES),
        intensity=10_000, backoff=Backoff(max_s=0.5),
    )  # fmt: skip
    system = ActorSystem("n1", root, rng=random.Random(seed))
    async with running(system):
        await trio.sleep(20)
    return system


async def world(seed: int) -> str:
    system = await live(seed)
    packed = b"".join(msgpack.packb(record) for record in system.trace.raw())
    crashes = len(system.trace.where(kind="fail"))
    return f"{hashlib.blake2b(packed).hexdigest()[:16]} {len(system.trace)} {crashes}"


def trace_of(seed: int) -> str:
    return run_virtual(world, seed, seed=seed)


if __name__ == "__main__":
    sys.stdout.write(trace_of(int(sys.argv[1])) + "\n")
