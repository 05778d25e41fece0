"""Bundles: what goes together, and that every reply comes back to whom it is for."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.client._bundles import BYTES_MAX, KEYS_MAX, Bundles, BundlesByNode, apart
from cluster.client._operation import Operation, Part
from cluster.core.operations import (
    Delete,
    Failure,
    FailureCode,
    Read,
    ReadReply,
    Refused,
    Touch,
    TouchReply,
    Write,
    WriteReply,
)
from cluster.errors import ProtocolError
from cluster.wire.control import ControlRequest

STAMP, ABOVE = b"s" * 16, b"t" * 16


def bundles():
    return Bundles(itertools.count(1000).__next__)


def parts_of(*messages):
    return [
        Part(m.request_id, Operation(2, m.deadline, [b"-"]), None, m, None, ()) for m in messages
    ]


def write(number, *keys, level=2, deadline=2.0, ttl_ms=0, value=b"v"):
    return Write(number, level, deadline, list(keys), [b"\x01" + value for _ in keys], ttl_ms)


def read(number, *keys):
    return Read(number, 2, 2.0, list(keys))


def answers(made, reply):
    """Take the reply apart and let every member go; returns the answers by id of the member."""
    replies = apart(made.find(reply.request_id), reply)
    for part, _ in replies:
        part.bundle.let_go(part)
    return {part.request_id: answer for part, answer in replies}


def test_writes_that_leave_together_are_one_request():
    made = bundles()
    parts = parts_of(write(1, b"a"), write(2, b"b", b"c"), write(3, b"d"))
    (packed,) = made.pack(parts, 0.0)
    assert packed == write(1000, b"a", b"b", b"c", b"d")
    reply = WriteReply(1000, STAMP, [(1, ABOVE)], [Failure(3, FailureCode.TIMEOUT, "late")], 3, 2)
    assert answers(made, reply) == {
        1: WriteReply(1, STAMP, [], [], 3, 2),
        2: WriteReply(2, STAMP, [(0, ABOVE)], [], 3, 2),
        3: WriteReply(3, STAMP, [], [Failure(0, FailureCode.TIMEOUT, "late")], 3, 2),
    }
    assert len(made) == 0


def test_one_request_leaves_as_it_is():
    made = bundles()
    assert made.pack(parts_of(write(1, b"a")), 0.0) == [write(1, b"a")]
    assert len(made) == 0


def test_only_like_goes_with_like():
    requests = [
        write(1, b"a"),
        write(2, b"b", level=3),
        write(3, b"c", ttl_ms=5),
        write(4, b"d", deadline=20.0),
        Delete(5, 2, 2.0, [b"e"]),
        read(6, b"f"),
        Touch(7, 2, 2.0, [b"g"], 5),
        Touch(8, 2, 2.0, [b"h"], 6),
        ControlRequest(9, 2.0, "status", {}),
        ControlRequest(10, 2.0, "status", {}),
    ]
    assert bundles().pack(parts_of(*requests), 0.0) == requests


def test_a_key_is_written_once_in_a_bundle_but_may_be_read_twice():
    made = bundles()
    writes = parts_of(write(1, b"a"), write(2, b"a"), write(3, b"b"))
    assert made.pack(writes, 0.0) == [write(1, b"a"), write(1000, b"a", b"b")]
    (packed,) = made.pack(parts_of(read(4, b"a"), read(5, b"a")), 0.0)
    assert packed.keys == [b"a", b"a"]


def test_deadlines_close_together_share_the_later_one():
    requests = [write(1, b"a", deadline=2.0), write(2, b"b", deadline=2.1)]
    (packed,) = bundles().pack(parts_of(*requests), 0.0)
    assert packed.deadline == 2.1
    assert len(bundles().pack(parts_of(*requests), 1.9)) == 2


def test_large_requests_leave_by_themselves():
    large = write(1, *(b"%d" % i for i in range(KEYS_MAX // 4 + 1)))
    heavy = write(2, b"h", value=b"x" * (BYTES_MAX // 4))
    small = [write(3, b"s"), write(4, b"t")]
    packed = bundles().pack(parts_of(large, small[0], heavy, small[1]), 0.0)
    assert [request.request_id for request in packed] == [1, 1000, 2]


def test_a_bundle_is_not_larger_than_allowed():
    made = Bundles(itertools.count(1000).__next__, 1000)
    packed = made.pack(parts_of(*(write(i, b"%03d" % i, value=b"x" * 90) for i in range(25))), 0.0)
    assert [len(request.keys) for request in packed] == [10, 10, 5]
    assert len(bundles().pack(parts_of(*(read(i, b"%d" % i) for i in range(300))), 0.0)) == 2


def test_what_is_to_leave_alone_does():
    parts = parts_of(write(1, b"a"), write(2, b"b"), write(3, b"c"))
    parts[1].operation.alone = True
    packed = bundles().pack(parts, 0.0)
    assert packed == [write(1000, b"a", b"c"), write(2, b"b")]


def test_a_write_is_repeated_as_the_bundle_it_left_in():
    made = bundles()
    members = parts_of(write(1, b"a"), write(2, b"b"))
    (first,) = made.pack(members, 0.0)
    (new,) = parts_of(write(3, b"c"))
    assert made.pack([*members, new], 0.5) == [first, write(3, b"c")]
    members[0].bundle.let_go(members[0])
    assert made.pack(members[1:], 0.6) == [first], "one member is enough"


def test_a_refused_bundle_refuses_each_member():
    made = bundles()
    parts = parts_of(write(1, b"a"), write(2, b"b"))
    made.pack(parts, 0.0)
    refused = Refused(1000, FailureCode.DRAINING, "going", 5)
    assert answers(made, refused) == {1: refused, 2: refused}
    assert made.pack(parts[:1], 0.1) == [write(1, b"a")], "free to leave in another way"


def test_reads_and_touches_come_apart():
    made = bundles()
    made.pack(parts_of(read(1, b"a"), read(2, b"b", b"c")), 0.0)
    failure = Failure(2, FailureCode.OVERLOADED, "full")
    assert answers(made, ReadReply(1000, [b"A", None, None], [failure], 3, 2)) == {
        1: ReadReply(1, [b"A"], [], 3, 2),
        2: ReadReply(2, [None, None], [Failure(1, FailureCode.OVERLOADED, "full")], 3, 2),
    }
    made.pack(parts_of(Touch(3, 2, 2.0, [b"a"], 9), Touch(4, 2, 2.0, [b"b"], 9)), 0.0)
    assert answers(made, TouchReply(1001, [STAMP, b""], [], 3, 2)) == {
        3: TouchReply(3, [STAMP], [], 3, 2),
        4: TouchReply(4, [b""], [], 3, 2),
    }


@pytest.mark.parametrize(
    "reply",
    [
        ReadReply(1000, [None], [], 3, 2),
        ReadReply(1000, [None] * 3, [], 3, 2),
        ReadReply(1000, [None] * 2, [Failure(2, FailureCode.TIMEOUT, "")], 3, 2),
        TouchReply(1000, [b""], [], 3, 2),
        WriteReply(1000, STAMP, [(2, ABOVE)], [], 3, 2),
        WriteReply(1000, STAMP, [], [Failure(-1, FailureCode.TIMEOUT, "")], 3, 2),
    ],
)
def test_a_reply_of_the_wrong_size_is_refused(reply):
    made = bundles()
    made.pack(parts_of(read(1, b"a"), read(2, b"b")), 0.0)
    with pytest.raises(ProtocolError, match="does not fit a Read of 2 keys"):
        apart(made.find(1000), reply)


def test_a_bundle_lasts_as_long_as_a_member_waits_for_it():
    made = bundles()
    parts = parts_of(read(1, b"a"), read(2, b"b"))
    made.pack(parts, 0.0)
    parts[0].bundle.let_go(parts[0])
    assert len(made) == 1
    parts[1].bundle.let_go(parts[1])
    assert len(made) == 0
    assert [part.bundle for part in parts] == [None, None]


def test_a_boot_keeps_its_bundles_and_another_begins_with_none():
    known = BundlesByNode(itertools.count(1000).__next__)
    first = known.of("n1", 5, 2**20)
    parts = parts_of(write(1, b"a"), write(2, b"b"))
    first.pack(parts, 0.0)
    assert known.of("n1", 5, 2**20) is first
    assert known.find(1000) is parts[0].bundle
    assert known.of("n1", 4, 2**20) is not first, "an older boot that is about to be left"
    assert known.of("n1", 5, 2**20) is first
    known.sweep(lambda _: False)
    assert len(known) == 1, "something waits"
    assert len(known.of("n1", 6, 2**20)) == 0
    assert known.find(1000) is None
    known.sweep(lambda _: True)
    assert known.of("n1", 6, 2**20) is known.of("n1", 6, 2**20)
    known.sweep(lambda _: False)
    assert not known._by_node


keys = st.binary(min_size=1, max_size=2)


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2]), st.lists(keys, min_size=1, max_size=4, unique=True))
    )
)
def test_nothing_is_lost_added_or_mixed_up(asked):
    made = bundles()
    requests = [write(i, *names, level=level) for i, (level, names) in enumerate(asked, 1)]
    answered = {}
    for packed in made.pack(parts_of(*requests), 0.0):
        assert len(set(packed.keys)) == len(packed.keys)
        restamped = [(i, key.ljust(16)) for i, key in enumerate(packed.keys)]
        reply = WriteReply(packed.request_id, STAMP, restamped, [], 3, packed.level)
        bundled = made.find(packed.request_id) is not None
        answered |= answers(made, reply) if bundled else {packed.request_id: reply}
    assert sorted(answered) == [request.request_id for request in requests]
    for request in requests:
        reply = answered[request.request_id]
        assert reply.answered == request.level
        assert [stamp for _, stamp in reply.restamped] == [key.ljust(16) for key in request.keys]
    assert len(made) == 0
