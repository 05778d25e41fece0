# ruff: noqa: ARG002  # signatures of behaviours
"""Handing over: an idle actor that never waits handles mail in the task of the caller."""

import random

import trio

from actors import ActorSystem, Behaviour, ChildSpec, MailboxSpec, SupervisorSpec
from actors.testing import running, virtual


class Quick(Behaviour[object]):
    never_waits = True

    def __init__(self, log):
        self.log = log

    def receive(self, ctx, message):
        if message == "boom":
            raise ValueError("boom")
        if isinstance(message, trio.Event):
            message.set()
        self.log.append((message, trio.lowlevel.current_task().name))
        if callable(message):
            message(ctx)

    def settled(self, ctx):
        self.log.append("settled")


class Slow(Behaviour[object]):
    def __init__(self, log):
        self.log = log

    async def receive(self, ctx, message):
        await trio.sleep(1)
        self.log.append(message)


def made(log, behaviour=Quick, capacity=4):
    spec = ChildSpec("a", lambda: behaviour(log), mailbox=MailboxSpec(capacity=capacity))
    return ActorSystem("n1", SupervisorSpec("", (spec,)), rng=random.Random(0))


@virtual()
async def test_an_idle_actor_has_handled_it_when_the_call_returns():
    log = []
    async with running(made(log)) as s:
        await trio.sleep(1)
        assert s.ref("a").hand_over("x", chain=7)
        assert [entry if isinstance(entry, str) else entry[0] for entry in log] == ["x", "settled"]
        kinds = [(r.kind, r.chain_id) for r in s.trace.chain(7)]
        assert kinds == [("send", 7), ("deliver", 7), ("handle", 7)]


@virtual()
async def test_order_holds_when_mail_waits_already():
    log = []
    async with running(made(log)) as s:
        await trio.sleep(1)
        s.ref("a").tell("first")
        s.ref("a").hand_over("second")
        assert log == [], "not past mail that waits"
        await trio.sleep(1)
        assert [entry[0] for entry in log if entry != "settled"] == ["first", "second"]


@virtual()
async def test_an_actor_whose_handlers_wait_gets_it_by_its_mailbox():
    log = []
    async with running(made(log, Slow)) as s:
        await trio.sleep(1)
        assert s.ref("a").hand_over("x")
        assert log == []
        await trio.sleep(2)
        assert log == ["x"]


@virtual()
async def test_a_suspended_actor_handles_nothing():
    log = []
    async with running(made(log)) as s:
        await trio.sleep(1)
        s.suspend("a")
        assert s.ref("a").hand_over("x")
        assert log == []
        s.resume("a")
        await trio.sleep(1)
        assert log[0][0] == "x"


@virtual()
async def test_a_full_mailbox_refuses():
    log = []
    async with running(made(log, Slow, capacity=1)) as s:
        await trio.sleep(0.1)
        ref = s.ref("a")
        ref.tell("in hand")
        await trio.sleep(0.1)
        assert ref.hand_over("waits")
        assert not ref.hand_over("refused")


@virtual()
async def test_a_crash_is_the_actors_and_not_the_callers():
    log = []
    async with running(made(log)) as s:
        await trio.sleep(1)
        assert s.ref("a").hand_over("boom")
        await trio.sleep(5)
        (letter,) = s.dead_letters.recent
        assert (letter.message, letter.reason.value) == ("boom", "crashed")
        assert s.ref("a").hand_over("after the restart")
        assert log[0][0] == "after the restart"


@virtual()
async def test_what_it_tells_is_caused_by_the_message_and_a_nested_call_waits():
    log = []
    async with running(made(log)) as s:
        await trio.sleep(1)
        ref = s.ref("a")
        ref.hand_over(lambda ctx: ctx.ref.hand_over("nested"))
        assert len([entry for entry in log if entry != "settled"]) == 1, "one message at a time"
        ref.hand_over(lambda ctx: ctx.tell(ctx.ref, "told"), chain=9)
        await trio.sleep(1)
        (handed,) = [r for r in s.trace.chain(9) if r.kind == "deliver" and r.type == "function"]
        (told,) = [r for r in s.trace.chain(9) if r.kind == "send" and r.type == "str"]
        assert told.cause_id == handed.message_id


@virtual()
async def test_an_ended_actor_gets_a_dead_letter():
    log = []
    system = made(log)
    async with running(system) as s:
        ref = s.ref("a")
    assert not ref.hand_over("late")
    assert [letter.message for letter in system.dead_letters.recent] == ["late"]
