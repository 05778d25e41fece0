"""The tree, its text, dead letters and who waits for whom."""

import trio

from actors import AskTimeout
from actors.introspection import actors, render
from actors.testing import running, virtual
from tests.actors.actor_kit import Get, boom, child, group, system


@virtual()
async def test_the_tree_shows_what_happens_now():
    s = system(child("a"), group("g", child("b")))

    async def ask_b(_, ctx):
        try:
            await ctx.ask(s.ref("/n1/g/b"), Get(), timeout_s=2)
        except AskTimeout:
            ctx.stop()

    async with running(s):
        s.suspend("/n1/g/b")
        s.ref("a").tell(ask_b)
        s.ref("a").tell("waits")
        await trio.sleep(1)
        states = {tree.path: tree for tree in actors(s.introspect())}
        assert states["/n1/a"].waiting_on == ("/n1/g/b",)
        assert states["/n1/a"].queue_len == 1
        assert states["/n1/g/b"].state == "suspended"
        assert states["/n1/g/b"].queue_len == 1
        text = render(s.introspect()).splitlines()
        assert text[0] == "n1/  running one_for_one restarts=0"
        assert text[1].startswith("  a  running incarnation=1 queue=1/1024 peak=2 handled=0")
        assert text[1].endswith("waiting_on=/n1/g/b")
        assert text[2] == "  g/  running one_for_one restarts=0"
        assert text[3].startswith("    b  suspended")


@virtual()
async def test_times_and_crashes_are_summed_over_incarnations():
    async def slow(_, ctx):
        await trio.sleep(2)

    async with running(system(child("a"))) as s:
        for message in (slow, "quick", boom):
            s.ref("a").tell(message)
        await trio.sleep(5)
        (tree,) = actors(s.introspect())
        assert (tree.handled, tree.crashes, tree.restarts, tree.dead) == (2, 1, 1, 1)
        assert (tree.took_total_s, tree.took_max_s) == (2.0, 2.0)
        assert (tree.waited_total_s, tree.waited_max_s) == (2.0, 2.0)
        assert tree.last_error == "ValueError('boom')"
        assert "last_error=ValueError('boom')" in render(tree)


@virtual()
async def test_dead_letters_are_counted_and_told_at_a_limited_rate():
    s = system(child("a"))
    every, some = [], []
    end = s.dead_letters.subscribe(every.append)
    s.dead_letters.subscribe(some.append, per_second=1)
    async with running(s):
        ref = s.ref("a")
    for n in range(5):
        ref.tell(n)
    await trio.sleep(1)
    ref.tell("later")
    assert [letter.message for letter in every] == [0, 1, 2, 3, 4, "later"]
    assert [(letter.message, letter.skipped) for letter in some] == [(0, 0), ("later", 4)]
    end()
    ref.tell("unheard")
    assert len(every) == 6
    assert {reason.value: n for reason, n in s.dead_letters.counts.items()} == {"ended": 7}


@virtual()
async def test_a_flight_recorder_per_actor():
    s = system(child("a"), child("b"))
    async with running(s):
        for n in range(100):
            s.ref("a").tell(n)
            s.ref("b").tell(n)
        await trio.sleep(1)
        last = s.flight_recorder("/n1/a", 5)
        assert len(last) == 5
        assert {r.actor for r in last} == {"/n1/a"}
        assert last[-1].kind == "handle"
