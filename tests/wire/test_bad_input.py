"""Whatever comes in: a frame, or `ProtocolError` with a reason; and no memory for announcements."""

import contextlib
import copy
import json
import random
import struct
import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core import operations as op
from cluster.errors import ProtocolError
from cluster.wire.codec import Codec, FrameLimits, codec_of
from cluster.wire.converter import FieldError, make_converter
from cluster.wire.hot_messages import register_hot_hooks
from cluster.wire.messages import TAGS, FrameHeader
from tests.wire.strategies import MESSAGES

CODECS = {name: Codec(name) for name in ("msgpack", "json")}
MSGPACK = CODECS["msgpack"]
HEADER = FrameHeader(5, 6, 7)
W, R, RW, RWR, RR, RRR = (
    TAGS[kind]
    for kind in (op.Write, op.Read, op.ReplicaWrite, op.ReplicaWriteReply, op.ReplicaRead,
                 op.ReplicaReadReply)
)  # fmt: skip


def refused(frame, codec=MSGPACK):
    """The reason for which a frame is refused; asserts that memory stays in bounds."""
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError) as caught:
            codec.decode(frame, 0.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(frame) + 2_000_000
    return str(caught.value)


def frame_of(*rows):
    return msgpack.packb([1, 5, 6, 7, list(rows)])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([W, 1, 2, 0, 4_000_000_000, [], 0], "Write.keys: int, expected list"),
        ([W, 1, 2, 0, [4_000_000_000], [b""], 0], "Write.keys: item 0: int, expected bytes"),
        ([W, 1, 2, 0, [b"k"], 1 << 31, 0], "Write.bodies: int, expected list"),
        ([W, 1, 2, 0, "abc", [b"a", b"b", b"c"], 0], "Write.keys: str of 3, expected list"),
        ([W, 1, 2, 0, b"abc", [], 0], "Write.keys: bytes of 3, expected list"),
        ([W, 1, 2, 0, {"k": 1}, [b""], 0], "Write.keys: dict of 1, expected list"),
        ([W, 1, 2, 0, ["k"], [b""], 0], "Write.keys: item 0: str of 1, expected bytes"),
        ([W, 1, 2, 0, [b"k"], [None], 0], "Write.bodies: item 0: NoneType, expected bytes"),
        ([W, 1, 2, 0, [b"k", b"l"], [b"v"], 0], "Write.bodies: 1 items for 2 keys"),
        ([W, True, 2, 0, [], [], 0], "Write.request_id: bool, expected int"),
        ([W, -1, 2, 0, [], [], 0], "Write.request_id: out of range"),
        ([W, 1.0, 2, 0, [], [], 0], "Write.request_id: float, expected int"),
        ([W, 1, "2", 0, [], [], 0], "Write.level: str of 1, expected int"),
        ([W, 1, 2, 0.5, [], [], 0], "Write.deadline: expected a budget"),
        ([W, 1, 2, -1, [], [], 0], "Write.deadline: expected a budget"),
        ([W, 1, 2, 1 << 60, [], [], 0], "Write.deadline: expected a budget"),
        ([W, 1, 2, True, [], [], 0], "Write.deadline: expected a budget"),
        ([W, 1, 2, 0, [], [], None], "Write.ttl_ms: NoneType, expected int"),
        ([W, 1, 2, 0, []], "Write.bodies: missing"),
        ([W, 1], "Write.level: missing"),
        ([W], "Write.request_id: missing"),
        ([R, 1, 2, 0, [[b"k"]]], "Read.keys: item 0: list of 1, expected bytes"),
        ([RW, 1, 0, [b"k"], [17], [1]], "ReplicaWrite.records: item 0: int, expected bytes"),
        ([RW, 1, 0, [b"k"], [b"r"], [-1]], "ReplicaWrite.chains: item 0: out of range"),
        ([RW, 1, 0, [b"k"], [b"r"], [1, True]], "ReplicaWrite.chains: item 1: bool, expected int"),
        ([RWR, 1, 2, [[0, 9]], 0], "ReplicaWriteReply.higher: item 0: item 1: int, expected bytes"),
        ([RWR, 1, 2, [[0]], 0], "ReplicaWriteReply.higher: item 0: list of 1, expected list of 2"),
        ([RR, 1, 0, [b"k"], [b"", b""], []], "ReplicaRead.versions: 2 items for 1 keys"),
        ([RRR, 1, 2, 3, [0, 1], [None], 0], "ReplicaReadReply.records: 1 items for 2 indices"),
        ([RRR, 1, 2, 3, [-1], [None], 0], "ReplicaReadReply.indices: item 0: out of range"),
        ([14, 1, 99, "x"], "Refused.code: 99 is no FailureCode"),
        ([14, 1, True, "x"], "Refused.code: bool, expected int"),
        ([14, 1, 1, b"x"], "Refused.message: bytes of 1, expected str"),
        ([53, "x", 1], "Reject.myself: int, expected bool"),
        ([33, [["n", "a", 1, "", 1]]], "members: item 0: weight: int, expected float"),
        ([33, [["n", "a", 1, "", float("inf")]]], "weight: inf is no finite number"),
        ([33, ["nodes"]], "MembersUpdate.members: item 0: str, expected a list of fields"),
        ([32, {"a": 1}], "RingState.view: dict of 1, expected list"),
        ([32, [float("nan")]], "RingState.view: item 0: nan is no finite number"),
        ([41, 1, 0, "t", {"a": [1]}], "ControlRequest.arguments: a: list of 1, expected str, int"),
        ([41, 1, 0, "t", {b"a": 1}], "ControlRequest.arguments: bytes of 1, expected str as key"),
        ([42, 1, msgpack.ExtType(5, b"x")], "ControlReply.body: ExtType, expected a plain value"),
        ([42, 1, msgpack.Timestamp(5)], "ControlReply.body: Timestamp, expected a plain value"),
        ([99, 1], "unknown message type 99"),
        ([-1], "unknown message type -1"),
        ([True, 1, 2, 0, [], []], "a message is a list that begins with its tag"),
        ([1.0, 1, 2, 0, [], []], "a message is a list that begins with its tag"),
        ([], "a message is a list that begins with its tag"),
        (7, "a message is a list that begins with its tag"),
        ("Write", "a message is a list that begins with its tag"),
        ({"tag": 1}, "a message is a list that begins with its tag"),
        ([[1]], "a message is a list that begins with its tag"),
    ],
)  # fmt: skip
def test_the_reason_names_message_and_field(row, reason):
    assert reason in refused(frame_of([31], row))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (5, "a frame is a list of 5 fields"),
        ([1, 2, 3, 4], "a frame is a list of 5 fields"),
        ({"version": 1}, "a frame is a list of 5 fields"),
        ([2, 5, 6, 7, []], "frame of protocol version 2"),
        ([0, 5, 6, 7, []], "frame of protocol version 0"),
        (["1", 5, 6, 7, []], "frame header version"),
        ([1, -5, 6, 7, []], "frame header clock"),
        ([1, 5, True, 7, []], "frame header epoch"),
        ([1, 5, 6, 7.0, []], "frame header digest"),
        ([1, 5, 6, 7, {}], "frame messages"),
        ([1, 5, 6, 7, None], "frame messages"),
    ],
)
def test_bad_frames(content, reason):
    assert reason in refused(msgpack.packb(content))
    assert reason in refused(json.dumps(content).encode(), CODECS["json"])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x95\x01",
        frame_of([31])[:-1],
        frame_of([31]) + b"\x00",
        b"\xdd\xff\xff\xff\xff" + bytes(100),
        b"\xdc\xff\xff" + bytes(100),
        b"\xdf\xff\xff\xff\xff" + bytes(100),
        b"\xc6\xff\xff\xff\xff" + bytes(100),
        b"\xdb\xff\xff\xff\xff" + bytes(100),
        b"\xc9\xff\xff\xff\xff\x01" + bytes(100),
        b"\xdd\x00\x01\x80\x00" * 1000 + bytes(98_304),
        b"\xdd\x00\x01\x80\x00" * 100_000,
        b"\x91" * 4_000_000,
        b"\x81\xa1a" * 1_000_000,
        b"\x95\x01\x05\x06\x07\xdd\x00\x01\x86\xa1" + b"\x90" * 100_001,
        b"\x95\x01\x05\x06\x07\x91\x92\x20" + b"\x91" * 900 + b"\x00",
        b"\x95\x01\x05\x06\x07\x91\xa2\xff\xfe",
        b"\x81\xc0\x01",
        b"\x81\x91\x01\x01",
        bytes(5 * 1024 * 1024),
    ],
    ids=lambda frame: f"{frame[:6].hex()}+{len(frame)}",
)
def test_absurd_announcements_allocate_nothing(frame):
    assert refused(frame)


@pytest.mark.parametrize(
    "text",
    [
        "", "[", "[1,5,6,7,[]", "[1,5,6,7,[]]x", "[" * 100_000, '{"a":' * 50_000,
        "[1,5,6,7,[[31,NaN]]]", "[1,5,6,7,[[31,Infinity]]]", "[1,1e400,6,7,[]]",
        "[1," + "9" * 5000 + ",6,7,[]]", '[1,{"$int":"' + "9" * 5000 + '"},6,7,[]]',
        '[1,{"$int":"x"},6,7,[]]', '[1,{"$int":"18446744073709551616"},6,7,[]]',
        '[1,5,6,7,[[3,1,2,0,[{"$b64":"%%"}]]]]', '[1,5,6,7,[[3,1,2,0,[{"$b64":"\u00e9"}]]]]',
        '[1,5,6,7,[[3,1,2,0,[{"$b64":5}]]]]', '[1,5,6,7,[[3,1,2,0,["text"]]]]',
        "[1,5,6,7,[[42,1," + "[" * 18 + "]" * 18 + "]]]",
        "[1,5,6,7,[[3,1,2,0,[" + "0," * 100_000 + "0]]]]",
    ],
    ids=lambda text: f"{text[:20]}+{len(text)}",
)  # fmt: skip
def test_bad_json(text):
    assert refused(text.encode(), CODECS["json"])


def test_bad_utf8_in_json():
    assert "JSON" in refused(b'[1,5,6,7,[[53,"\xff"]]]', CODECS["json"])


def test_limits_of_the_frame():
    codec = Codec(limits=FrameLimits(frame_bytes_max=1000, messages_max=5, keys_max=8))
    assert "a frame of 1001 bytes, at most 1000" in refused(bytes(1001), codec)
    assert "6 messages, at most 5" in refused(frame_of(*[[31]] * 6), codec)
    assert "9 exceeds" in refused(frame_of([R, 1, 2, 0, [b"k"] * 9]), codec)
    as_json = Codec("json", codec.limits)
    rows = json.dumps([1, 5, 6, 7, [[5, 1, list(range(9))]]]).encode()
    assert "a list of 9 items, at most 8" in refused(rows, as_json)


@pytest.mark.parametrize("frame", [b"", b"\x00", b"GET / HTTP/1.1", b"{}", b"\xc1", b" ["])
def test_codec_of_something_else(frame):
    with pytest.raises(ProtocolError, match="neither a msgpack nor a JSON frame"):
        codec_of(frame)


# --------------------------------------------------------------------------- fuzz


def survives(frame, codec):
    with contextlib.suppress(ProtocolError):
        assert codec.decode(frame, 0.0, wall_ms=1 << 41).messages is not None


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats()
    | st.binary(max_size=5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes(frame):
    survives(frame, MSGPACK)
    survives(frame, CODECS["json"])


@settings(deadline=None)
@given(PLAIN)
def test_random_content(content):
    survives(msgpack.packb(content), MSGPACK)
    survives(json.dumps(content, default=repr).encode(), CODECS["json"])


@settings(deadline=None)
@given(st.sampled_from(sorted(TAGS.values())), st.lists(PLAIN, max_size=10))
def test_random_fields_of_a_known_message(tag, fields):
    survives(frame_of([tag, *fields]), MSGPACK)
    frame = json.dumps([1, 5, 6, 7, [[tag, *fields]]], default=repr).encode()
    survives(frame, CODECS["json"])


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
@settings(max_examples=150, deadline=None)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=3), seed=st.integers(0, 1 << 32))
def test_mutated_frames(codec, messages, seed):
    rng = random.Random(seed)
    frame = bytearray(codec.encode(HEADER, messages, 0.0))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(frame))
        kind = rng.randrange(4)
        if kind == 0:
            frame[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            frame[at : at + 1] = struct.pack(
                "!BI", rng.choice(b"\xc6\xdb\xdd\xdf"), rng.getrandbits(32)
            )
        elif kind == 2:
            del frame[at : at + rng.randint(1, 8)]
        else:
            frame[at:at] = frame[rng.randrange(len(frame)) :][: rng.randint(1, 20)]
        if not frame:
            break
    survives(bytes(frame), codec)


GENERAL, FAST = make_converter(), make_converter()
register_hot_hooks(FAST)


@settings(max_examples=150, deadline=None)
@given(MESSAGES, st.lists(st.tuples(st.integers(0, 9), PLAIN), max_size=2), st.integers(-2, 2))
def test_fast_hooks_and_general_hooks_agree(message, changes, longer):
    row = GENERAL.unstructure(message)
    assert FAST.unstructure(message) == row
    row = msgpack.unpackb(msgpack.packb(row))
    row = row[:longer] if longer < 0 and len(row) + longer > 0 else row + [b"x"] * max(longer, 0)
    for at, value in changes:
        if 0 < at < len(row):
            row[at] = value
    assert outcome(FAST, row, type(message)) == outcome(GENERAL, row, type(message))


def outcome(converter, row, kind):
    try:
        return repr(converter.structure(copy.deepcopy(row), kind))
    except FieldError as error:
        return str(error)
