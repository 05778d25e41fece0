"""Where requests go: owners from the ring, narrowed to who can be reached, by boot."""

import pytest

from cluster.core.routes import Routes
from tests.core.coordination import view_of


def routes(nodes=3, own="n1", replication_factor=3):
    made = Routes(own)
    made.set_view(view_of(nodes, replication_factor))
    return made


def test_there_is_no_route_without_a_ring():
    with pytest.raises(AssertionError, match="no request is routed"):
        Routes("n1").route(0)


def test_an_owner_alone_reaches_itself():
    route = routes().route(0)
    assert (route.local, route.others, route.reachable) == (True, (), 1)
    assert len(route.owners) == 3


def test_the_quorum_is_counted_over_the_owners_in_the_table_alive_or_not():
    made = routes()
    assert made.route(0).quorum == 2
    made.peer_up("n2", 1)
    made.peer_down("n2")
    assert made.route(0).quorum == 2
    assert routes(5, replication_factor=5).route(0).quorum == 3
    assert routes(2).route(0).quorum == 2
    assert routes(1).route(0).quorum == 1


def test_peers_come_and_go_and_routes_follow_at_once():
    made = routes()
    made.peer_up("n2", 1)
    assert made.route(0).others == ("n2",)
    made.peer_up("n3", 1)
    assert {*made.route(0).others} == {"n2", "n3"}
    assert made.route(0).reachable == 3
    made.peer_down("n2")
    assert made.route(0).others == ("n3",)
    made.peer_down("n2")
    assert made.is_reachable("n3")
    assert not made.is_reachable("n2")


def test_who_owns_nothing_of_a_group_is_no_part_of_its_route():
    made = routes(5)
    for node in ("n2", "n3", "n4", "n5", "stranger"):
        made.peer_up(node, 1)
    view = view_of(5)
    for group in range(len(view.table.group_sets)):
        route = made.route(group)
        assert route.local == ("n1" in route.owners)
        assert {*route.others} == {*route.owners} - {"n1"}
        assert route.reachable == 3


def test_a_new_ring_replaces_all_routes():
    made = routes(3)
    before = made.route(0)
    made.set_view(view_of(5))
    assert made.route(0) is not before
    assert made.route(0).owners == view_of(5).table.group_owners(0)


def test_routes_are_kept_until_something_changes():
    made = routes()
    assert made.route(0) is made.route(0)


def test_the_first_boot_of_a_node_voids_nothing():
    made = routes()
    assert not made.learn_boot("n2", 5)
    assert made.is_current("n2", 5)
    assert made.is_current("n2", 6), "a boot that is newer still is no older one"


def test_a_newer_boot_voids_the_older_answers():
    made = routes()
    made.learn_boot("n2", 5)
    assert made.learn_boot("n2", 6)
    assert not made.is_current("n2", 5)
    assert made.is_current("n2", 6)
    assert not made.learn_boot("n2", 6)
    assert not made.learn_boot("n2", 5), "old news"
    assert not made.is_current("n2", 5)


def test_boots_are_remembered_while_a_peer_is_away():
    made = routes()
    made.peer_up("n2", 5)
    made.learn_boot("n2", 5)
    made.peer_down("n2")
    assert made.learn_boot("n2", 7)
