"""Views agree wherever they are made; a state founds or joins once, and holds on to its ring."""

import itertools
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core import ring as ring_module
from cluster.core.placement import Member, place
from cluster.core.ring import (
    EPOCH_MAX,
    MEMBERS_MAX,
    InvalidRingError,
    RingMember,
    RingOutline,
    RingView,
)
from cluster.core.ring_state import NO_EPOCH, RingOutput, RingState
from cluster.core.values import CoreError, InvalidNodeIdError, partition_of

A, B, C, D = (RingMember(name, f"10.0.0.{n}:7000") for n, name in enumerate("abcd"))


def view(*members, epoch=1, virtual_nodes=256, replication_factor=3):
    return RingView(epoch, members, virtual_nodes, replication_factor)


def state(own, expect=3, virtual_nodes=256, replication_factor=3):
    return RingState(
        own,
        virtual_nodes=virtual_nodes,
        replication_factor=replication_factor,
        bootstrap_expect=expect,
    )


def settled(own, ring):
    """A state that has learned a ring."""
    made = state(own, expect=0)
    assert made.learn(ring.members[-1].id, ring).changed is not None
    return made


def test_a_view_says_who_owns_a_key():
    ring = view(A, B, C, D, epoch=7)
    table = place([Member("a"), Member("b"), Member("c"), Member("d")], 256)
    assert ring.table == table
    for number in range(200):
        key = b"key:%d" % number
        partition = partition_of(key, ring.shift)
        assert ring.partition_of(key) == partition < 256
        assert ring.owners_of(key) == table.owners(partition)
        assert set(table.group_owners(ring.group_of(partition))) == set(ring.owners_of(key))


@pytest.mark.parametrize(("count", "factor", "size"), [(1, 3, 1), (2, 3, 2), (3, 3, 2), (4, 5, 3)])
def test_a_quorum_is_of_all_owners(count, factor, size):
    assert view(*(A, B, C, D)[:count], replication_factor=factor).quorum_size == size


def test_a_view_is_the_same_in_any_order_of_members():
    for members in itertools.permutations((A, B, C)):
        assert view(*members) == view(A, B, C)
        assert view(*members).digest == view(A, B, C).digest


def test_the_digest_covers_what_decides_ownership():
    heavy, zoned = attrs.evolve(C, weight=2.0), attrs.evolve(C, zone="z")
    views = [
        view(A, B, C),
        view(A, B, C, epoch=2),
        view(A, B, D),
        view(A, B),
        view(A, B, heavy),
        view(A, B, zoned),
        view(A, B, C, virtual_nodes=512),
        view(A, B, C, replication_factor=2),
    ]
    assert len({ring.digest for ring in views}) == len(views)
    assert view(A, B, C).digest == 0x6D7371227BAEA76E
    moved = attrs.evolve(C, address="10.9.9.9:1")
    assert view(A, B, moved).digest == view(A, B, C).digest
    assert view(A, B, moved) != view(A, B, C)


def test_a_member_is_found_by_its_id():
    assert view(A, B).member("b") == B
    assert view(A, B).member("z") is None


def as_lists(wire):
    return [as_lists(part) for part in wire] if isinstance(wire, tuple) else wire


names = st.text("abcXYZ019._:-", min_size=1, max_size=12)


@given(
    members=st.dictionaries(
        names, st.tuples(st.floats(0.01, 100.0), st.text("ab-", max_size=3)), min_size=1, max_size=5
    ),
    epoch=st.integers(1, EPOCH_MAX),
)
def test_a_view_survives_the_wire(members, epoch):
    ring = view(
        *(RingMember(name, "[fe80::1%eth0]:7000", w, z) for name, (w, z) in members.items()),
        epoch=epoch,
    )
    for wire in (ring.as_wire(), as_lists(ring.as_wire())):
        back = RingView.from_wire(wire)
        assert back == ring
        assert back.table == ring.table


def test_later_fields_on_the_wire_are_ignored():
    epoch, phase, virtual_nodes, factor, members = view(A, B).as_wire()
    extended = (epoch, phase, virtual_nodes, factor, tuple((*m, 1) for m in members), "later")
    assert RingView.from_wire(extended) == view(A, B)


def broken_wires():
    good = list(view(A, B).as_wire())
    replacements = {
        0: [0, -1, 1.0, True, "1", EPOCH_MAX + 1],
        1: ["moving", 1, None],
        2: [100, 0, "256", 256.0, 1 << 40],
        3: [0, 99, None, True],
        4: [
            (),
            None,
            "ab",
            {"a": 1},
            (("a", "h:1", 1.0, ""),) * 2,
            (("a", "h:1", 1.0, ""),) * (MEMBERS_MAX + 1),
            (("a",),),
            (("", "h:1", 1.0, ""),),
            (("a b", "h:1", 1.0, ""),),
            ((7, "h:1", 1.0, ""),),
            (("a", "h", 1.0, ""),),
            (("a", "h:", 1.0, ""),),
            (("a", "fe80::1:70", 1.0, ""),),
            (("a", "h:1\n", 1.0, ""),),
            (("a", "h:0", 1.0, ""),),
            (("a", "h:65536", 1.0, ""),),
            (("a", "h\xf6:1", 1.0, ""),),
            (("a", "[fe80:1", 1.0, ""),),
            (("a", "h" * 400 + ":1", 1.0, ""),),
            (("a", b"h:1", 1.0, ""),),
            (("a", "h:1", 1, ""),),
            (("a", "h:1", 0.0, ""),),
            (("a", "h:1", -5.0, ""),),
            (("a", "h:1", 1e9, ""),),
            (("a", "h:1", float("nan"), ""),),
            (("a", "h:1", 1.0, "a\nb"),),
            (("a", "h:1", 1.0, "z" * 65),),
            (("a", "h:1", 1.0, None),),
        ],
    }
    yield from (None, 5, "ring", b"ring", [], good[:4], {})
    for index, values in replacements.items():
        for value in values:
            yield [*good[:index], value, *good[index + 1 :]]


@pytest.mark.parametrize("wire", list(broken_wires()), ids=lambda wire: repr(wire)[:60])
def test_a_malformed_view_is_refused(wire):
    with pytest.raises((InvalidRingError, InvalidNodeIdError)) as caught:
        RingView.from_wire(wire)
    assert isinstance(caught.value, CoreError)
    assert len(str(caught.value)) < 400


def test_every_founder_founds_the_same_ring():
    states = {member.id: state(member) for member in (A, B, C)}
    for made in states.values():
        assert made.start() == RingOutput()
        assert (made.view, made.epoch, made.digest, made.awaited) == (None, NO_EPOCH, 0, 2)
    for order in ((A, [B, C]), (B, [C, A]), (C, [A, B])):
        own, others = order
        assert states[own.id].meet(others[0], NO_EPOCH, 0).changed is None
        assert states[own.id].meet(others[0], NO_EPOCH, 0).changed is None
        assert (states[own.id].awaited, states[own.id].met) == (1, 2)
        output = states[own.id].meet(others[1], NO_EPOCH, 0)
        assert output == RingOutput(changed=view(A, B, C), tell=True)
        assert states[own.id].awaited == 0


def test_a_node_that_expects_itself_alone_founds_at_once():
    made = state(A, expect=1)
    assert made.start().changed == view(A)
    assert made.start() == RingOutput()


def test_a_node_that_expects_nobody_never_founds():
    made = state(A, expect=0)
    assert made.start() == RingOutput()
    for member in (B, C, D):
        assert made.meet(member, NO_EPOCH, 0) == RingOutput()
    assert made.view is None


def test_a_ring_that_exists_is_learned_and_not_founded_again():
    """A node restarts with nothing while the others are at a later epoch."""
    ring = view(A, B, D, epoch=4)
    made = state(A)
    assert made.meet(B, 4, ring.digest) == RingOutput(ask=True)
    assert made.meet(C, NO_EPOCH, 0) == RingOutput()
    assert made.view is None
    assert made.learn("b", ring) == RingOutput(changed=ring)
    assert made.meet(C, NO_EPOCH, 0) == RingOutput(tell=True)


def test_a_founder_that_lost_its_ring_before_it_told_anybody_founds_it_again():
    made = state(A)
    made.meet(B, 1, view(A, B, C).digest)
    made.meet(C, NO_EPOCH, 0)
    assert made.view is None
    assert made.meet(B, NO_EPOCH, 0).changed == view(A, B, C)


@pytest.mark.parametrize("epoch", [1, 2, EPOCH_MAX])
def test_a_ring_stays_and_another_one_of_whatever_epoch_is_a_conflict(epoch):
    ours = view(A, B, C, epoch=2)
    made = settled(A, ours)
    other = view(A, B, D, epoch=epoch)
    for output in (
        made.learn("d", other),
        made.hear("d", epoch, other.digest),
        made.meet(D, epoch, other.digest),
    ):
        assert output == RingOutput(conflict=output.conflict)
        assert output.conflict.startswith(f"d has another ring: epoch {epoch}, digest")
        assert f"{other.digest:016x}" in output.conflict
    assert made.view == ours
    assert made.learn("b", ours) == made.hear("b", 2, ours.digest) == RingOutput()
    assert made.hear("e", NO_EPOCH, 0) == RingOutput(tell=True), "who has none is told ours"


def test_a_ring_is_taken_over_only_from_its_members_and_from_itself():
    ring = view(B, C)
    made = state(A, expect=0)
    output = made.learn("d", ring)
    assert output.changed is None
    assert output.conflict == "d sent a ring that it is not in: not taken over"
    assert made.learn("b", ring).changed == ring
    again = state(A, expect=0)
    assert again.learn("a", ring).changed == ring, "what it held before a crash"


def test_a_ring_that_is_refused_is_not_placed(monkeypatch):
    """Placing a large one takes seconds; whoever names one must not have us do it."""
    many = tuple((f"m{n}", f"h:{n + 1}", 1.0 + n / 70, "") for n in range(MEMBERS_MAX))
    placed = []
    monkeypatch.setattr(ring_module, "place", lambda *_: placed.append(1))
    made = state(A, expect=0)
    for sender, wire in (
        ("m1", (1, "stable", 65_536, 3, many)),
        ("z", (1, "stable", 256, 3, many)),
    ):
        assert made.learn(sender, RingOutline.from_wire(wire)).conflict is not None
        with pytest.raises(InvalidRingError, match=r"not \(256, 2\)"):
            RingView.from_wire(wire, (256, 2))
    assert placed == []


def test_a_ring_with_other_parameters_is_refused():
    made = state(A, expect=0, replication_factor=2)
    output = made.learn("b", view(A, B, epoch=9))
    assert output.changed is None
    assert "configured for (256, 2)" in output.conflict
    assert made.view is None


def test_a_member_that_moved_is_found_at_its_new_address():
    made = settled(A, view(A, B, C))
    moved = attrs.evolve(B, address="[::1]:9")
    output = made.meet(moved, 1, made.digest)
    assert output == RingOutput(changed=view(A, moved, C))
    assert made.digest == view(A, B, C).digest
    assert made.meet(moved, 1, made.digest) == RingOutput()
    before = state(A, expect=0)
    before.meet(moved, NO_EPOCH, 0)
    assert before.learn("c", view(A, B, C)).changed == view(A, moved, C)


def test_the_own_address_wins_over_a_learned_one():
    at_home = attrs.evolve(A, address="10.0.0.99:1")
    assert settled(at_home, view(A, B)).view == view(at_home, B)


def test_a_member_that_is_configured_otherwise_is_told_of():
    made = settled(A, view(A, B, C))
    output = made.meet(attrs.evolve(B, weight=2.0), 1, made.digest)
    assert output.changed is None
    assert output.conflict.startswith("b is configured for weight 2.0")
    assert made.view == view(A, B, C)


def test_nodes_met_are_limited():
    made = state(A, expect=0)
    for number in range(MEMBERS_MAX - 1):
        assert made.meet(RingMember(f"n{number}", "h:1"), NO_EPOCH, 0) == RingOutput()
    assert "more than 256" in made.meet(B, NO_EPOCH, 0).conflict
    assert made.meet(RingMember("n0", "h:2"), NO_EPOCH, 0).conflict is None


@pytest.mark.parametrize("expect", [-1, MEMBERS_MAX + 1])
def test_a_senseless_expectation_is_refused(expect):
    with pytest.raises(ValueError, match="bootstrap_expect"):
        state(A, expect=expect)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_order_of_messages_all_end_with_the_same_ring(seed):
    """Nodes exchange introductions and views at random, as their outputs ask for."""
    rng = random.Random(seed)
    members = [RingMember(f"n{n}", f"h{n}:1") for n in range(5)]
    states = {member.id: state(member, expect=5) for member in members}
    for made in states.values():
        made.start()
    for _ in range(400):
        one, two = rng.sample(members, 2)
        ours, theirs = states[one.id], states[two.id]
        output = ours.meet(two, theirs.epoch, theirs.digest)
        assert output.conflict is None
        if output.ask and rng.random() < 0.7:
            ours.learn(two.id, theirs.view)
        if output.tell and ours.view is not None and rng.random() < 0.7:
            theirs.learn(one.id, ours.view)
    assert {made.digest for made in states.values()} == {view(*members).digest}
    assert {made.epoch for made in states.values()} == {1}
