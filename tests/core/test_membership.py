"""Static membership: who is dialled, who is reachable, what is believed about whom."""

import random

import pytest

from cluster.core.membership import (
    BOOT_SLACK_MS,
    MEMBERS_MAX,
    MemberEntry,
    MembershipOutput,
    StaticMembership,
)
from cluster.core.values import COUNTER_BITS

OWN = MemberEntry("n1", "h1:1", 100, "", 1.0)
WALL_MS = 1_700_000_000_000


def entry(number, boot=200, address="", zone="", weight=1.0):
    return MemberEntry(f"n{number}", address or f"h{number}:1", boot, zone, weight)


def members(*seeds):
    made = StaticMembership(OWN, seeds)
    assert made.start().dial == tuple(dict.fromkeys(seed for seed in seeds if seed != OWN.address))
    return made


def ids(known):
    return [each.id for each in known.entries()]


def reachable(known):
    return [each.entry.id for each in known.statuses() if each.reachable]


def test_alone_it_knows_itself():
    known = members()
    assert known.entries() == [OWN]
    assert reachable(known) == ["n1"]
    assert known.start() == MembershipOutput()


def test_seeds_are_dialled_once_each_and_never_itself():
    known = members("h2:1", "h1:1", "h2:1", "h3:1")
    assert list(known.dialled) == ["h2:1", "h3:1"]
    assert known.start() == MembershipOutput()


def test_a_seed_that_turns_out_to_be_this_node_is_hung_up_for_good():
    known = members("alias:1", "h2:1")
    assert known.is_myself("alias:1") == MembershipOutput(hang_up=("alias:1",))
    assert known.linked("h2:1", "n2", 200).dial == ()
    assert "alias:1" not in known.dialled


def test_a_peer_is_reachable_once_link_and_connection_are_up_in_one_boot():
    known = members("h2:1")
    output = known.linked("h2:1", "n2", 200)
    assert output.up == ()
    assert output.news
    assert reachable(known) == ["n1"]
    assert known.accepted("n2", 200, "h2:1").up == (("n2", 200, "h2:1"),)
    assert reachable(known) == ["n1", "n2"]


def test_the_connection_may_come_first_and_makes_this_node_dial_back():
    known = members()
    output = known.accepted("n2", 200, "h2:1")
    assert (output.dial, output.up, output.news) == (("h2:1",), (), True)
    assert known.linked("h2:1", "n2", 200).up == (("n2", 200, "h2:1"),)


@pytest.mark.parametrize("first", ["link", "connection"])
def test_it_is_unreachable_as_soon_as_either_is_down(first):
    known = members("h2:1")
    known.linked("h2:1", "n2", 200)
    known.accepted("n2", 200, "h2:1")
    ends = {"link": lambda: known.unlinked("h2:1"), "connection": lambda: known.ended("n2", 200)}
    assert ends.pop(first)().down == (("n2", 200),)
    [other] = ends.values()
    assert other().down == (), "told once"
    assert list(known.dialled) == ["h2:1"], "it is dialled for ever"


def test_link_and_connection_of_different_boots_do_not_make_it_reachable():
    known = members("h2:1")
    known.linked("h2:1", "n2", 200)
    assert known.accepted("n2", 300, "h2:1").up == ()
    assert known.linked("h2:1", "n2", 300).up == (("n2", 300, "h2:1"),)


def test_a_restart_is_told_as_down_in_the_old_boot_and_up_in_the_new():
    known = members("h2:1")
    known.linked("h2:1", "n2", 200)
    known.accepted("n2", 200, "h2:1")
    assert known.accepted("n2", 300, "h2:1").down == (("n2", 200),)
    assert known.unlinked("h2:1").down == ()
    assert known.linked("h2:1", "n2", 300).up == (("n2", 300, "h2:1"),)


def test_the_end_of_an_older_connection_means_nothing():
    known = members("h2:1")
    known.linked("h2:1", "n2", 300)
    known.accepted("n2", 200, "h2:1")
    known.accepted("n2", 300, "h2:1")
    assert known.ended("n2", 200) == MembershipOutput()
    assert reachable(known) == ["n1", "n2"]
    assert known.accepted("n2", 250, "h2:1").down == (), "nor does its beginning"


def test_introductions_are_passed_on_and_dialled():
    known = members()
    output = known.introduced("n2", [entry(2), entry(3), OWN], WALL_MS)
    assert (output.dial, output.news) == (("h2:1", "h3:1"), True)
    assert ids(known) == ["n1", "n2", "n3"]
    assert known.introduced("n3", [entry(2), entry(3)], WALL_MS) == MembershipOutput(), (
        "nothing new"
    )


def test_what_is_said_of_this_node_is_ignored():
    known = members()
    assert (
        known.introduced("n2", [entry(1, boot=999, address="lie:1")], WALL_MS) == MembershipOutput()
    )
    assert known.entries() == [OWN]


def test_the_newest_boot_of_a_member_says_where_it_is():
    known = members()
    known.introduced("n2", [entry(3, boot=200)], WALL_MS)
    output = known.introduced("n2", [entry(3, boot=300, address="new:1")], WALL_MS)
    assert (output.hang_up, output.dial, output.news) == (("h3:1",), ("new:1",), True)
    assert (
        known.introduced("n4", [entry(3, boot=200, address="h3:1")], WALL_MS) == MembershipOutput()
    )


def test_of_one_boot_only_the_member_itself_corrects_what_is_known():
    known = members()
    known.introduced("n2", [entry(3, zone="told")], WALL_MS)
    assert known.introduced("n2", [entry(3, zone="gossip")], WALL_MS) == MembershipOutput()
    assert known.introduced("n3", [entry(3, zone="own")], WALL_MS).news
    assert [each.zone for each in known.entries()] == ["", "own"]


def test_a_connection_tells_address_and_boot_but_not_zone_and_weight():
    known = members()
    known.introduced("n2", [entry(2, zone="a", weight=2.0)], WALL_MS)
    known.accepted("n2", 300, "moved:1")
    assert known.entries()[1] == entry(2, 300, "moved:1", "a", 2.0)


def test_a_link_to_an_address_that_is_not_wanted_any_more_does_not_count():
    known = members()
    known.introduced("n2", [entry(2)], WALL_MS)
    known.linked("h2:1", "n2", 200)
    known.accepted("n2", 200, "h2:1")
    output = known.accepted("n2", 300, "moved:1")
    assert output.hang_up == ("h2:1",)
    assert output.down == (("n2", 200),), "messages for it would go to a link that has ended"
    assert reachable(known) == ["n1"]


def test_hearsay_does_not_move_a_member_that_can_be_reached():
    known = members()
    known.introduced("n2", [entry(2)], WALL_MS)
    known.linked("h2:1", "n2", 200)
    known.accepted("n2", 200, "h2:1")
    lie = entry(2, boot=300, address="lie:1")
    assert known.introduced("n3", [lie], WALL_MS) == MembershipOutput()
    assert reachable(known) == ["n1", "n2"]
    known.ended("n2", 200)
    assert known.introduced("n3", [lie], WALL_MS).dial == ("lie:1",), "it may have moved"


def test_the_own_word_of_a_member_undoes_hearsay_of_a_later_boot_but_not_its_own():
    known = members()
    known.introduced("n3", [entry(2, boot=300, address="lie:1")], WALL_MS)
    assert known.accepted("n2", 200, "h2:1").hang_up == ("lie:1",)
    assert known.entries()[1] == entry(2, 200)
    assert known.introduced("n2", [entry(2, boot=100, address="old:1")], WALL_MS).dial == ()
    assert known.introduced("n3", [entry(2, boot=200, address="lie:1")], WALL_MS).dial == ()
    assert known.entries()[1] == entry(2, 200)


def test_hearsay_of_a_boot_that_cannot_be_is_ignored_and_counted():
    known = StaticMembership(OWN, [], clock_offset_max_ms=500)
    latest = (WALL_MS + 500 + BOOT_SLACK_MS) << COUNTER_BITS
    absurd = [entry(2, boot=latest + (1 << COUNTER_BITS)), entry(3, boot=(1 << 64) - 1)]
    assert known.introduced("n4", absurd, WALL_MS) == MembershipOutput()
    assert known.refused == 2
    assert known.introduced("n4", [entry(2, boot=latest)], WALL_MS).news
    assert known.introduced("n3", absurd[1:], WALL_MS).news, "a clock far ahead is its own affair"


def test_a_seed_is_dialled_no_more_while_its_node_is_linked_at_its_own_address():
    known = members("seed:1")
    assert known.linked("seed:1", "n2", 200).hang_up == ()
    assert "h2:1" in known.accepted("n2", 200, "h2:1").dial
    output = known.linked("h2:1", "n2", 200)
    assert output.hang_up == ("seed:1",)
    assert output.up == (("n2", 200, "h2:1"),)


def test_a_seed_is_dialled_again_when_its_node_is_lost():
    known = members("seed:1")
    known.linked("seed:1", "n2", 200)
    known.accepted("n2", 200, "h2:1")
    known.linked("h2:1", "n2", 200)
    output = known.unlinked("h2:1")
    assert output.dial == ("seed:1",)
    assert "h2:1" in known.dialled


def test_the_link_at_the_members_own_address_is_preferred():
    known = members("seed:1")
    known.linked("seed:1", "n2", 200)
    assert known.accepted("n2", 200, "h2:1").up == (("n2", 200, "seed:1"),)
    output = known.linked("h2:1", "n2", 200)
    assert (output.down, output.up) == ((("n2", 200),), (("n2", 200, "h2:1"),))


def test_malformed_and_too_many_introductions_are_refused_and_counted():
    known = members()
    bad = [
        MemberEntry("", "h:1", 1, "", 1.0),
        MemberEntry("no good", "h:1", 1, "", 1.0),
        MemberEntry("n2", "", 1, "", 1.0),
        MemberEntry("n2", "not an address", 1, "", 1.0),
        MemberEntry("n2", "h:99999", 1, "", 1.0),
        MemberEntry("n2", "h\xf6:1", 1, "", 1.0),
        MemberEntry("n2", "h:1", 1, "no zone", 1.0),
        MemberEntry("n2", "h:1", 1, "", -5.0),
    ]
    assert known.introduced("n3", bad, WALL_MS) == MembershipOutput()
    assert known.refused == len(bad)
    many = [entry(number) for number in range(2, MEMBERS_MAX + 5)]
    known.introduced("n3", many, WALL_MS)
    assert len(known.entries()) == MEMBERS_MAX + 1
    assert known.refused == len(bad) + len(many) - MEMBERS_MAX


def test_entries_are_sorted_by_id_whatever_the_order_of_meeting():
    known = members()
    known.introduced("n9", [entry(9), entry(10), entry(2)], WALL_MS)
    assert ids(known) == ["n1", "n10", "n2", "n9"]


def random_event(rng, known):
    node, boot = f"n{rng.randrange(2, 6)}", rng.randrange(1, 5)
    address = f"h{rng.randrange(2, 9)}:1"
    dialled = list(known.dialled)
    match rng.randrange(6):
        case 0:
            return known.introduced(
                f"n{rng.randrange(2, 6)}", [entry(node[1:], boot, address)], WALL_MS
            )
        case 1 if dialled:
            return known.linked(rng.choice(dialled), node, boot)
        case 2 if dialled:
            return known.unlinked(rng.choice(dialled))
        case 3:
            return known.ended(node, boot)
        case 4 if rng.random() < 0.05 and dialled:
            return known.is_myself(rng.choice(dialled))
        case _:
            return known.accepted(node, boot, address)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_told_is_always_consistent(seed):
    """A shell that only follows the outputs has the same picture, and no dead link in it."""
    rng = random.Random(seed)
    known = members("h2:1", "h3:1")
    links, up = {"h2:1", "h3:1"}, {}
    for _ in range(400):
        output = random_event(rng, known)
        assert not {*output.hang_up} & {*output.dial}
        assert {*output.hang_up} <= links
        assert not {*output.dial} & links
        links = (links - {*output.hang_up}) | {*output.dial}
        for node, boot in output.down:
            assert up.pop(node)[0] == boot
        for node, boot, address in output.up:
            assert node not in up
            up[node] = (boot, address)
        assert links == {*known.dialled}
        assert {address for _, address in up.values()} <= links
        assert sorted(["n1", *up]) == reachable(known)
