"""Session guarantees at ONE, and what a session remembers."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.client._session import Session
from cluster.core import record as rec
from cluster.core.operations import Read
from cluster.core.values import Level
from cluster.errors import Unavailable
from tests.client.fakes import WALL_MS, address_of, stamp_at
from tests.client.world import World, cluster, key_of

NAMES = ("n1", "n2", "n3")
BODY = b"\x01v"


def own_tables():
    """Three nodes that share a ring and a clock and hold copies of their own."""
    nodes = [attrs.evolve(node, table={}) for node in cluster(*NAMES)]
    return World(nodes, [address_of("n1")])


def test_an_older_answer_at_one_makes_it_ask_the_next_owner():
    world = own_tables()
    key = key_of(world.core.view, "n2")
    stamp = world.set(key).outcomes[0]
    fresh = world.nodes[address_of("n2")].table.pop(key)
    world.nodes[address_of("n2")].table[key] = rec.make(stamp_at(1), BODY)
    world.nodes[address_of("n1")].table[key] = fresh
    world.nodes[address_of("n3")].table[key] = fresh
    assert rec.stamp_of(world.get(key, level=Level.ONE).outcomes[0]) == stamp
    counts = {name: len(messages) for name, messages in world.asked(Read).items()}
    assert counts["n2"] == 1
    assert sum(counts.values()) == 2


@pytest.mark.parametrize("old", [None, rec.make(stamp_at(1), BODY)], ids=["absent", "older"])
def test_without_a_holder_of_what_was_seen_it_is_unavailable(old):
    world = own_tables()
    key = key_of(world.core.view, "n2")
    world.set(key)
    for node in world.nodes.values():
        node.table.clear()
        if old is not None:
            node.table[key] = old
    error = world.get(key, level=Level.ONE).outcomes[0]
    assert isinstance(error, Unavailable)
    assert repr(key) in str(error)
    assert sum(map(len, world.asked(Read).values())) == 3
    assert world.get(b"other", level=Level.ONE).outcomes == [None]
    statistics = world.core.statistics()
    assert statistics.retries_refused == 0


def test_reads_at_one_are_monotonic():
    world = own_tables()
    key = key_of(world.core.view, "n2")
    new, old = rec.make(stamp_at(9), BODY), rec.make(stamp_at(8), BODY)
    world.nodes[address_of("n2")].table[key] = new
    assert world.get(key, level=Level.ONE).outcomes == [new]
    for node in world.nodes.values():
        node.table[key] = old
    assert isinstance(world.get(key, level=Level.ONE).outcomes[0], Unavailable)
    assert world.get(key, level=Level.QUORUM).outcomes == [old], "other levels need no memory"


def test_a_batch_at_one_asks_again_only_for_what_is_older():
    world = own_tables()
    keys = [b"a", b"b", b"c"]
    world.set(*keys, level=Level.ONE)
    full = next(node for node in world.nodes.values() if node.table)
    for node in world.nodes.values():
        node.table.update(full.table)
    writer = next(name for name, messages in world.asked().items() if messages)
    for node in world.nodes.values():
        if node.node_id != writer:
            node.table.pop(b"b")
    read = world.get(*keys, level=Level.ONE)
    assert all(type(outcome) is bytes for outcome in read.outcomes)
    again = [m.keys for messages in world.asked(Read).values() for m in messages]
    assert sorted(again, key=len)[:-1] == [[b"b"]] * (len(again) - 1)


def test_a_deleted_key_may_disappear():
    session = Session()
    session.wrote([b"k"], stamp_at(5), 0, deleted=True)
    assert not session.is_stale(b"k", None)
    assert session.is_stale(b"k", rec.make(stamp_at(4), BODY))
    assert not session.is_stale(b"k", rec.tombstone(stamp_at(5)))


def test_an_expiring_key_may_disappear_once_it_has_expired():
    session = Session()
    session.observe(WALL_MS << 16)
    session.wrote([b"k"], stamp_at(WALL_MS << 16), 1000, deleted=False)
    assert session.is_stale(b"k", None)
    session.touched([b"k", b"absent"], [stamp_at(WALL_MS << 16), b""], 5000)
    session.observe(WALL_MS + 1001 << 16)
    assert session.is_stale(b"k", None), "the touch let it live on"
    session.observe(WALL_MS + 5000 << 16)
    assert not session.is_stale(b"k", None)
    assert not session.is_stale(b"absent", None)


def test_a_read_of_an_expiring_key_is_remembered_with_its_expiry():
    session = Session()
    record = rec.make(stamp_at(WALL_MS << 16), BODY, WALL_MS + 10)
    session.read([b"k"], [record])
    assert session.is_stale(b"k", None)
    session.read([b"k"], [rec.with_expiry(record, WALL_MS + 20)])
    session.observe(WALL_MS + 15 << 16)
    assert session.is_stale(b"k", None)
    session.observe(WALL_MS + 20 << 16)
    assert not session.is_stale(b"k", None)
    assert not session.is_stale(b"k", record), "an expiry is no newer version"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 50), st.sampled_from("wrd"))))
def test_the_last_keys_are_remembered_with_their_highest_stamp(events):
    """Model: the highest stamp of each key. A key is held until 8 others were noted after it."""
    session = Session(keys_remembered=8)
    highest = {}
    raised_at = {}
    noted = []
    for number, clock, kind in events:
        key, stamp = b"%d" % number, stamp_at(clock)
        if kind == "r":
            session.read([key], [rec.make(stamp, BODY)])
        else:
            session.wrote([key], stamp, 0, deleted=kind == "d")
        if stamp >= highest.get(key, b""):
            highest[key] = stamp
            raised_at[key] = len(noted)
        noted.append(key)
    assert len(session) <= 16
    for key, at in raised_at.items():
        if len(set(noted[at:])) > 8:
            continue
        assert not session.is_stale(key, rec.make(highest[key], BODY))
        older = int.from_bytes(highest[key][:8], "big") - 1
        assert session.is_stale(key, rec.make(stamp_at(older), BODY))
