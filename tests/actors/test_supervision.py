# ruff: noqa: ARG002  # signatures of behaviours and callbacks
"""Restarts, limits, backoff, ordered start and stop."""

import pytest
import trio

from actors import (
    AskFailed,
    Backoff,
    Behaviour,
    MailboxSpec,
    Restart,
    RestartLimit,
    Strategy,
)
from actors.introspection import actors
from actors.testing import running, virtual
from tests.actors.actor_kit import Get, boom, child, group, system


def incarnations(s):
    return {a.path.rpartition("/")[2]: a.incarnation for a in actors(s.introspect())}


@virtual()
async def test_queued_mail_survives_a_restart_and_the_message_in_hand_does_not():
    log = []
    async with running(system(child("a", log))) as s:
        s.suspend("a")
        await trio.sleep(0.1)
        for message in ("first", boom, "second"):
            s.ref("a").tell(message)
        s.resume("a")
        await trio.sleep(1)
        assert log == ["a started 1", "a first", "a started 2", "a second"]
        assert [letter.message for letter in s.dead_letters.recent] == [boom]
        kinds = [r.kind for r in s.trace.actor("/n1/a") if r.kind not in {"send", "deliver"}]
        assert kinds == ["start", "handle", "fail", "dead", "stop", "restart", "start", "handle"]


@pytest.mark.parametrize(
    ("strategy", "after", "order"),
    [
        (Strategy.ONE_FOR_ONE, {"a": 1, "b": 2, "c": 1}, ["b started 2"]),
        (
            Strategy.ONE_FOR_ALL,
            {"a": 2, "b": 2, "c": 2},
            ["c stopping 1", "a stopping 1", "a started 2", "b started 2", "c started 2"],
        ),
        (
            Strategy.REST_FOR_ONE,
            {"a": 1, "b": 2, "c": 2},
            ["c stopping 1", "b started 2", "c started 2"],
        ),
    ],
)
def test_strategies_restart_the_right_ones(strategy, after, order):
    @virtual()
    async def run():
        log = []
        s = system(*(child(name, log) for name in "abc"), strategy=strategy)
        async with running(s):
            log.clear()
            s.ref("b").tell(boom)
            await trio.sleep(1)
            assert incarnations(s) == after
            assert log == order

    run()


@virtual()
async def test_two_crashes_in_one_instant_are_one_restart_of_all():
    s = system(child("a"), child("b"), strategy=Strategy.ONE_FOR_ALL, intensity=1)
    async with running(s):
        s.ref("a").tell(boom)
        s.ref("b").tell(boom)
        await trio.sleep(1)
        assert incarnations(s) == {"a": 2, "b": 2}


@virtual()
async def test_a_group_restarts_as_a_whole_and_keeps_its_mail():
    log = []
    s = system(group("g", child("a", log), child("b", log), intensity=0), child("z", log))
    async with running(s):
        a, b = s.ref("/n1/g/a"), s.ref("/n1/g/b")
        s.suspend("/n1/g/b")
        await trio.sleep(0.1)
        b.tell("kept")
        log.clear()
        a.tell(boom)
        await trio.sleep(1)
        assert log == ["b stopping 1", "a started 2", "b started 2", "b kept"]
        assert s.ref("/n1/g/b") is b
        assert s.introspect().children[0].restarts == 1


@virtual()
async def test_more_crashes_than_allowed_end_the_system_in_order():
    log = []
    s = system(child("a", log), child("b", log), child("c", log), intensity=2)

    async def crash_three_times():
        async with running(s):
            s.suspend("a")
            await trio.sleep(0.01)
            s.ref("a").tell("mail")
            ref = s.ref("b")
            for _ in range(3):
                ref.tell(boom)
                await trio.sleep(1)

    with pytest.raises(RestartLimit, match="/n1/b ended after 2 restarts of children of /n1"):
        await crash_three_times()
    assert log[-2:] == ["c stopping 1", "a stopping 1"]
    assert [x.message for x in s.dead_letters.recent][-1] == "mail"
    assert [x for x in log if x.startswith("b")] == ["b started 1", "b started 2", "b started 3"]


@virtual()
async def test_crashes_farther_apart_than_the_period_are_fine():
    s = system(child("a"), intensity=1)
    async with running(s):
        for _ in range(5):
            s.ref("a").tell(boom)
            await trio.sleep(31)
        assert incarnations(s) == {"a": 6}


@virtual()
async def test_the_reason_of_an_escalation_is_in_its_causes():
    s = system(group("g", child("a"), intensity=0), intensity=0)

    async def crash():
        async with running(s):
            s.ref("/n1/g/a").tell(boom)
            await trio.sleep(1)

    with pytest.raises(RestartLimit, match="/n1/g ended") as caught:
        await crash()
    assert isinstance(caught.value.__cause__, RestartLimit)
    assert isinstance(caught.value.__cause__.__cause__, ValueError)


@virtual()
async def test_backoff_doubles_and_starts_over_after_quiet():
    backoff = Backoff(first_s=1, factor=2, max_s=4, jitter=0, reset_s=100)
    s = system(child("a"), backoff=backoff, intensity=50)
    async with running(s):
        for _ in range(4):
            s.ref("a").tell(boom)
            await trio.sleep(10)
        await trio.sleep(200)
        s.ref("a").tell(boom)
        await trio.sleep(10)
        assert [r.waited for r in s.trace.where(kind="restart")] == [1, 2, 4, 4, 1]
        starts = [r.at for r in s.trace.where(kind="start")]
        assert starts == [0, 1, 12, 24, 34, 241]


@virtual()
async def test_during_the_backoff_the_mailbox_fills_and_a_stop_does_not_wait():
    s = system(
        child("a", mailbox=MailboxSpec(capacity=2)), backoff=Backoff(first_s=50, max_s=50, jitter=0)
    )
    async with running(s):
        ref = s.ref("a")
        ref.tell(boom)
        await trio.sleep(1)
        assert s.introspect().children[0].state == "waiting"
        assert [ref.tell(n) for n in range(3)] == [True, True, False]
    assert trio.current_time() == 1
    assert s.dead_letters.total == 3


@virtual()
async def test_transient_and_temporary_children():
    log = []

    def end(_, ctx):
        ctx.stop()

    s = system(
        child("p", log), child("t", log, restart=Restart.TRANSIENT),
        child("u", log, restart=Restart.TEMPORARY), child("v", log, restart=Restart.TEMPORARY),
    )  # fmt: skip
    async with running(s):
        refs = {name: s.ref(name) for name in "ptuv"}
        refs["t"].tell(boom)
        refs["u"].tell(boom)
        refs["v"].tell(end)
        refs["p"].tell(end)
        await trio.sleep(1)
        assert incarnations(s) == {"p": 2, "t": 2}
        refs["t"].tell(end)
        await trio.sleep(1)
        assert incarnations(s) == {"p": 2}
        assert "v stopping 1" in log
        assert not refs["t"].tell("x")


@virtual()
async def test_a_temporary_child_stays_down_when_its_group_restarts():
    s = system(
        child("a"), child("t", restart=Restart.TEMPORARY), child("c"),
        strategy=Strategy.ONE_FOR_ALL,
    )  # fmt: skip
    async with running(s):
        s.ref("a").tell(boom)
        await trio.sleep(1)
        assert incarnations(s) == {"a": 2, "c": 2}


@virtual()
async def test_a_failed_restart_counts_as_a_crash():
    class Flaky(Behaviour):
        starts = 0

        async def started(self, ctx):
            Flaky.starts += 1
            if Flaky.starts in {2, 3}:
                raise OSError("not yet")

        def receive(self, ctx, message):
            boom(self, ctx)

    async with running(system(child("a", factory=Flaky))) as s:
        s.ref("a").tell("go")
        await trio.sleep(1)
        assert incarnations(s) == {"a": 4}
        assert s.introspect().children[0].crashes == 3


@virtual()
async def test_an_actor_never_cancels_its_siblings():
    log = []
    async with running(system(child("a", log), child("b", log))) as s:

        async def busy(_, ctx):
            await trio.sleep(2)
            log.append("b was left alone")

        s.ref("b").tell(busy)
        s.ref("a").tell(boom)
        await trio.sleep(3)
        assert "b was left alone" in log


@virtual()
async def test_a_crash_report_and_a_hook_that_raises():
    reports = []

    def bad_hook(report):
        reports.append(report)
        raise RuntimeError("the log is full")

    async with running(system(child("a"), on_crash=bad_hook)) as s:
        for _ in range(2):
            s.ref("a").tell(boom, chain=9)
            await trio.sleep(1)
        (report,) = reports
        assert (report.path, report.incarnation, report.chain) == ("/n1/a", 1, 9)
        assert isinstance(report.error, ValueError)
        assert s.introspect().children[0].incarnation == 3


def test_two_failures_in_one_handler_nursery_are_one_crash():
    @virtual()
    async def run():
        async def two(_, ctx):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(fail)

        async def fail():
            raise ValueError("one of two")

        async with running(system(child("a"))) as s:
            s.ref("a").tell(two)
            await trio.sleep(1)
            assert incarnations(s) == {"a": 2}

    run()


@virtual()
async def test_an_ask_to_a_crashing_actor_fails_and_the_next_one_is_answered():
    class Once(Behaviour):
        def receive(self, ctx, message):
            if ctx.incarnation == 1:
                raise ValueError("first")
            ctx.reply(message.number)

    async with running(system(child("a", factory=Once))) as s:
        with pytest.raises(AskFailed):
            await s.ref("a").ask(Get(1))
        assert await s.ref("a").ask(Get(2)) == 2
