"""Keys, values, times and stamps."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.client import Consistency, Stamp
from cluster.client.values import (
    ValueCodec,
    check_level,
    check_timeout,
    encode_key,
    encode_keys,
    expires_at,
    has_value,
    ttl_to_ms,
)
from cluster.core import record as rec
from cluster.core.values import KEY_BYTES_MAX
from cluster.errors import InvalidKey, InvalidValue
from tests.client.fakes import stamp_at

STAMP = stamp_at(7)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


class Pickler:
    """A serializer for tests."""

    def dumps(self, value):
        return pickle.dumps(value)

    def loads(self, data):
        return pickle.loads(data)


def outcome_of(function, *arguments):
    try:
        return function(*arguments)
    except (InvalidKey, InvalidValue) as error:
        return type(error), str(error)


KEYS = st.one_of(
    st.text(max_size=4),
    st.text(st.characters(), max_size=4),  # surrogates too
    st.binary(max_size=4),
    st.sampled_from(["k" * 1024, "k" * 1025, "é" * 512, "é" * 513, b"k" * 1025, 5, None]),
)


@given(st.lists(KEYS, max_size=5) | st.lists(st.text(max_size=4), max_size=5))
def test_a_batch_of_keys_is_each_key_by_itself(keys):
    expected = outcome_of(lambda: [encode_key(key) for key in keys])
    assert outcome_of(encode_keys, keys) == expected
    assert outcome_of(encode_keys, iter(keys)) == expected


@given(st.lists(PLAIN | st.just((1,)), max_size=5) | st.lists(st.binary(), max_size=5))
def test_a_batch_of_values_is_each_value_by_itself(values):
    codec = ValueCodec()
    expected = outcome_of(lambda: [codec.encode(value) for value in values])
    assert outcome_of(codec.encode_all, values) == expected


def through(codec, value, expiry_ms=0):
    body = codec.encode(value)
    assert rec.check_body(body, 10**6) is body
    return codec.decode(rec.make(STAMP, body, expiry_ms))


@given(PLAIN, st.sampled_from([0, 10**12]))
def test_values_come_back_as_they_were(value, expiry_ms):
    back = through(ValueCodec(), value, expiry_ms)
    assert back == value
    assert type(back) is type(value)


@given(PLAIN)
def test_a_serializer_takes_the_place_of_msgpack(value):
    codec = ValueCodec(Pickler())
    assert through(codec, value) == value
    custom = type(value) not in (bytes, str)
    assert (codec.encode(value)[0] == rec.CUSTOM) is custom


def test_a_serializer_carries_what_msgpack_does_not():
    assert through(ValueCodec(Pickler()), (1, {2})) == (1, {2})


def test_keys_of_mappings_may_be_numbers():
    assert through(ValueCodec(), {1: "a", b"b": 2}) == {1: "a", b"b": 2}


@pytest.mark.parametrize(
    "value",
    [(1, 2), [(1,)], {1, 2}, object(), 2**64, "\ud800", ["\ud800"], Stamp(STAMP), True + 1j],
    ids=repr,
)
def test_what_would_not_come_back_the_same_is_refused(value):
    codec = ValueCodec()
    with pytest.raises(InvalidValue, match=type(value).__name__):
        codec.encode(value)
    assert through(codec, [1]) == [1], "a refusal leaves nothing in the encoder"


def test_a_list_within_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(InvalidValue):
        ValueCodec().encode(value)


@pytest.mark.parametrize("body", [b"\x02\xff", b"\x03\xc1", b"\x03", b"\x03\x01\x01", b"\x04x"])
def test_a_value_that_cannot_be_decoded_is_no_value(body):
    with pytest.raises(InvalidValue, match=r"decoded|serializer"):
        ValueCodec().decode(rec.make(STAMP, body))


def test_a_serializer_that_fails_is_the_callers_error():
    class Failing:
        def dumps(self, value):
            raise KeyError(value)

        def loads(self, data):
            raise KeyError(data)

    codec = ValueCodec(Failing())
    with pytest.raises(InvalidValue):
        codec.encode(1)
    with pytest.raises(InvalidValue):
        codec.decode(rec.make(STAMP, b"\x04x"))
    assert codec.encode("s") == b"\x02s"


@pytest.mark.parametrize(
    "record",
    [None, rec.tombstone(STAMP), rec.gone(rec.make(STAMP, b"\x01v", 5))],
    ids=["absent", "deleted", "expired"],
)
def test_records_without_a_value(record):
    assert not has_value(record)


def test_expiry_is_in_seconds():
    assert expires_at(rec.make(STAMP, b"\x01v", 1500)) == 1.5
    assert expires_at(rec.make(STAMP, b"\x01v")) is None


def test_str_and_bytes_keys_are_the_same_bytes():
    assert encode_key("schlüssel") == "schlüssel".encode()
    assert encode_key(b"\xff") == b"\xff"
    assert encode_key("k" * KEY_BYTES_MAX) == b"k" * KEY_BYTES_MAX
    assert encode_keys(["a", b"b"]) == [b"a", b"b"]


@pytest.mark.parametrize(
    "key", ["", b"", "k" * 1025, "ü" * 513, 1, None, bytearray(b"k"), "\ud800"], ids=repr
)
def test_what_is_no_key(key):
    with pytest.raises(InvalidKey):
        encode_key(key)
    with pytest.raises(InvalidKey):
        encode_keys([b"fine", key])


@pytest.mark.parametrize("keys", ["abc", b"abc"])
def test_one_key_is_no_batch(keys):
    with pytest.raises(InvalidKey, match="list"):
        encode_keys(keys)


def test_ttl_is_whole_milliseconds():
    assert [ttl_to_ms(ttl) for ttl in (None, 60, 0.25, 0.0001)] == [0, 60_000, 250, 1]


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), True, "60", 10**12])
def test_what_is_no_ttl(ttl):
    with pytest.raises(InvalidValue, match="ttl"):
        ttl_to_ms(ttl)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf"), True, "2", None])
def test_what_is_no_timeout(timeout):
    with pytest.raises(InvalidValue, match="timeout"):
        check_timeout(timeout)


@pytest.mark.parametrize("level", [2, "QUORUM", None])
def test_what_is_no_level(level):
    with pytest.raises(InvalidValue, match="Consistency"):
        check_level(level)
    assert check_level(Consistency.ALL) is Consistency.ALL


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_stamps_print_compare_and_come_back(one, other):
    a, b = Stamp(one), Stamp(other)
    assert Stamp.parse(str(a)) == a
    assert eval(repr(a), {"Stamp": Stamp}) == a
    assert (str(a) < str(b)) == (a < b)
    assert a.boot.to_bytes(8, "big") == a[8:]
    assert (a.wall_ms << 16 | a.counter).to_bytes(8, "big") == a[:8]


@pytest.mark.parametrize(
    "text", ["", "x" * 33, "0" * 33, "0" * 16 + "-" + "g" * 16, "0-0", " " * 16 + "-" + "0" * 16]
)
def test_what_is_no_stamp(text):
    with pytest.raises(InvalidValue):
        Stamp.parse(text)
