# ruff: noqa: ARG002  # signatures of behaviours and callbacks
"""Ordered start and stop, graces, suspending, fairness."""

import pytest
import trio

from actors import (
    ActorStopped,
    Behaviour,
    MailboxSpec,
    StartFailed,
)
from actors.testing import running, virtual
from tests.actors.actor_kit import Get, Scripted, boom, child, group, system


@virtual()
async def test_starts_in_order_and_stops_in_reverse():
    log = []
    s = system(child("a", log), group("g", child("b", log), child("c", log)), child("d", log))
    async with running(s):
        assert log == ["a started 1", "b started 1", "c started 1", "d started 1"]
        assert s.ref("/n1/g/b").path == "/n1/g/b"
        log.clear()
    assert log == ["d stopping 1", "c stopping 1", "b stopping 1", "a stopping 1"]


@virtual()
async def test_a_cancel_from_outside_stops_in_the_same_order():
    log = []
    s = system(child("a", log), group("", child("b", log)), child("c", log))
    with trio.move_on_after(1):
        await s.run()
    assert log[3:] == ["c stopping 1", "b stopping 1", "a stopping 1"]
    assert s.dead_letters.total == 0


@virtual()
async def test_queues_are_dead_lettered_in_stop_order():
    log = []
    s = system(child("a", log), child("b", log))
    async with running(s):
        for name in "ab":
            s.suspend(name)
        await trio.sleep(0.1)
        for name in "ab":
            s.ref(name).tell(f"mail for {name}")
    assert [letter.message for letter in s.dead_letters.recent] == ["mail for b", "mail for a"]


@virtual()
async def test_a_failed_start_fails_the_boot_and_stops_what_had_started():
    log = []

    class Bad(Behaviour):
        async def started(self, ctx):
            raise OSError("port in use")

    s = system(child("a", log), group("g", child("bad", factory=Bad)), child("c", log))
    with pytest.raises(StartFailed, match="/n1/g/bad did not start: port in use") as caught:
        await s.run()
    assert isinstance(caught.value.__cause__, OSError)
    assert log == ["a started 1", "a stopping 1"]


@virtual()
async def test_a_start_that_takes_too_long_fails():
    class Slow(Behaviour):
        async def started(self, ctx):
            await trio.sleep_forever()

    with pytest.raises(StartFailed, match=r"/n1/a was not ready within 30\.0 s"):
        await system(child("a", factory=Slow)).run()
    assert trio.current_time() == 30


@virtual()
async def test_a_stuck_handler_is_cancelled_exactly_after_its_grace():
    async def stuck(_, ctx):
        await trio.sleep_forever()

    log = []
    s = system(child("a", log, grace_s=2), child("b", log))
    async with running(s):
        ref = s.ref("a")
        ref.tell(stuck)
        await trio.sleep(1)
    assert trio.current_time() == 3
    assert [r.outcome for r in s.trace.where(kind="stop", actor="/n1/a")] == ["killed"]
    assert [(x.message, x.reason.value) for x in s.dead_letters.recent] == [(stuck, "cancelled")]
    assert "a stopping 1" not in log


@virtual()
async def test_an_asker_learns_that_its_request_was_cancelled():
    async def stuck(_, ctx):
        await trio.sleep_forever()

    class Stuck(Behaviour):
        async def receive(self, ctx, message):
            await stuck(self, ctx)

    s = system(child("a", factory=Stuck, grace_s=2))
    async with trio.open_nursery() as nursery:
        await nursery.start(s.run)

        async def ask():
            with pytest.raises(ActorStopped):
                await s.ref("a").ask(Get(), timeout_s=60)
            assert trio.current_time() == 3

        nursery.start_soon(ask)
        await trio.sleep(1)
        s.stop()


@virtual()
async def test_all_graces_together_end_at_the_total_deadline():
    async def stuck(_, ctx):
        await trio.sleep_forever()

    s = system(*(child(name, grace_s=4) for name in "abcd"), stop_timeout_s=10.0)
    async with running(s):
        for name in "abcd":
            s.ref(name).tell(stuck)
        await trio.sleep(1)
    assert trio.current_time() == 11


@virtual()
async def test_cleanup_within_the_grace_may_wait():
    class Polite(Scripted):
        async def stopping(self, ctx):
            await trio.sleep(1)
            self.log.append("said goodbye")

    log = []
    async with running(system(child("a", factory=lambda: Polite("a", log), grace_s=2))):
        pass
    assert log[-1] == "said goodbye"
    assert trio.current_time() == 1


@virtual()
async def test_a_stop_during_the_start_of_the_tree():
    log = []

    class Slow(Scripted):
        async def started(self, ctx):
            await trio.sleep(3)
            await super().started(ctx)

    s = system(child("a", log), child("slow", factory=lambda: Slow("slow", log)), child("c", log))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(s.run)
        await trio.sleep(1)
        s.stop()
    assert log == ["a started 1", "slow started 1", "slow stopping 1", "a stopping 1"]


@virtual()
async def test_a_stop_before_the_start():
    log = []
    s = system(child("a", log))
    s.stop()
    await s.run()
    assert log == []


@virtual()
async def test_suspend_holds_the_mail_after_the_message_in_hand_and_survives_a_restart():
    log = []
    async with running(system(child("a", log))) as s:

        async def slow(_, ctx):
            await trio.sleep(1)
            log.append("in hand")

        ref = s.ref("a")
        ref.tell(slow)
        ref.tell("later")
        await trio.sleep(0.5)
        s.suspend("a")
        s.suspend("a")
        await trio.sleep(1)
        assert log == ["a started 1", "in hand"]
        assert s.introspect().children[0].state == "suspended"
        s.resume("a")
        await trio.sleep(0.1)
        assert log[-1] == "a later"
        ref.tell(boom)
        s.suspend("a")
        await trio.sleep(1)
        ref.tell("held")
        await trio.sleep(1)
        assert "a held" not in log
        s.resume("a")
        await trio.sleep(1)
        assert log[-1] == "a held"


@virtual()
async def test_slow_handlers_are_told():
    slow = []
    async with running(system(child("a"), on_slow=slow.append)) as s:

        async def handler(_, ctx):
            await trio.sleep(0.2)

        s.ref("a").tell(handler)
        s.ref("a").tell("quick")
        await trio.sleep(1)
    assert [(x.path, x.type, round(x.took_s, 6)) for x in slow] == [("/n1/a", "function", 0.2)]


@virtual()
async def test_a_bystander_gets_its_turns_during_a_flood():
    turns = []
    spec = child("a", mailbox=MailboxSpec(capacity=20_000))
    async with running(system(spec)) as s:
        for _ in range(10_000):
            s.ref("a").tell(lambda *_: None)
        done = trio.Event()
        s.ref("a").tell(lambda *_: done.set())

        async def bystander():
            while not done.is_set():
                turns.append(None)
                await trio.lowlevel.checkpoint()

        await bystander()
    assert len(turns) >= 10_000 / 64


@virtual()
async def test_settled_runs_once_per_batch_and_may_wait():
    batches = []

    class Batching(Behaviour):
        def __init__(self):
            self.out = []

        def receive(self, ctx, message):
            self.out.append(message)

        async def settled(self, ctx):
            if self.out:
                await trio.sleep(1)
                batches.append(len(self.out))
                self.out = []

    spec = child("a", factory=Batching)
    async with running(system(spec)) as s:
        for n in range(100):
            s.ref("a").tell(n)
        await trio.sleep(5)
        # The first was handed to the waiting task; it drains up to the budget with the others.
        assert batches == [64, 36]
