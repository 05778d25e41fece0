"""Bundles: what goes together, and that every reply comes back to whom it is for."""

import itertools

import attrs
from hypothesis import given
from hypothesis import strategies as st

from cluster.client._bundles import BYTES_MAX, KEYS_MAX, Bundles
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

STAMP, ABOVE = b"s" * 16, b"t" * 16


def bundles():
    return Bundles(itertools.count(1000).__next__)


def write(number, *keys, level=2, deadline=2.0, ttl_ms=0, value=b"v"):
    return Write(number, level, deadline, list(keys), [b"\x01" + value for _ in keys], ttl_ms)


def test_writes_that_leave_together_are_one_request():
    made = bundles()
    (packed,) = made.pack([write(1, b"a"), write(2, b"b", b"c"), write(3, b"d")], 0.0)
    assert packed == write(1000, b"a", b"b", b"c", b"d")
    reply = WriteReply(1000, STAMP, [(1, ABOVE)], [Failure(3, FailureCode.TIMEOUT, "late")], 3, 2)
    assert made.unpack(reply) == [
        WriteReply(1, STAMP, [], [], 3, 2),
        WriteReply(2, STAMP, [(0, ABOVE)], [], 3, 2),
        WriteReply(3, STAMP, [], [Failure(0, FailureCode.TIMEOUT, "late")], 3, 2),
    ]
    assert len(made) == 0


def test_one_request_leaves_as_it_is_and_so_does_its_reply():
    made = bundles()
    assert made.pack([write(1, b"a")], 0.0) == [write(1, b"a")]
    reply = WriteReply(1, STAMP, [], [], 3, 2)
    assert made.unpack(reply) == (reply,)


def test_only_like_goes_with_like():
    requests = [
        write(1, b"a"),
        write(2, b"b", level=3),
        write(3, b"c", ttl_ms=5),
        write(4, b"d", deadline=20.0),
        Delete(5, 2, 2.0, [b"e"]),
        Read(6, 2, 2.0, [b"f"]),
        Touch(7, 2, 2.0, [b"g"], 5),
        Touch(8, 2, 2.0, [b"h"], 6),
    ]
    assert bundles().pack(requests, 0.0) == requests


def test_a_key_is_written_once_in_a_bundle_but_may_be_read_twice():
    made = bundles()
    assert len(made.pack([write(1, b"a"), write(2, b"a"), write(3, b"b")], 0.0)) == 2
    (packed,) = made.pack([Read(4, 2, 2.0, [b"a"]), Read(5, 2, 2.0, [b"a"])], 0.0)
    assert packed.keys == [b"a", b"a"]


def test_deadlines_close_together_share_the_later_one():
    (packed,) = bundles().pack([write(1, b"a", deadline=2.0), write(2, b"b", deadline=2.1)], 0.0)
    assert packed.deadline == 2.1
    assert (
        len(bundles().pack([write(1, b"a", deadline=2.0), write(2, b"b", deadline=2.1)], 1.9)) == 2
    )


def test_large_requests_leave_by_themselves():
    large = write(1, *(b"%d" % i for i in range(KEYS_MAX // 4 + 1)))
    heavy = write(2, b"h", value=b"x" * (BYTES_MAX // 4))
    small = [write(3, b"s"), write(4, b"t")]
    packed = bundles().pack([large, small[0], heavy, small[1]], 0.0)
    assert [request.request_id for request in packed] == [1, 1000, 2]


def test_a_write_is_repeated_as_the_bundle_it_left_in():
    made = bundles()
    members = [write(1, b"a"), write(2, b"b")]
    (first,) = made.pack(members, 0.0)
    assert made.pack([*members, write(3, b"c")], 0.5) == [first, write(3, b"c")]


def test_a_read_may_leave_in_another_one():
    made = bundles()
    reads = [Read(1, 2, 2.0, [b"a"]), Read(2, 2, 2.0, [b"b"])]
    (first,) = made.pack(reads, 0.0)
    (again,) = made.pack(reads, 0.5)
    assert again.request_id != first.request_id


def test_a_refused_bundle_refuses_each_member():
    made = bundles()
    made.pack([write(1, b"a"), write(2, b"b")], 0.0)
    refused = Refused(1000, FailureCode.DRAINING, "going", 5)
    assert made.unpack(refused) == [attrs.evolve(refused, request_id=i) for i in (1, 2)]
    assert made.pack([write(1, b"a")], 0.1) == [write(1, b"a")], "free to leave in another way"


def test_reads_and_touches_come_apart():
    made = bundles()
    made.pack([Read(1, 2, 2.0, [b"a"]), Read(2, 2, 2.0, [b"b", b"c"])], 0.0)
    failure = Failure(2, FailureCode.OVERLOADED, "full")
    replies = made.unpack(ReadReply(1000, [b"A", None, None], [failure], 3, 2))
    assert replies == [
        ReadReply(1, [b"A"], [], 3, 2),
        ReadReply(2, [None, None], [Failure(1, FailureCode.OVERLOADED, "full")], 3, 2),
    ]
    made.pack([Touch(3, 2, 2.0, [b"a"], 9), Touch(4, 2, 2.0, [b"b"], 9)], 0.0)
    assert made.unpack(TouchReply(1001, [STAMP, b""], [], 3, 2)) == [
        TouchReply(3, [STAMP], [], 3, 2),
        TouchReply(4, [b""], [], 3, 2),
    ]


def test_a_bundle_nobody_answers_is_forgotten_at_its_deadline():
    made = bundles()
    made.pack([write(1, b"a"), write(2, b"b")], 0.0)
    made.expire(1.9)
    assert len(made) == 1
    made.expire(2.0)
    assert len(made) == 0
    assert made.pack([write(1, b"a", deadline=9.0)], 3.0) == [write(1, b"a", deadline=9.0)]


keys = st.binary(min_size=1, max_size=2)


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2]), st.lists(keys, min_size=1, max_size=4, unique=True))
    )
)
def test_nothing_is_lost_added_or_mixed_up(asked):
    made = bundles()
    requests = [write(i, *names, level=level) for i, (level, names) in enumerate(asked, 1)]
    answered = []
    for packed in made.pack(requests, 0.0):
        assert len(set(packed.keys)) == len(packed.keys)
        restamped = [(i, key.ljust(16)) for i, key in enumerate(packed.keys)]
        reply = WriteReply(packed.request_id, STAMP, restamped, [], 3, packed.level)
        answered += made.unpack(reply)
    by_id = {reply.request_id: reply for reply in answered}
    assert sorted(by_id) == [request.request_id for request in requests]
    for request in requests:
        reply = by_id[request.request_id]
        assert reply.answered == request.level
        assert [stamp for _, stamp in reply.restamped] == [key.ljust(16) for key in request.keys]
    assert len(made) == 0
