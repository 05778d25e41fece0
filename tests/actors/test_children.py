# ruff: noqa: ARG002  # signatures of behaviours and callbacks
"""Children that an actor starts, names, and streams of randomness."""

import pytest
import trio

from actors import Behaviour, ChildSpec, NameTaken, NoSuchActor, Restart, RestartLimits
from actors.testing import running, virtual
from tests.actors.actor_kit import QUICK, boom, child, group, system


class Parent(Behaviour):
    """Starts the children it is told of."""

    child_limits = RestartLimits(intensity=1, backoff=QUICK)

    def __init__(self, log):
        self.log = log

    async def receive(self, ctx, message):
        match message:
            case ("start", ChildSpec() as spec):
                self.ref = ctx.start_child(spec)
            case "stop":
                await ctx.stop_child(self.ref)
                self.log.append("child gone")
            case _:
                message(self, ctx)

    async def stopping(self, ctx):
        self.log.append("parent stopping")


def parent(log):
    return child("p", factory=lambda: Parent(log))


@virtual()
async def test_children_start_restart_and_stop_before_their_parent():
    log = []
    async with running(system(parent(log))) as s:
        p = s.ref("p")
        p.tell(("start", child("x", log)))
        p.tell(("start", child("y", log)))
        await trio.sleep(1)
        assert log == ["x started 1", "y started 1"]
        s.ref("/n1/p/y").tell(boom)
        await trio.sleep(1)
        assert log[2:] == ["y started 2"]
        (tree,) = s.introspect().children
        assert [t.path for t in tree.children] == ["/n1/p/x", "/n1/p/y"]
        log.clear()
    assert log == ["y stopping 2", "x stopping 1", "parent stopping"]


@virtual()
async def test_a_stopped_child_frees_its_name_only_when_it_has_ended():
    log = []

    class Lingering(Behaviour):
        async def stopping(self, ctx):
            await trio.sleep(1)

    def second(_, ctx):
        with pytest.raises(NameTaken, match="/n1/p/x"):
            ctx.start_child(child("x", log))

    async with running(system(parent(log))) as s:
        p = s.ref("p")
        p.tell(("start", child("x", factory=Lingering)))
        p.tell(second)
        await trio.sleep(1)
        p.tell("stop")
        await trio.sleep(0.5)
        assert s.ref("/n1/p/x").path == "/n1/p/x"
        assert log == []
        await trio.sleep(1)
        assert log == ["child gone"]
        with pytest.raises(NoSuchActor):
            s.ref("/n1/p/x")
        p.tell(("start", child("x", log)))
        await trio.sleep(1)
        assert log == ["child gone", "x started 1"]
        assert s.dead_letters.total == 0


@virtual()
async def test_a_child_stopped_at_once_or_while_it_waits_for_its_restart():
    log = []
    async with running(system(parent(log))) as s:
        p = s.ref("p")
        p.tell(("start", child("x", log)))
        p.tell("stop")
        await trio.sleep(1)
        assert log[-1] == "child gone"

        class Bad(Behaviour):
            async def started(self, ctx):
                raise OSError("never")

        p.tell(("start", child("y", factory=Bad)))
        await trio.sleep(0.005)  # it has failed and waits for its backoff of 10 ms
        p.tell("stop")
        await trio.sleep(1)
        assert log.count("child gone") == 2
        assert s.introspect().children[0].incarnation == 1


@virtual()
async def test_children_end_with_a_crash_of_their_parent_and_too_many_crashes_are_one():
    log = []
    async with running(system(parent(log))) as s:
        p = s.ref("p")
        p.tell(("start", child("x", log)))
        await trio.sleep(1)
        x = s.ref("/n1/p/x")
        p.tell(boom)
        await trio.sleep(1)
        assert log == ["x started 1", "x stopping 1"]
        assert not x.tell("gone")
        p.tell(("start", child("x", log)))
        await trio.sleep(1)
        assert s.ref("/n1/p/x") is not x
        for _ in range(2):
            s.ref("/n1/p/x").tell(boom)
            await trio.sleep(1)
        (tree,) = s.introspect().children
        assert tree.incarnation == 3
        assert tree.last_error.startswith("RestartLimit")


@virtual()
async def test_the_grace_of_a_parent_starts_when_its_children_are_done():
    class Lingering(Behaviour):
        async def stopping(self, ctx):
            await trio.sleep(4)

    log = []
    spec = child("p", factory=lambda: Parent(log), grace_s=1)
    async with running(system(spec)) as s:
        s.ref("p").tell(("start", child("x", factory=Lingering, grace_s=5)))
        await trio.sleep(1)
    assert log == ["parent stopping"]
    assert trio.current_time() == 5


@virtual()
async def test_a_temporary_child_that_ends_is_gone():
    log = []
    async with running(system(parent(log))) as s:
        s.ref("p").tell(("start", child("x", log, restart=Restart.TEMPORARY)))
        await trio.sleep(1)
        s.ref("/n1/p/x").tell(boom)
        await trio.sleep(1)
        assert s.introspect().children[0].children == ()
        assert s.introspect().children[0].incarnation == 1


@virtual()
async def test_names_are_looked_up_beside_and_from_the_root():
    found = []

    def look(_, ctx):
        found.extend([ctx.lookup("b").path, ctx.lookup("/n1/c").path])
        with pytest.raises(NoSuchActor, match="there is no actor /n1/g/c"):
            ctx.lookup("c")

    s = system(group("g", child("a"), child("b")), child("c"))
    async with running(s):
        s.ref("/n1/g/a").tell(look)
        await trio.sleep(1)
    assert found == ["/n1/g/b", "/n1/c"]


def test_names_that_are_none():
    with pytest.raises(NameTaken):
        system(child("a"), child("a"))
    for name in ("", "a/b", "a b", "ä"):
        with pytest.raises(ValueError, match="name"):
            system(child(name))


@virtual()
async def test_every_actor_has_its_own_stream_of_randomness():
    draws = {}

    def draw(_, ctx):
        draws.setdefault(ctx.path, []).append(ctx.rng.random())

    for others in ((), (child("c"),)):
        async with running(system(child("a"), child("b"), *others)) as s:
            for name in "ab":
                s.ref(name).tell(draw)
            await trio.sleep(1)
    assert draws["/n1/a"][0] == draws["/n1/a"][1]
    assert draws["/n1/a"] != draws["/n1/b"]


@virtual()
async def test_a_helper_can_stop_a_suspended_actor():
    log = []

    def script(_, ctx):
        async def later():
            await trio.sleep(2)
            ctx.stop()

        ctx.start_task(later)

    s = system(child("a", log, restart=Restart.TRANSIENT))
    async with running(s):
        s.ref("a").tell(script)
        await trio.sleep(1)
        s.suspend("a")
        await trio.sleep(2)
        assert log == ["a started 1", "a stopping 1"]


@virtual()
async def test_a_system_runs_once():
    s = system(child("a"))
    async with running(s):
        pass
    with pytest.raises(AssertionError, match="runs once"):
        await s.run()
