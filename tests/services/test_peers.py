"""Peers, step by step: what it starts, stops and tells when membership changes."""

import attrs
import pytest

from actors.testing import Harness
from cluster.core.membership import MemberEntry
from cluster.core.metrics import Registry
from cluster.core.ring import RingMember, RingView
from cluster.services.local import (
    Bound,
    GetMembers,
    LinkDown,
    LinkIsMyself,
    LinkUp,
    MemberMet,
    MembersHeard,
    Outgoing,
    PeerDown,
    PeersReset,
    PeerUp,
    RingChanged,
    SendTo,
    SessionUp,
    TellAgain,
)
from cluster.services.peers import INTRODUCE_INTERVAL_S, Peers
from cluster.wire.messages import FrameHeader, MembersUpdate, RingRequest

OWN = MemberEntry("n1", "h1:1", 100, "", 1.0)
SECOND = MemberEntry("n2", "h2:1", 200, "", 1.0)
THIRD = MemberEntry("n3", "h3:1", 300, "z", 2.0)
WALL_MS = 1_700_000_000_000
PEER_EVENTS = (PeerUp, PeerDown)


class World:
    def __init__(self, *seeds):
        self.log = []
        self.registry = Registry()
        self.harness = Harness(
            Peers(
                lambda _: OWN,
                seeds,
                lambda _: object(),
                self.registry,
                wall_ms=lambda: WALL_MS,
                clock_offset_max_ms=500,
                subscribers=lambda: [self.ref("replicator"), self.ref("front_door")],
                ring_keeper=lambda: self.ref("ring_keeper"),
                front_door=lambda: self.ref("front_door"),
                log=lambda level, text: self.log.append((level, text)),
            ),
            path="/n1/peers",
        )
        self.harness.start()

    def ref(self, name):
        return self.harness.world.ref(f"/n1/{name}")

    def deliver(self, message):
        """Deliver; returns what was told: (name, message)."""
        self.harness.world.told.clear()
        self.harness.deliver(message)
        return self.told()

    def told(self):
        return [(each.path.removeprefix("/n1/"), each.message) for each in self.harness.world.told]

    def links(self):
        return list(self.harness.world.children)

    def link(self, number):
        return self.ref(f"peers/link-{number}")

    def up(self):
        """Seed h2:1 is n2; the link and the connection back are up."""
        self.deliver(Bound("h1:1"))
        self.deliver(LinkUp("h2:1", self.link(1), "n2", 200))
        return self.deliver(SessionUp("n2", 200, "h2:1", up=True))


def ring(*names):
    return RingView(3, tuple(RingMember(name, f"h{name[1:]}:1") for name in names), 256, 3)


def test_it_starts_with_nobody_and_asks_for_what_was_published():
    world = World("h2:1")
    me = world.ref("peers")
    assert world.told() == [
        ("replicator", PeersReset()),
        ("front_door", PeersReset()),
        ("ring_keeper", TellAgain(me)),
        ("front_door", TellAgain(me)),
    ]
    assert world.links() == [], "nobody is dialled before the node listens"


def test_once_bound_it_dials_its_seeds():
    world = World("h2:1", "h3:1")
    world.deliver(Bound("h1:1"))
    assert world.links() == ["link-1", "link-2"]
    world.deliver(Bound("h1:1"))
    assert world.links() == ["link-1", "link-2"], "once"


def test_a_link_that_comes_up_is_told_all_members():
    world = World("h2:1")
    world.deliver(Bound("h1:1"))
    told = world.deliver(LinkUp("h2:1", world.link(1), "n2", 200))
    header = FrameHeader(0, 0, 0)
    entry = MemberEntry("n2", "h2:1", 200, "", 1.0)
    update = Outgoing(header, [MembersUpdate([OWN, entry])], urgent=True)
    assert told[-1] == ("peers/link-1", update)


def test_a_peer_that_can_be_reached_is_told_to_all_who_send():
    world = World("h2:1")
    told = world.up()
    up = PeerUp("n2", 200, world.link(1))
    assert [each for each in told if isinstance(each[1], PeerUp)] == [
        ("replicator", up),
        ("front_door", up),
    ]


@pytest.mark.parametrize("loss", [LinkDown("h2:1", "lost"), SessionUp("n2", 200, "h2:1", up=False)])
def test_a_peer_that_cannot_be_reached_any_more_is_told_too(loss):
    world = World("h2:1")
    world.up()
    told = world.deliver(loss)
    down = PeerDown("n2", 200, "its link is down")
    assert [each for each in told if isinstance(each[1], PeerDown)] == [
        ("replicator", down),
        ("front_door", down),
    ]
    assert ("warning", "n2 cannot be reached") in world.log
    assert world.links() == ["link-1"], "the link goes on dialling"


def test_a_link_that_was_given_up_meanwhile_means_nothing():
    world = World("h2:1")
    world.deliver(Bound("h1:1"))
    assert world.deliver(LinkUp("h2:1", world.link(9), "n2", 200)) == []
    assert world.deliver(LinkUp("h9:1", world.link(1), "n2", 200)) == []


def test_members_that_are_heard_of_are_dialled_and_passed_on():
    world = World("h2:1")
    world.up()
    told = world.deliver(MembersHeard("n2", FrameHeader(0, 4, 9), [SECOND, THIRD, OWN]))
    assert ("ring_keeper", MemberMet(SECOND, 4, 9)) in told
    assert not [each for each in told if each == ("ring_keeper", MemberMet(THIRD, 4, 9))], (
        "a member introduces itself, and nobody else"
    )
    assert world.links() == ["link-1", "link-2"]
    assert [each[0] for each in told if isinstance(each[1], Outgoing)] == [
        "peers/link-1",
        "peers/link-2",
    ]


def test_what_makes_no_sense_is_counted_and_started_nowhere():
    world = World("h2:1")
    world.up()
    bad = [MemberEntry("n4", "no address", 400, "", 1.0), attrs.evolve(THIRD, boot=1 << 63)]
    assert world.deliver(MembersHeard("n2", FrameHeader(0, 0, 0), bad)) == []
    assert world.links() == ["link-1"]
    name = "hypercache_dist_introductions_refused_total"
    [family] = [each for each in world.registry.families() if each.name == name]
    assert family.series[()].value == 2


def test_who_can_be_reached_is_told_on_the_lane_that_has_no_bound():
    world = World("h2:1")
    controls = [each.control for each in world.harness.world.told]
    assert controls == [True] * 4
    for event in (world.up, lambda: world.deliver(LinkDown("h2:1", "lost"))):
        event()
        lanes = [e.control for e in world.harness.world.told if isinstance(e.message, PEER_EVENTS)]
        assert lanes == [True, True]
    world.up()
    world.deliver(TellAgain(world.ref("replicator")))
    assert [each.control for each in world.harness.world.told] == [True]


def test_an_address_that_is_this_node_is_hung_up():
    world = World("h2:1", "alias:1")
    world.deliver(Bound("h1:1"))
    world.deliver(LinkIsMyself("alias:1"))
    assert world.links() == ["link-1"]


def test_messages_go_by_the_link_of_who_can_be_reached_with_the_ring_in_force():
    world = World("h2:1")
    world.up()
    world.deliver(RingChanged(ring("n1", "n2")))
    header = FrameHeader(0, 3, ring("n1", "n2").digest)
    sent = Outgoing(header, [RingRequest()], urgent=True)
    assert world.deliver(SendTo("n2", RingRequest())) == [("peers/link-1", sent)]
    assert world.deliver(SendTo("n3", RingRequest())) == []


def test_everyone_that_the_ring_names_is_dialled():
    world = World("h2:1")
    world.deliver(RingChanged(ring("n1", "n2", "n3")))
    assert world.links() == []
    world.deliver(Bound("h1:1"))
    assert world.links() == ["link-1", "link-2"]
    members = world.harness.request(GetMembers()).value
    assert [(each.id, each.state) for each in members] == [
        ("n1", "alive"),
        ("n2", "unreachable"),
        ("n3", "unreachable"),
    ]


def test_without_a_ring_it_introduces_itself_again_and_again_to_who_is_linked():
    world = World("h2:1", "h3:1")
    world.up()
    for _ in range(3):
        world.harness.world.told.clear()
        world.harness.advance(INTRODUCE_INTERVAL_S)
        [(name, outgoing)] = world.told()
        assert name == "peers/link-1", "link-2 is not connected"
        assert isinstance(outgoing.messages[0], MembersUpdate)
    world.deliver(LinkDown("h2:1", "lost"))
    world.harness.world.told.clear()
    world.harness.advance(INTRODUCE_INTERVAL_S)
    assert world.told() == []
    world.deliver(RingChanged(ring("n1", "n2")))
    world.harness.advance(10 * INTRODUCE_INTERVAL_S)
    assert "introduce" not in world.harness.timers


def test_whoever_starts_anew_is_told_who_can_be_reached():
    world = World("h2:1")
    world.up()
    again = world.deliver(TellAgain(world.ref("replicator")))
    assert again == [("replicator", PeerUp("n2", 200, world.link(1)))]


def test_members_are_listed_with_their_state():
    world = World("h2:1")
    assert world.harness.request(GetMembers()).value == ()
    world.up()
    world.deliver(MembersHeard("n2", FrameHeader(0, 0, 0), [SECOND, THIRD]))
    rows = world.harness.request(GetMembers()).value
    assert [(each.id, each.state, each.zone) for each in rows] == [
        ("n1", "alive", ""),
        ("n2", "alive", ""),
        ("n3", "unreachable", "z"),
    ]
