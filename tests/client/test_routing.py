"""Which node is asked for which key, and how batches are cut."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.client._links import Link, LinkState
from cluster.client._routing import JOINED_MAX, KEYS_PER_REQUEST, Router, split
from cluster.core.backoff import Backoff
from cluster.core.operations import Read, Write
from tests.client.fakes import address_of, ring_of
from tests.client.world import World, cluster

VIEWS = {
    (count, factor): ring_of(*(f"n{n}" for n in range(count)), replication_factor=factor)
    for count, factor in [(1, 3), (3, 3), (5, 3), (9, 3), (6, 1)]
}


def router_of(view, connected, *, healthy=None, **options):
    router = Router(**options)
    if view is not None:
        router.set_view(view)
    links = []
    for number, node_id in enumerate(connected):
        link = Link(address_of(node_id), Backoff(0.1, 1.0, random.Random(1)))
        link.state, link.node_id, link.boot = LinkState.UP, node_id, 100 + number
        link.silent = healthy is not None and node_id not in healthy
        links.append(link)
    router.set_links(links, 0.0)
    return router, links


@st.composite
def batches(draw):
    view = draw(st.sampled_from([*VIEWS.values(), None]))
    names = [member.id for member in view.members] if view else ["x", "y"]
    connected = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    healthy = draw(st.lists(st.sampled_from(connected), unique=True))
    tried = draw(st.lists(st.integers(100, 108), max_size=3, unique=True))
    sizes = draw(st.lists(st.integers(1, 400), min_size=1, max_size=60))
    return view, connected, healthy, tuple(tried), sizes


@settings(deadline=None)
@given(batches(), st.integers(1, 1000), st.booleans())
def test_every_key_goes_to_one_node_that_may_be_asked(batch, bytes_max, whole):
    view, connected, healthy, tried, sizes = batch
    router, links = router_of(view, connected, healthy=healthy)
    keys = [b"key%d" % number for number in range(len(sizes))]
    indices = range(len(keys)) if whole else range(0, len(keys), 2)
    plan = router.plan(keys, indices, sizes, bytes_max, tried)
    usable = [link for link in links if link.boot not in tried]
    if not usable:
        assert plan == []
        return
    placed = [i for b in plan for i in (range(len(keys)) if b.indices is None else b.indices)]
    assert sorted(placed) == list(indices)
    good = [link for link in usable if not link.silent] or usable
    for part in plan:
        assert part.link in good
        members = range(len(keys)) if part.indices is None else part.indices
        assert sum(sizes[i] for i in members) <= bytes_max or len(members) == 1
        for index in members if view is not None else ():
            owners = view.owners_of(keys[index])
            reachable = [link for link in good if link.node_id in owners]
            assert part.link in reachable or not reachable


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 100))
def test_pieces_keep_order_and_limits(sizes, bytes_max):
    pieces = split(range(len(sizes)), sizes, bytes_max)
    assert [index for piece in pieces for index in piece] == list(range(len(sizes)))
    for piece in pieces if sizes else ():
        assert piece
        assert sum(sizes[i] for i in piece) <= bytes_max or len(piece) == 1


def test_no_message_has_more_keys_than_allowed():
    count = 3 * KEYS_PER_REQUEST + 1
    for sizes in ([], [1] * count):
        lengths = [len(piece) for piece in split(range(count), sizes, 10**9)]
        assert lengths == [KEYS_PER_REQUEST] * 3 + [1]


def test_a_batch_goes_to_one_coordinator_where_all_own_everything_and_rotates():
    world = World(cluster("n1", "n2", "n3"), [address_of("n1")])
    keys = [b"key%d" % number for number in range(500)]
    for _ in range(6):
        world.set(*keys)
        world.get(*keys)
    for kind in (Write, Read):
        requests = world.asked(kind)
        assert sum(map(len, requests.values())) == 6
        assert all(len(m.keys) == 500 for messages in requests.values() for m in messages)
    assert Counter(map(len, world.asked().values())) == {4: 3}


def test_a_large_batch_is_cut_and_shared_out():
    world = World(cluster("n1", "n2", "n3"), [address_of("n1")])
    keys = [b"key%d" % number for number in range(3 * KEYS_PER_REQUEST)]
    assert all(type(outcome) is bytes for outcome in world.set(*keys).outcomes)
    assert {name: len(messages) for name, messages in world.asked(Write).items()} == {
        "n1": 1, "n2": 1, "n3": 1,
    }  # fmt: skip
    assert all(record is not None for record in world.get(*keys).outcomes)


def test_few_coordinators_in_a_larger_cluster():
    view = VIEWS[9, 3]
    router, _ = router_of(view, [member.id for member in view.members])
    keys = [b"key%d" % number for number in range(1000)]
    plan = router.plan(keys, range(1000), [], 10**6)
    assert len(plan) <= 7, "three owners each: a third of the nodes is the least there could be"


def test_a_single_key_goes_to_its_primary_and_joins_a_frame_about_to_leave():
    view = VIEWS[5, 3]
    names = [member.id for member in view.members]
    router, links = router_of(view, names)
    by_name = {link.node_id: link for link in links}
    for number in range(50):
        key = b"key%d" % number
        first, second, _ = view.owners_of(key)
        assert router.one(key) is by_name[first]
        by_name[second].gathering = True
        assert router.one(key) is by_name[second]
        by_name[second].gathering = False
        strict, links_of_strict = router_of(view, names, join_frames=False)
        next(link for link in links_of_strict if link.node_id == second).gathering = True
        assert strict.one(key).node_id == first


def test_a_frame_is_joined_until_it_is_large_enough():
    world = World(cluster("n1", "n2", "n3"), [address_of("n1")])
    world.hold_writes = {address_of(name) for name in ("n1", "n2", "n3")}
    for number in range(2 * JOINED_MAX):
        world.get(b"key%d" % number)
    waiting = sorted(link.waiting for link in world.core.statistics().links)
    assert sum(waiting) == 2 * JOINED_MAX
    assert waiting[-1] >= JOINED_MAX
    assert waiting[-2] > 0


def test_a_healthy_node_is_asked_before_a_silent_owner():
    view = VIEWS[6, 1]
    router, _ = router_of(view, ["n0", "n1"], healthy=["n1"])
    for number in range(50):
        assert router.one(b"key%d" % number).node_id == "n1"
    router, _ = router_of(view, ["n0"], healthy=[])
    assert router.one(b"k").node_id == "n0", "a silent node is better than none"


def test_any_node_is_another_one_each_time():
    router, _ = router_of(None, ["x", "y", "z"])
    assert {router.any_node().node_id for _ in range(3)} == {"x", "y", "z"}
    assert Router().any_node() is None
    assert Router().one(b"k") is None
