# signatures of behaviours and callbacks
"""Tell, ask and offer: five ends of an ask, and no other."""

import pytest
import trio
import trio.lowlevel

from actors import (
    ActorStopped,
    AskCycle,
    AskFailed,
    AskTimeout,
    Behaviour,
    NoReply,
    NotAnAsk,
    Request,
)
from actors.testing import running, virtual
from tests.actors.actor_kit import Get, boom, child, system


class Script(Request[object]):
    """An ask that carries its own handler."""

    def __init__(self, run):
        self.run = run

    def __call__(self, behaviour, ctx):
        return self.run(behaviour, ctx)


def answer(value):
    return Script(lambda _, ctx: ctx.reply(value))


@virtual()
async def test_an_ask_gets_its_value():
    async with running(system(child("a"))) as s:
        assert await s.ref("a").ask(answer(42)) == 42
        assert [r.outcome for r in s.trace.where(kind="reply")] == ["ok"]


@virtual()
async def test_fail_and_a_crash_fail_the_ask_with_the_cause():
    async with running(system(child("a"))) as s:
        error = KeyError("x")
        with pytest.raises(AskFailed, match="/n1/a failed the request: KeyError") as caught:
            await s.ref("a").ask(Script(lambda _, ctx: ctx.fail(error)))
        assert caught.value.error is error
        before = trio.current_time()
        with pytest.raises(AskFailed) as caught:
            await s.ref("a").ask(Script(boom))
        assert isinstance(caught.value.__cause__, ValueError)
        assert trio.current_time() == before  # at the same instant, not at a deadline
        (letter,) = s.dead_letters.recent
        assert letter.reason.value == "crashed"
        assert isinstance(letter.error, ValueError)


@virtual()
async def test_an_ask_without_answer_ends_at_its_deadline_and_the_late_reply_is_counted():
    async with running(system(child("a"))) as s:
        kept = []
        with pytest.raises(AskTimeout, match=r"no answer from /n1/a within 2\.000 s"):
            await s.ref("a").ask(Script(lambda _, ctx: kept.append(ctx.take_reply())), timeout_s=2)
        assert trio.current_time() == 2
        assert not kept[0].send(1)
        assert not kept[0].send(2)
        assert len(s.trace.where(kind="late")) == 2
        (tree,) = s.introspect().children
        assert tree.late_replies == 2
        assert [r.outcome for r in s.trace.where(kind="expire")] == ["timeout"]


@virtual()
async def test_a_second_answer_is_late_and_a_slot_kept_twice_is_a_mistake():
    async with running(system(child("a"))) as s:

        def twice(_, ctx):
            ctx.reply(1)
            with pytest.raises(NotAnAsk):
                ctx.reply(2)

        assert await s.ref("a").ask(Script(twice)) == 1

        def tell_only(_, ctx):
            with pytest.raises(NotAnAsk):
                ctx.take_reply()

        assert s.ref("a").tell(tell_only)


@virtual()
async def test_an_expired_ask_is_dropped_unhandled():
    log = []
    async with running(system(child("a", log))) as s:
        s.suspend("a")
        with pytest.raises(AskTimeout):
            await s.ref("a").ask(Script(lambda *_: log.append("handled")), timeout_s=1)
        s.resume("a")
        await trio.sleep(1)
        assert "handled" not in log
        assert [r.outcome for r in s.trace.where(kind="drop")] == ["expired"]


@virtual()
async def test_a_nested_ask_ends_with_the_outer_one():
    async with running(system(child("a"), child("b"))) as s:
        seen = []

        async def nested(_, ctx):
            try:
                await ctx.ask(s.ref("b"), Script(lambda _, c: c.take_reply()), timeout_s=60)
            except AskTimeout:
                seen.append(trio.current_time())
                raise

        with pytest.raises((AskTimeout, AskFailed)):
            await s.ref("a").ask(Script(nested), timeout_s=3)
        await trio.sleep(1)
        assert seen == [3.0]


@virtual()
async def test_an_ask_in_a_cancelled_scope_is_cancelled_and_never_handled():
    log = []
    async with running(system(child("a", log))) as s:
        with trio.move_on_after(0):
            await s.ref("a").ask(Script(lambda *_: log.append("handled")))
        await trio.sleep(1)
        assert "handled" not in log
        assert [r.outcome for r in s.trace.where(kind="expire")] == ["timeout"]


@virtual()
async def test_three_queued_asks_all_learn_of_the_stop():
    async with running(system(child("a"))) as s:
        ends = []
        ref = s.ref("a")

        async def ask():
            with pytest.raises(ActorStopped, match="/n1/a has stopped"):
                await ref.ask(answer(1))
            ends.append(trio.current_time())

        s.suspend("a")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
            await trio.sleep(1)
            s.stop()
        assert ends == [1.0, 1.0, 1.0]
        await ask()  # to an actor that has ended


@virtual()
async def test_mail_for_an_ended_actor_is_a_dead_letter():
    s = system(child("a"))
    async with running(s):
        ref = s.ref("a")
        ref.tell("handled")
        await trio.sleep(0.1)
        s.suspend("a")
        ref.tell("queued")
    assert not ref.tell("late")
    assert not ref.tell_control("late, too")
    assert [(x.message, x.reason.value) for x in s.dead_letters.recent] == [
        ("queued", "queued"),
        ("late", "ended"),
        ("late, too", "ended"),
    ]
    assert len(s.trace.where(kind="dead")) == s.dead_letters.total == 3


@virtual()
async def test_a_handler_that_forgets_to_answer_crashes():
    crashes = []
    async with running(system(child("a"), on_crash=crashes.append)) as s:
        with pytest.raises(AskFailed) as caught:
            await s.ref("a").ask(Script(lambda *_: None))
        assert isinstance(caught.value.error, NoReply)
    (report,) = crashes
    assert report.path == "/n1/a"
    assert report.message_type == "Script"
    assert [r.kind for r in report.records] == ["start", "send", "deliver", "fail"]


@virtual()
async def test_a_kept_reply_ends_with_its_incarnation():
    async with running(system(child("a"))) as s, trio.open_nursery() as nursery:
        nursery.start_soon(crash_soon, s.ref("a"))
        with pytest.raises(AskFailed, match="ValueError: boom"):
            await s.ref("a").ask(Script(lambda _, ctx: ctx.take_reply()), timeout_s=60)
        assert trio.current_time() == 1


async def crash_soon(ref):
    await trio.sleep(1)
    ref.tell(boom)


@virtual()
async def test_a_cycle_fails_at_once():
    async with running(system(child("a"), child("b"))) as s:
        a, b = s.ref("a"), s.ref("b")

        async def back(_, ctx):
            with pytest.raises(AskCycle, match="/n1/b asks /n1/a, which is waiting for /n1/b"):
                await ctx.ask(a, answer(1))
            ctx.reply("refused")

        async def forth(_, ctx):
            ctx.reply(await ctx.ask(b, Script(back)))

        assert await a.ask(Script(forth)) == "refused"
        assert trio.current_time() == 0
        assert "cycle" in [r.outcome for r in s.trace.where(kind="reply")]


@virtual()
async def test_two_crossed_asks_fail_at_once():
    async with running(system(child("a"), child("b"))) as s:
        refused = []

        def crossed(other):
            async def run(_, ctx):
                try:
                    await ctx.ask(s.ref(other), answer(1))
                except AskCycle as error:
                    refused.append(error.asker)
                ctx.reply(None)

            return Script(run)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.ref("a").ask, crossed("b"))
            nursery.start_soon(s.ref("b").ask, crossed("a"))
        assert len(refused) == 1
        assert trio.current_time() == 0


@virtual()
async def test_a_cycle_through_one_of_several_waits_is_found_too():
    async with running(system(child("a"), child("b"), child("c"))) as s:
        found = []

        async def fan_out(_, ctx):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ctx.ask, s.ref("b"), Script(slow))
                nursery.start_soon(ctx.ask, s.ref("c"), Script(back))
            ctx.reply(None)

        async def slow(_, ctx):
            await trio.sleep(1)
            ctx.reply(None)

        async def back(_, ctx):
            with pytest.raises(AskCycle):
                await ctx.ask(s.ref("a"), answer(1))
            found.append(ctx.path)
            ctx.reply(None)

        await s.ref("a").ask(Script(fan_out))
        assert found == ["/n1/c"]


@virtual()
async def test_an_actor_that_asks_itself_is_a_cycle_and_a_helper_that_does_is_none():
    async with running(system(child("a"))) as s:

        async def self_ask(_, ctx):
            with pytest.raises(AskCycle):
                await ctx.ask(ctx.ref, answer(1))
            ctx.reply("refused")

        def by_helper(_, ctx):
            slot = ctx.take_reply()

            async def helper():
                slot.send(await ctx.ask(ctx.ref, answer(7)))

            ctx.start_task(helper)

        assert await s.ref("a").ask(Script(self_ask)) == "refused"
        assert await s.ref("a").ask(Script(by_helper)) == 7


@virtual()
async def test_requests_carry_their_type():
    async with running(system(child("a", factory=Doubler))) as s:
        answer: int = await s.ref("a").ask(Get(4))
        assert answer == 8


class Doubler(Behaviour[Get]):
    def receive(self, ctx, message):
        ctx.reply(message.number * 2)
