# ruff: noqa: ARG002, ARG005  # signatures of behaviours and callbacks
"""What comes back to an actor later: timers, outcomes of helpers, ends of others, children."""

import trio

from actors import Behaviour, Restart
from actors.testing import running, virtual
from tests.actors.actor_kit import boom, child, system


@virtual()
async def test_a_timer_comes_once_at_its_time():
    log = []
    async with running(system(child("a", log))) as s:
        s.ref("a").tell(lambda _, ctx: ctx.set_timer("t", 2, "tick"))
        await trio.sleep(1.999)
        assert "a tick" not in log
        await trio.sleep(10)
        assert log.count("a tick") == 1
        (fired,) = s.trace.where(kind="timer")
        assert fired.at == 2
        assert fired.cause_id != 0


@virtual()
async def test_setting_a_key_again_replaces_and_cancelling_drops():
    log = []

    def script(_, ctx):
        ctx.set_timer("t", 1, "first")
        ctx.set_timer("t", 3, "second")
        ctx.set_timer("u", 1, "never")
        ctx.cancel_timer("u")
        ctx.set_timer("v", 5, "late")
        ctx.set_timer("v", 2, "early")

    async with running(system(child("a", log))) as s:
        s.ref("a").tell(script)
        await trio.sleep(0.1)
        assert s.introspect().children[0].timers == 2
        await trio.sleep(10)
        assert log[1:] == ["a early", "a second"]
        assert [r.at for r in s.trace.where(kind="timer")] == [2, 3]


@virtual()
async def test_a_tick_on_its_way_is_void_once_its_key_was_set_or_cancelled():
    log = []

    async def busy(_, ctx):
        ctx.set_timer("t", 1, "old")
        ctx.set_timer("u", 1, "cancelled")
        await trio.sleep(5)  # both fire meanwhile and wait on the control lane
        ctx.set_timer("t", 1, "new")
        ctx.cancel_timer("u")

    async with running(system(child("a", log))) as s:
        s.ref("a").tell(busy)
        await trio.sleep(10)
        assert log[1:] == ["a new"]
        assert len(s.trace.where(kind="timer")) == 3


@virtual()
async def test_timers_overtake_mail_and_end_with_the_incarnation():
    log = []

    async def arm(_, ctx):
        ctx.set_timer("t", 1, "tick")
        ctx.set_timer("u", 5, "of the first incarnation")
        await trio.sleep(2)

    async with running(system(child("a", log))) as s:
        s.ref("a").tell(arm)
        s.ref("a").tell("mail")
        await trio.sleep(3)
        assert log[1:] == ["a tick", "a mail"]
        s.ref("a").tell(boom)
        await trio.sleep(10)
        assert log[3:] == ["a started 2"]


@virtual()
async def test_many_timers_fire_in_order():
    log = []

    def arm(_, ctx):
        for n in (3, 1, 2):
            ctx.set_timer(n, n, n)
        ctx.set_timer("x", 2, "after 2")

    async with running(system(child("a", log))) as s:
        s.ref("a").tell(arm)
        await trio.sleep(5)
        assert log[1:] == ["a 1", "a 2", "a after 2", "a 3"]


@virtual()
async def test_the_outcome_of_a_helper_comes_back():
    log = []

    async def work(seconds):
        await trio.sleep(seconds)
        if seconds == 2:
            raise OSError("no route")
        return seconds

    def start(_, ctx):
        for n in (1, 2):
            ctx.start_task(work, n, then=lambda o: f"{o.value} {o.error!r} {o.ok}")

    async with running(system(child("a", log))) as s:
        s.ref("a").tell(start, chain=5)
        await trio.sleep(0.1)
        assert s.introspect().children[0].helpers == 2
        await trio.sleep(5)
        assert log[1:] == ["a 1 None True", "a None OSError('no route') False"]
        assert s.introspect().children[0].helpers == 0
        script = s.trace.where(kind="send", type="function")[0].message_id
        outcomes = s.trace.where(kind="send", type="str")
        assert {(r.cause_id, r.chain_id) for r in outcomes} == {(script, 5)}


@virtual()
async def test_a_helper_without_then_crashes_its_actor():
    log = []

    async def work():
        await trio.sleep(1)
        raise OSError("no route")

    crashes = []
    async with running(system(child("a", log), on_crash=crashes.append)) as s:
        s.ref("a").tell(lambda _, ctx: ctx.start_task(work, name="dial"))
        await trio.sleep(2)
        assert log == ["a started 1", "a started 2"]
        assert repr(crashes[0].error) == "OSError('no route')"


@virtual()
async def test_a_helper_that_crashes_cancels_the_handler_and_its_message_is_dead():
    async def work():
        await trio.sleep(1)
        raise OSError("no route")

    async def wait(_, ctx):
        ctx.start_task(work)
        await trio.sleep_forever()

    async with running(system(child("a"))) as s:
        s.ref("a").tell(wait)
        await trio.sleep(2)
        (letter,) = s.dead_letters.recent
        assert letter.reason.value == "cancelled"
        assert s.introspect().children[0].incarnation == 2


@virtual()
async def test_helpers_are_cancelled_and_old_outcomes_dropped():
    log = []

    async def work():
        try:
            await trio.sleep(60)
        finally:
            log.append("helper ended")

    async def at_once():
        return None

    async def crash(_, ctx):
        ctx.start_task(work, then=lambda o: "never")
        ctx.start_task(at_once, then=lambda o: "of the old incarnation")
        await trio.sleep(1)  # the second one has finished, its outcome waits
        raise ValueError("boom")

    async with running(system(child("a", log))) as s:
        s.ref("a").tell(crash)
        await trio.sleep(5)
        assert log == ["a started 1", "helper ended", "a started 2"]


@virtual()
async def test_a_then_that_raises_is_a_crash():
    async def work():
        return 1

    def bad(outcome):
        raise KeyError("then")

    async with running(system(child("a"))) as s:
        s.ref("a").tell(lambda _, ctx: ctx.start_task(work, then=bad))
        await trio.sleep(1)
        assert s.introspect().children[0].crashes == 1


@virtual()
async def test_helpers_still_run_while_the_actor_cleans_up():
    log = []

    class Writer(Behaviour):
        async def started(self, ctx):
            self.done = trio.Event()
            ctx.start_task(self.write)

        async def write(self):
            await trio.sleep(2)
            log.append("flushed")
            self.done.set()

        async def stopping(self, ctx):
            await self.done.wait()

    async with running(system(child("a", factory=Writer))):
        await trio.sleep(1)
    assert log == ["flushed"]
    assert trio.current_time() == 2


@virtual()
async def test_watch_fires_once_on_the_end_and_never_on_a_restart():
    log = []

    def end(_, ctx):
        ctx.stop()

    s = system(child("a", log), child("b", [], restart=Restart.TRANSIENT))
    async with running(s):
        b = s.ref("b")
        s.ref("a").tell(lambda _, ctx: ctx.watch(b, "b has ended"))
        b.tell(boom)
        await trio.sleep(1)
        assert "a b has ended" not in log
        b.tell(end)
        await trio.sleep(1)
        assert log.count("a b has ended") == 1
        assert len(s.trace.where(kind="watch")) == 1
        s.ref("a").tell(lambda _, ctx: ctx.watch(b, "already"))
        await trio.sleep(1)
        assert log[-1] == "a already"


@virtual()
async def test_a_watch_ends_with_the_incarnation_that_set_it():
    log = []
    s = system(child("a", log), child("b", [], restart=Restart.TRANSIENT))
    async with running(s):
        b = s.ref("b")
        s.ref("a").tell(lambda _, ctx: ctx.watch(b, "b has ended"))
        s.ref("a").tell(boom)
        await trio.sleep(1)
        b.tell(lambda _, ctx: ctx.stop())
        await trio.sleep(1)
        assert log == ["a started 1", "a started 2"]
