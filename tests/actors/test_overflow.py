# ruff: noqa: ARG002  # signatures of behaviours and callbacks
"""Full mailboxes: refusing, dropping, overtaking, waiting for room."""

import pytest
import trio
import trio.lowlevel

from actors import (
    ActorStopped,
    AskRefused,
    Behaviour,
    MailboxFull,
    MailboxSpec,
    OfferInHandler,
    Overflow,
    Request,
)
from actors.testing import running, virtual
from tests.actors.actor_kit import child, system


class Script(Request[object]):
    """An ask that carries its own handler."""

    def __init__(self, run):
        self.run = run

    def __call__(self, behaviour, ctx):
        return self.run(behaviour, ctx)


def answer(value):
    return Script(lambda _, ctx: ctx.reply(value))


@virtual()
async def test_a_full_mailbox_refuses_at_once():
    log = []
    async with running(system(child("a", log, mailbox=MailboxSpec(capacity=2)))) as s:
        ref = s.ref("a")
        s.suspend("a")
        await trio.sleep(0.1)
        assert [ref.tell(n) for n in range(3)] == [True, True, False]
        with pytest.raises(AskRefused) as caught:
            await ref.ask(answer(1))
        assert isinstance(caught.value.error, MailboxFull)
        s.resume("a")
        await trio.sleep(0.1)
        (tree,) = s.introspect().children
        assert (tree.refused, tree.dropped, tree.queue_peak) == (2, 0, 2)
        assert log == ["a started 1", "a 0", "a 1"]
        assert s.dead_letters.total == 0


@pytest.mark.parametrize(
    ("overflow", "handled", "accepted"),
    [
        (Overflow.DROP_NEW, [0, 1], [True, True, False, False]),
        (Overflow.DROP_OLD, [2, 3], [True] * 4),
    ],
)
def test_dropping_mailboxes(overflow, handled, accepted):
    @virtual()
    async def run():
        log = []
        spec = child("a", log, mailbox=MailboxSpec(capacity=2, overflow=overflow))
        async with running(system(spec)) as s:
            s.suspend("a")
            await trio.sleep(0.1)
            assert [s.ref("a").tell(n) for n in range(4)] == accepted
            s.resume("a")
            await trio.sleep(0.1)
            assert log[1:] == [f"a {n}" for n in handled]
            assert {r.outcome for r in s.trace.where(kind="drop")} == {overflow.value}
            assert s.introspect().children[0].dropped == 2

    run()


@virtual()
async def test_dropping_the_oldest_before_the_owner_has_woken():
    """The first message is already handed to the waiting task and cannot be taken back."""
    log = []
    spec = child("a", log, mailbox=MailboxSpec(capacity=1, overflow=Overflow.DROP_OLD))
    async with running(system(spec)) as s:
        await trio.sleep(0.1)
        for n in range(5):
            assert s.ref("a").tell(n)
        await trio.sleep(0.1)
        assert log[1:] == ["a 0", "a 4"]


@virtual()
async def test_an_ask_that_is_dropped_for_a_newer_message_is_refused():
    spec = child("a", mailbox=MailboxSpec(capacity=1, overflow=Overflow.DROP_OLD))
    async with running(system(spec)) as s:
        s.suspend("a")
        await trio.sleep(0.1)
        async with trio.open_nursery() as nursery:

            async def ask():
                with pytest.raises(AskRefused):
                    await s.ref("a").ask(answer(1))

            nursery.start_soon(ask)
            await trio.sleep(0.1)
            s.ref("a").tell("newer")


@virtual()
async def test_control_overtakes_a_full_lane_and_takes_no_place():
    log = []
    async with running(system(child("a", log, mailbox=MailboxSpec(capacity=3)))) as s:
        ref = s.ref("a")
        s.suspend("a")
        await trio.sleep(0.1)
        for n in range(3):
            assert ref.tell(n)
        for n in range(100):
            assert ref.tell_control(f"control {n}")
        assert not ref.tell("too much")
        s.resume("a")
        await trio.sleep(0.1)
        assert log[1:] == [f"a control {n}" for n in range(100)] + ["a 0", "a 1", "a 2"]
        assert s.introspect().children[0].queue_len == 0


@virtual()
async def test_offer_waits_for_room_and_not_in_handlers():
    class Slow(Behaviour):
        async def receive(self, ctx, message):
            await trio.sleep(1)

    spec = child("a", factory=Slow, mailbox=MailboxSpec(capacity=1))
    s = system(spec, child("b"))
    times = []
    async with running(s):
        for n in range(4):
            await s.ref("a").offer(n)
            times.append(trio.current_time())
        assert times == [0, 0, 1, 2]

        async def handler(_, ctx):
            with pytest.raises(OfferInHandler):
                await s.ref("a").offer(1)
            ctx.reply("checked")

        assert await s.ref("b").ask(Script(handler)) == "checked"
        for n in range(2):
            s.ref("a").tell(n)

        async def offer():
            with pytest.raises(ActorStopped):
                await s.ref("a").offer("never")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(offer)
            await trio.lowlevel.checkpoint()
            s.stop()


@virtual()
async def test_a_cancelled_offer_leaves_nothing_and_passes_its_turn_on():
    log = []
    s = system(child("a", log, mailbox=MailboxSpec(capacity=1)))
    async with running(s):
        ref = s.ref("a")
        s.suspend("a")
        await trio.sleep(0.1)
        ref.tell("first")

        async def offer(message, limit_s):
            with trio.move_on_after(limit_s):
                await ref.offer(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(offer, "cancelled", 1)
            await trio.sleep(0.1)
            nursery.start_soon(offer, "second", 10)
            await trio.sleep(2)
            s.resume("a")
        await trio.sleep(0.1)
        assert log[1:] == ["a first", "a second"]


@virtual()
async def test_a_mailbox_is_bounded_by_weight_too():
    spec = child("a", mailbox=MailboxSpec(capacity=100, weigh=len, weight_max=10))
    async with running(system(spec)) as s:
        s.suspend("a")
        await trio.sleep(0.1)
        ref = s.ref("a")
        assert ref.tell("x" * 50)  # heavier than the limit, but the lane was empty
        assert not ref.tell("y")
        s.resume("a")
        await trio.sleep(0.1)
        s.suspend("a")
        await trio.sleep(0.1)
        assert [ref.tell("12345"), ref.tell("12345"), ref.tell("1")] == [True, True, False]
        assert s.introspect().children[0].queue_weight == 10
        assert [r.bytes for r in s.trace.where(kind="send")] == [50, 5, 5]
