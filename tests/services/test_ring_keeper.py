"""The ring keeper, step by step: what it publishes, asks and tells."""

from actors.testing import Harness
from cluster.core.membership import MemberEntry
from cluster.core.metrics import Registry
from cluster.core.ring import RingMember, RingView
from cluster.core.ring_state import RingState
from cluster.services.local import (
    Bound,
    FrameObserved,
    GetRing,
    MemberMet,
    RingAsked,
    RingChanged,
    RingHeard,
    SendTo,
    TellAgain,
)
from cluster.services.ring_keeper import RingKeeper
from cluster.wire.messages import RingRequest
from cluster.wire.messages import RingState as RingStateMessage

SUBSCRIBERS = ("replicator", "front_door", "peers")


class World:
    def __init__(self, expected=3, *, bound=True):
        self.log = []
        self.registry = Registry()
        self.harness = Harness(
            RingKeeper(
                lambda address: RingState(
                    RingMember("n1", address),
                    virtual_nodes=256,
                    replication_factor=3,
                    bootstrap_expect=expected,
                ),
                self.registry,
                expected=expected,
                subscribers=lambda: [self.ref(name) for name in SUBSCRIBERS],
                peers=lambda: self.ref("peers"),
                sources=lambda: [self.ref("front_door"), self.ref("replicator")],
                log=lambda level, text: self.log.append((level, text)),
            ),
            path="/n1/ring_keeper",
        )
        self.harness.start()
        if bound:
            self.deliver(Bound("h1:1"))

    def ref(self, name):
        return self.harness.world.ref(f"/n1/{name}")

    def deliver(self, message):
        self.harness.world.told.clear()
        self.harness.deliver(message)
        told = self.harness.world.told
        return [(each.path.removeprefix("/n1/"), each.message) for each in told]

    def status(self):
        return self.harness.request(GetRing()).value

    def metric(self, name):
        family = next(each for each in self.registry.families() if each.name.endswith(name))
        return family.series[()].value


def met(number, epoch=0, digest=0):
    return MemberMet(MemberEntry(f"n{number}", f"h{number}:1", 9, "", 1.0), epoch, digest)


def ring(epoch=1, nodes=3):
    members = tuple(RingMember(f"n{i}", f"h{i}:1") for i in range(1, nodes + 1))
    return RingView(epoch, members, 256, 3)


def wire(view):
    return [list(each) if isinstance(each, tuple) else each for each in view.as_wire()]


def published(view):
    return [(name, RingChanged(view)) for name in SUBSCRIBERS]


def test_it_asks_at_every_start_for_what_it_may_have_known():
    world = World()
    harness = world.harness
    harness.world.told.clear()
    harness.start()
    told = [(each.path, each.message) for each in harness.world.told]
    me = TellAgain(world.ref("ring_keeper"))
    assert told == [("/n1/front_door", me), ("/n1/replicator", me)]


def test_a_ring_that_is_told_before_it_knows_where_it_listens_is_asked_for_again():
    world = World(bound=False)
    assert world.deliver(RingHeard("the replicator", wire(ring(7)))) == []
    assert ("replicator", TellAgain(world.ref("ring_keeper"))) in world.deliver(Bound("h1:1"))


def test_it_founds_once_all_expected_are_met_and_publishes_the_ring():
    world = World()
    assert world.deliver(met(2)) == []
    assert world.status().view is None
    assert (world.status().known, world.status().expected) == (2, 3)
    told = world.deliver(met(3))
    assert told[:3] == published(ring())
    assert told[3:] == [("peers", SendTo("n3", RingStateMessage(list(ring().as_wire()))))]
    assert world.status().view == ring()
    assert world.metric("ring_epoch") == 1


def test_alone_it_founds_at_once():
    world = World(expected=1)
    assert world.status().view == ring(nodes=1)


def test_it_never_founds_if_nobody_is_expected():
    world = World(expected=0)
    for number in range(2, 6):
        assert world.deliver(met(number)) == []
    assert world.status().view is None


def test_a_newer_ring_is_asked_for_and_taken_over():
    world = World()
    assert world.deliver(met(2, 4, 99)) == [("peers", SendTo("n2", RingRequest()))]
    assert world.deliver(RingHeard("n2", wire(ring(4)))) == published(ring(4))
    assert world.deliver(RingHeard("n2", wire(ring(4)))) == [], "known by now"


def test_who_is_behind_is_told_our_ring():
    world = World(expected=1)
    own = [("peers", SendTo("n2", RingStateMessage(list(world.status().view.as_wire()))))]
    assert world.deliver(met(2)) == own
    assert world.deliver(FrameObserved("n2", 0, 0)) == own
    assert world.deliver(RingAsked("n2")) == own
    assert world.deliver(RingHeard("n2", wire(world.status().view))) == []


def test_without_a_ring_there_is_nothing_to_tell():
    world = World()
    assert world.deliver(RingAsked("n2")) == []
    assert world.deliver(TellAgain(world.ref("replicator"))) == []


def test_two_rings_are_a_conflict_told_once_and_never_merged():
    world = World(expected=1)
    before = world.status().view
    for epoch in (1, 1, 1, 9):
        assert world.deliver(RingHeard("n2", wire(ring(epoch)))) == []
    assert world.deliver(FrameObserved("n2", 9, ring(9).digest)) == []
    assert world.status().view == before
    assert "founded apart" in world.status().conflict
    assert [level for level, _ in world.log].count("error") == 2
    assert world.metric("ring_conflicts_total") == 5


def test_what_is_no_ring_or_no_member_is_counted_and_logged():
    world = World()
    assert world.deliver(RingHeard("n2", ["no", "ring"])) == []
    assert (
        world.deliver(RingHeard("n2", [1, "stable", 256, 3, [["n2", "h2:1", 1.0, ""]] * 2])) == []
    )
    bad = MemberMet(MemberEntry("n2", "no address", 9, "", 1.0), 0, 0)
    assert world.deliver(bad) == []
    assert world.metric("rings_refused_total") == 3
    assert [level for level, _ in world.log] == ["warning"] * 3
    assert world.status().known == 1


def test_the_ring_is_told_on_the_lane_that_has_no_bound():
    world = World(expected=1, bound=False)
    world.deliver(Bound("h1:1"))
    assert [(type(e.message), e.control) for e in world.harness.world.told] == [
        *[(RingChanged, True)] * 3,
        *[(TellAgain, True)] * 2,
    ]
    world.deliver(TellAgain(world.ref("replicator")))
    assert [each.control for each in world.harness.world.told] == [True]


def test_a_subscriber_that_starts_anew_is_told_the_ring_in_force():
    world = World(expected=1)
    replicator = world.ref("replicator")
    told = world.deliver(TellAgain(replicator))
    assert told == [("replicator", RingChanged(world.status().view))]


def test_after_a_crash_the_ring_comes_back_from_the_replicator():
    """Which may be a ring that this node is no member of."""
    world = World()
    others = RingView(7, tuple(RingMember(f"n{i}", f"h{i}:1") for i in (2, 3, 4)), 256, 3)
    assert world.deliver(RingHeard("n1", wire(others))) == published(others)
    assert world.status().view == others


def test_a_member_that_moved_is_republished_at_its_new_address():
    world = World()
    world.deliver(met(2))
    world.deliver(met(3))
    moved = MemberMet(MemberEntry("n3", "elsewhere:1", 10, "", 1.0), 1, ring().digest)
    told = world.deliver(moved)
    assert [name for name, _ in told] == list(SUBSCRIBERS)
    view = told[0][1].view
    assert view.member("n3").address == "elsewhere:1"
    assert view.digest == ring().digest, "a move changes no ownership"
