"""Writes that a client sends again: answered, ignored or refused, but never done twice."""

from cluster.core import sessions
from cluster.core.operations import FailureCode, Refused, Settled, Write, WriteReply
from tests.core.coordination import Cluster


def write(cluster, request_id, value):
    return Write(request_id, 2, cluster.now + 5, [b"k"], [b"\x01" + value])


def values(cluster):
    return {record[17:] for record in cluster.held(b"k").values()}


def test_a_late_copy_of_a_settled_write_does_not_undo_what_came_after_it():
    cluster = Cluster(3)
    cluster.submit("n1", write(cluster, 5, b"old"))
    cluster.run(0.1)
    cluster.submit("n1", Settled(6), write(cluster, 6, b"new"))
    cluster.run(0.1)
    answered = len(cluster.replies)
    cluster.submit("n1", write(cluster, 5, b"old"))
    cluster.run(0.1)
    assert values(cluster) == {b"new"}
    assert len(cluster.replies) == answered, "who has settled it waits for nothing"
    assert cluster.nodes["n1"].coordinator.counters.requests_repeated == 1


def test_what_cannot_be_remembered_is_refused_and_not_begun(monkeypatch):
    monkeypatch.setattr(sessions, "UNDER_WAY_MAX", 2)
    cluster = Cluster(3)
    cluster.cut = {(a, b) for a in cluster.nodes for b in cluster.nodes}
    ids = [cluster.write("n1", {b"k": b"%d" % number}, timeout_s=9) for number in range(3)]
    cluster.run(0.1)
    refused = cluster.reply(ids[2])
    assert isinstance(refused, Refused)
    assert refused.code is FailureCode.OVERLOADED
    assert "2 writes of this client are under way" in refused.message
    assert cluster.nodes["n1"].coordinator.counters.requests_overloaded == 1
    cluster.cut = set()
    cluster.run(3)
    assert all(isinstance(cluster.reply(each), WriteReply) for each in ids[:2])
    assert values(cluster) == {b"1"}, "in the order in which they were begun"
    again = cluster.write("n1", {b"k": b"again"})
    cluster.run(0.1)
    assert isinstance(cluster.reply(again), WriteReply)


def test_a_refusal_is_an_outcome_too():
    cluster = Cluster(3)
    late = Write(7, 2, cluster.now, [b"k"], [b"\x01v"])
    for _ in range(2):
        cluster.submit("n1", late)
    cluster.run(0.1)
    assert cluster.nodes["n1"].coordinator.counters.requests_expired == 1
    assert cluster.nodes["n1"].coordinator.counters.requests_repeated == 1
    [session] = cluster.nodes["n1"].coordinator._sessions._sessions.values()
    assert session.under_way == 0
