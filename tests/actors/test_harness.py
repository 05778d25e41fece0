# ruff: noqa: ARG005  # signatures of callbacks
"""The harness: a behaviour without trio."""

import pytest
import trio

from actors import AskFailed, Behaviour, ChildSpec, NoReply, NotAnAsk, Outcome
from actors.testing import Harness, HarnessError, Told
from tests.actors.actor_kit import Get


class Everything(Behaviour):
    """Does whatever it is told."""

    async def started(self, ctx):
        ctx.set_timer("tick", 2, "tick")

    def receive(self, ctx, message):
        if isinstance(message, Get):
            ctx.reply(message.number) if message.number else ctx.take_reply()
        elif callable(message):
            return message(ctx)
        else:
            ctx.tell(ctx.lookup("peer"), message)
        return None

    def settled(self, ctx):
        ctx.note("batch", bytes=3)
        ctx.notes("request", [4, 5], message_id=None, cause=6)

    async def stopping(self, ctx):
        ctx.lookup("peer").tell_control("bye")


def harness():
    h = Harness(Everything())
    h.start()
    return h


def test_what_is_told_is_recorded():
    h = harness()
    h.deliver("hello", chain=4)
    assert h.take_told() == [Told("/test/peer", "hello", 4)]
    assert h.told == []
    h.ref("peer").accepts = False
    h.deliver("refused")
    assert h.told == []
    h.stop()
    assert h.told == [Told("/test/peer", "bye", 0, control=True)]
    h.settle()
    assert h.world.notes[0]["bytes"] == 3
    noted = [(note["message_id"], note["cause"], note["chain"]) for note in h.world.notes[1:3]]
    assert noted == [(4, 6, 4), (5, 6, 5)]


def test_time_passes_only_by_advance_and_fires_timers_in_order():
    h = harness()
    h.deliver(lambda ctx: ctx.set_timer("soon", 1, "soon"))
    h.deliver(lambda ctx: ctx.set_timer("gone", 1, "gone"))
    h.deliver(lambda ctx: ctx.cancel_timer("gone"))
    h.advance(0.5)
    assert h.told == []
    assert h.timers == {"tick": (2.0, "tick"), "soon": (1.0, "soon")}
    h.advance(10)
    assert [told.message for told in h.told] == ["soon", "tick"]
    assert h.now == 10.5
    with pytest.raises(HarnessError, match="no timer 'tick'"):
        h.fire("tick")


def test_asks_are_answered_or_it_is_said():
    h = harness()
    assert h.request(Get(3)).value == 3
    kept = h.request(Get(0))
    assert kept.taken
    assert kept.open
    with pytest.raises(NoReply):
        h.request(lambda ctx: None)
    with pytest.raises(NotAnAsk):
        h.deliver(lambda ctx: ctx.reply(1))
    failed = h.request(lambda ctx: ctx.fail(KeyError("x")))
    assert isinstance(failed.error, KeyError)
    assert not failed.send(1)


def test_asks_of_others_get_what_was_arranged():
    h = harness()
    h.on_ask("peer", lambda request: request.number * 2)
    seen = []

    async def ask(ctx):
        seen.append(await ctx.ask(ctx.lookup("peer"), Get(4)))

    h.deliver(ask)
    assert seen == [8]
    h.on_ask("peer", lambda request: OSError("down"))
    with pytest.raises(AskFailed, match="down"):
        h.deliver(ask)

    async def ask_another(ctx):
        await ctx.ask(ctx.lookup("other"), Get(4))

    with pytest.raises(HarnessError, match="has no on_ask"):
        h.deliver(ask_another)


def test_helpers_watches_and_children_are_recorded():
    h = harness()

    async def dial():
        raise AssertionError("it is never run")

    def script(ctx):
        ctx.start_task(dial, then=lambda outcome: f"dialled {outcome.value}")
        ctx.watch(ctx.lookup("peer"), "peer ended")
        assert ctx.start_child(ChildSpec("kid", Everything)).path == "/test/actor/kid"
        ctx.stop()

    h.deliver(script)
    assert [task.name for task in h.tasks] == ["dial"]
    h.finish_task("dial", Outcome(7))
    assert h.told[-1].message == "dialled 7"
    with pytest.raises(HarnessError, match="no helper 'dial'"):
        h.finish_task("dial", Outcome(7))
    assert h.world.watches == [("/test/peer", "peer ended")]
    assert list(h.world.children) == ["kid"]
    assert h.world.stopped


def test_a_handler_that_waits_fails_the_test():
    async def wait(ctx):
        await trio.lowlevel.cancel_shielded_checkpoint()

    with pytest.raises(HarnessError, match="waits for something"):
        harness().deliver(wait)
    with pytest.raises(HarnessError, match="there is no system"):
        harness().deliver(lambda ctx: ctx.system)
