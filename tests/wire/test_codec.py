"""Frames: round trips, sizes, budgets, what newer and older releases send, golden bytes."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.operations import Failure, FailureCode, Read, Refused, Write, WriteReply
from cluster.errors import ProtocolError
from cluster.wire.codec import BUDGET_MS_MAX, Codec, FrameLimits, codec_of
from cluster.wire.handshake import Reject
from cluster.wire.messages import (
    DEADLINE_FIELD,
    MESSAGE_TYPES,
    TAGS,
    Frame,
    FrameHeader,
    MemberEntry,
    MembersUpdate,
    RingRequest,
)
from tests.wire.strategies import MESSAGES, U64, objects

CODECS = {name: Codec(name) for name in ("msgpack", "json")}
HEADER = FrameHeader(0, 0, 0)
HEADERS = st.builds(FrameHeader, U64, U64, U64)


def both(test):
    return pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))(test)


@both
@settings(max_examples=40, deadline=None)
@given(header=HEADERS, messages=st.lists(MESSAGES, max_size=4))
def test_round_trip(codec, header, messages):
    frame = codec.encode(header, messages, now=0.0)
    assert codec_of(frame) == codec.name
    decoded = codec.decode(frame, now=0.0)
    assert decoded.header == header
    assert len(decoded.messages) == len(messages)
    for got, sent in zip(decoded.messages, messages, strict=True):
        assert same(got, sent)


def same(got, sent):
    """Equal, types of free values included, except that a deadline is at most a day away."""
    if hasattr(sent, DEADLINE_FIELD):
        deadline = min(sent.deadline, BUDGET_MS_MAX / 1000)
        assert got.deadline == pytest.approx(deadline, abs=1e-6)
        sent = attrs.evolve(sent, deadline=got.deadline)
    return got == sent and repr(got) == repr(sent)


@both
@pytest.mark.parametrize("message_type", MESSAGE_TYPES.values())
def test_every_message_is_covered(codec, message_type):
    @settings(max_examples=20, deadline=None)
    @given(message=objects(message_type))
    def check(message):
        (got,) = codec.decode(codec.encode(HEADER, [message], 0.0), 0.0).messages
        assert same(got, message)

    check()


def test_golden_bytes():
    write = Write(7, 2, 1.5, [b"k"], [b"\x01v"], 9)
    frame = CODECS["msgpack"].encode(FrameHeader(1, 2, 3), [write], now=1.0)
    assert frame.hex(" ") == (
        "95 01 01 02 03 91 97 01 07 02 cd 01 f4 91 c4 01 6b 91 c4 02 01 76 09"
    )
    frame = CODECS["json"].encode(FrameHeader(1, 2, 1 << 63), [write], now=1.0)
    assert frame == (
        b'[1,1,2,{"$int":"9223372036854775808"},'
        b'[[1,7,2,500,[{"$b64":"aw=="}],[{"$b64":"AXY="}],9]]]'
    )


def test_tags_and_fields_are_part_of_the_protocol():
    """A change here breaks clusters that are upgraded node by node: only ever append."""
    assert {tag: kind.__name__ for tag, kind in MESSAGE_TYPES.items()} == {
        1: "Write", 2: "Delete", 3: "Read", 4: "Touch", 5: "Settled",
        11: "WriteReply", 12: "ReadReply", 13: "TouchReply", 14: "Refused",
        21: "ReplicaWrite", 22: "ReplicaWriteReply", 23: "ReplicaRead", 24: "ReplicaReadReply",
        31: "RingRequest", 32: "RingState", 33: "MembersUpdate",
        41: "ControlRequest", 42: "ControlReply",
        51: "Hello", 52: "Welcome", 53: "Reject", 54: "ProtocolFailure",
    }  # fmt: skip


# --------------------------------------------------------------------------- deadlines


@both
def test_a_deadline_travels_as_budget(codec):
    request = Read(1, 2, 105.0009, [b"k"])
    frame = codec.encode(HEADER, [request], now=100.0)
    (got,) = codec.decode(frame, now=5000.0).messages
    assert got.deadline == pytest.approx(5005.0)
    frame = codec.encode(HEADER, [request], now=200.0)
    (got,) = codec.decode(frame, now=5000.0).messages
    assert got.deadline == 5000.0


def test_an_endless_deadline_is_a_day():
    codec = CODECS["msgpack"]
    frame = codec.encode(HEADER, [Read(1, 2, float("inf"), [])], now=0.0)
    assert codec.decode(frame, now=0.0).messages[0].deadline == 86_400.0


@pytest.mark.parametrize(
    ("age_ms", "taken_s"), [(-9000, 0.0), (0, 0.0), (500, 0.0), (1500, 1.0), (60_000, 59.5)]
)
def test_the_age_of_a_frame_is_taken_off(age_ms, taken_s):
    codec = CODECS["msgpack"]
    sent_ms = 1_700_000_000_000
    frame = codec.encode(FrameHeader(sent_ms << 16 | 5, 0, 0), [Read(1, 2, 2.0, [])], now=0.0)
    (got,) = codec.decode(frame, now=10.0, wall_ms=sent_ms + age_ms).messages
    assert got.deadline == pytest.approx(12.0 - taken_s)
    (got,) = codec.decode(frame, now=10.0).messages
    assert got.deadline == pytest.approx(12.0)


def test_a_frame_without_clock_has_no_age():
    codec = CODECS["msgpack"]
    frame = codec.encode(HEADER, [Read(1, 2, 2.0, [])], now=0.0)
    assert codec.decode(frame, now=10.0, wall_ms=1 << 40).messages[0].deadline == 12.0


# --------------------------------------------------------------------------- sizes


@both
@settings(deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=40),
    st.integers(600, 2000),
    st.integers(1, 10),
)
def test_frames_are_split_exactly(codec, sizes, frame_bytes_max, messages_max):
    limits = FrameLimits(frame_bytes_max=frame_bytes_max, messages_max=messages_max)
    small = Codec(codec.name, limits)
    parts = [small.encode_message(Reject("x" * size), 0.0) for size in sizes]
    header = FrameHeader(*[(1 << 64) - 1] * 3)
    start, frames = 0, []
    while start < len(parts):
        end = small.fitting(parts, start)
        assert end > start
        frames.append(small.assemble(header, parts[start:end]))
        if end < len(parts) and end - start < messages_max:
            longer = len(frames[-1]) + len(parts[end])
            assert longer > frame_bytes_max - 128, "the frame was not filled"
        start = end
    assert max(map(len, frames)) <= frame_bytes_max
    messages = [m for frame in frames for m in small.decode(frame, 0.0).messages]
    assert [len(message.reason) for message in messages] == sizes


@both
def test_what_does_not_fit_is_refused_where_it_is_made(codec):
    small = Codec(codec.name, FrameLimits(frame_bytes_max=1000, messages_max=3))
    with pytest.raises(ValueError, match=r"Write of \d+ bytes is over the frame limit of 1000"):
        small.encode_message(Write(1, 2, 0.0, [b"k"], [bytes(1000)]), 0.0)
    part = small.encode_message(RingRequest(), 0.0)
    with pytest.raises(ValueError, match="4 messages"):
        small.assemble(HEADER, [part] * 4)
    with pytest.raises(ValueError, match="do not fit"):
        small.assemble(HEADER, [small.encode_message(Reject("x" * 800), 0.0)] * 2)


@both
@pytest.mark.parametrize(
    "message",
    [
        Write(1 << 64, 2, 0.0, [], []),
        Write(1, 2, 0.0, [object()], [b""]),
        Reject("\ud800"),
        MembersUpdate([MemberEntry("n1", "a:1", 1, "", float("nan"))]),
    ],
)
def test_what_cannot_travel_is_a_mistake_here_or_refused_there(codec, message):
    with pytest.raises((ValueError, ProtocolError)):
        codec.decode(codec.encode(HEADER, [message], 0.0), 0.0)


def test_the_packer_survives_a_failed_message():
    codec = Codec()
    with pytest.raises(ValueError, match="Write cannot be encoded"):
        codec.encode_message(Write(1, 2, 0.0, [b"x" * 100, object()], [b""]), 0.0)
    assert codec.decode(codec.encode(HEADER, [RingRequest()], 0.0), 0.0).messages == [RingRequest()]


def test_an_integral_weight_is_written_as_float():
    (got,) = decode_rows([CODECS["msgpack"]._writers[MembersUpdate][1](
        MembersUpdate([MemberEntry("n1", "a:1", 1, "", 2)])
    )])  # fmt: skip
    assert repr(got.members[0].weight) == "2.0"


# --------------------------------------------------------------------------- releases


def decode_rows(rows, codec=CODECS["msgpack"]):
    parts = [codec._format.dumps(row) for row in rows]
    return codec.decode(codec.assemble(HEADER, parts), 0.0).messages


def test_fields_at_the_end_are_ignored_and_defaults_filled_in():
    row = [TAGS[Write], 1, 2, 3000, [b"k"], [b"b"]]
    assert decode_rows([row]) == [Write(1, 2, 3.0, [b"k"], [b"b"], 0)]
    assert decode_rows([[*row, 7, "new", {"in": 2031}]]) == [Write(1, 2, 3.0, [b"k"], [b"b"], 7)]
    assert decode_rows([[TAGS[Refused], 1, 3, "busy"]]) == [
        Refused(1, FailureCode.OVERLOADED, "busy", 0)
    ]
    assert decode_rows([[TAGS[RingRequest], "new"]]) == [RingRequest()]
    reply = [TAGS[WriteReply], 1, b"s", [[0, b"t", "new"]], [], 3, 2]
    with pytest.raises(ProtocolError, match="restamped: item 0: list of 3, expected list of 2"):
        decode_rows([reply])
    reply = [TAGS[WriteReply], 1, b"s", [[0, b"t"]], [[4, 1, "why", "new"]], 3, 2]
    assert decode_rows([reply]) == [
        WriteReply(1, b"s", [(0, b"t")], [Failure(4, FailureCode.UNAVAILABLE, "why")], 3, 2)
    ]


def test_a_frame_may_have_more_fields():
    codec = CODECS["msgpack"]
    frame = codec._format.dumps([1, 5, 6, 7, [[TAGS[RingRequest]]], "new"])
    assert codec.decode(frame, 0.0) == Frame(FrameHeader(5, 6, 7), [RingRequest()])
