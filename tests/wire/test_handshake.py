import attrs
import pytest

from cluster.wire.handshake import (
    Hello,
    LocalNode,
    Reject,
    Welcome,
    client_hello,
    judge,
    objection,
)

MINE = LocalNode(
    cluster="blue",
    node_id="n1",
    boot=100,
    virtual_nodes=1024,
    replication_factor=3,
    value_max=1 << 20,
    frame_max=1 << 22,
    address="n1:7946",
    version_min=2,
    version_max=4,
)
PEER = attrs.evolve(MINE, node_id="n2", boot=200, address="n2:7946").hello()
CLIENT = attrs.evolve(client_hello(5), version_max=9)


def test_a_peer_is_welcome():
    welcome = Welcome(4, "blue", "n1", 100, 1024, 1 << 20, 1 << 22, [1], 3)
    assert judge(PEER, MINE, ring=[1]) == welcome
    assert judge(PEER, MINE, ring=[1], known_boot=PEER.boot) == welcome


def test_a_boot_that_was_followed_by_another_is_refused_and_told_which():
    answer = judge(PEER, MINE, known_boot=PEER.boot + 1)
    assert isinstance(answer, Reject)
    assert answer.known_boot == 201
    assert "n2 in boot 00000000000000c9, later than its 00000000000000c8" in answer.reason
    assert not answer.myself
    other = judge(attrs.evolve(PEER, cluster="red"), MINE, known_boot=PEER.boot + 1)
    assert isinstance(other, Reject)
    assert other.known_boot == 0, "who does not belong here is told nothing"


@pytest.mark.parametrize(("theirs", "chosen"), [((1, 2), 2), ((1, 3), 3), ((4, 9), 4), ((3, 3), 3)])
def test_the_highest_common_version_is_chosen(theirs, chosen):
    hello = attrs.evolve(PEER, version_min=theirs[0], version_max=theirs[1])
    answer = judge(hello, MINE)
    assert isinstance(answer, Welcome)
    assert answer.version == chosen
    assert objection(answer, hello) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version_max": 1, "version_min": 1}, "no common protocol version: 1 to 1 there, 2 to 4"),
        ({"version_min": 5, "version_max": 6}, "no common protocol version"),
        ({"cluster": "red"}, "cluster 'blue', not 'red'"),
        ({"cluster": ""}, "cluster 'blue', not ''"),
        ({"role": "king"}, "role is"),
        ({"id": ""}, "a node id has"),
        ({"id": "n 2"}, "a node id has"),
        ({"id": "n1"}, "node id n1 is taken by the node at n1:7946"),
        ({"virtual_nodes": 512}, "1024 virtual nodes, not 512"),
        ({"replication_factor": 2}, "replication factor 3, not 2"),
        ({"address": ""}, "no address"),
        ({"address": "n2:99999"}, "no address"),
        ({"address": "n2 or so"}, "no address"),
    ],
)
def test_a_peer_that_differs_is_refused_with_the_reason(change, reason):
    answer = judge(attrs.evolve(PEER, **change), MINE)
    assert isinstance(answer, Reject)
    assert reason in answer.reason
    assert not answer.myself


def test_a_node_recognises_itself():
    answer = judge(MINE.hello(), MINE)
    assert isinstance(answer, Reject)
    assert answer.myself
    assert "myself" in answer.reason


def test_a_client_is_welcome_to_any_cluster_or_to_the_one_it_names():
    assert isinstance(judge(CLIENT, MINE), Welcome)
    assert isinstance(judge(attrs.evolve(CLIENT, cluster="blue"), MINE), Welcome)
    assert isinstance(judge(attrs.evolve(CLIENT, cluster="red"), MINE), Reject)
    assert client_hello(5) == Hello(1, 1, "", "client", "", 5, 0, 0, "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 9}, "chose protocol version 9"),
        ({"cluster": "red"}, "of cluster 'red', not 'blue'"),
        ({"virtual_nodes": 1}, "1 virtual nodes"),
    ],
)
def test_the_dialler_checks_the_welcome(change, reason):
    given = judge(PEER, MINE)
    assert isinstance(given, Welcome)
    assert reason in (objection(attrs.evolve(given, **change), PEER) or "")
