import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core import record as r
from cluster.core.clock import stamp
from cluster.core.values import WALL_MS_MAX

STAMP = stamp(1000 << 16, 7)
VALUE_MAX = 64

# few distinct stamps and expiries, so that ties are common
stamps = st.builds(stamp, st.integers(1, 3), st.integers(1, 2)) | st.builds(
    stamp, st.integers(1, (1 << 64) - 1), st.integers(0, (1 << 64) - 1)
)
bodies = st.builds(
    lambda encoding, value: bytes((encoding,)) + value,
    st.integers(r.BYTES, r.CUSTOM),
    st.binary(max_size=VALUE_MAX),
)
expiries = st.sampled_from([0, 1, 255, 256, WALL_MS_MAX]) | st.integers(0, WALL_MS_MAX)


def _linearizable(record):
    return record[:16] + bytes((record[16] | r.LINEARIZABLE,)) + record[17:]


plain = st.builds(r.make, stamps, bodies, expiries)
left = plain.filter(r.expiry_of).map(r.gone)
tombstones = st.builds(r.tombstone, stamps)
of_ordinary = plain | left | tombstones
records = of_ordinary | of_ordinary.map(_linearizable)


def rank(record):
    """The order as the protocol states it, from the parsed fields."""
    flags = r.flags_of(record)
    return (
        r.stamp_of(record),
        r.is_tombstone(record),
        bool(flags & r.EXPIRES),
        bool(flags & r.LINEARIZABLE),
        flags & r.ENCODING_MASK,
        r.expiry_of(record),
        r.value_of(record),
    )


@given(records, records)
def test_bytes_order_like_the_fields_that_the_protocol_names(a, b):
    assert (a < b) == (rank(a) < rank(b))
    assert (a == b) == (rank(a) == rank(b))


@given(records, records, records)
def test_merge_is_a_semilattice(a, b, c):
    assert r.merge(a, b) == r.merge(b, a)
    assert r.merge(a, r.merge(b, c)) == r.merge(r.merge(a, b), c)
    assert r.merge(a, a) == a
    assert r.merge(a, b) in (a, b)


def test_the_order_at_one_stamp():
    value = r.make(STAMP, b"\x01v")
    ascending = [
        value,
        r.make(STAMP, b"\x01w"),
        r.make(STAMP, b"\x02a"),
        r.gone(r.make(STAMP, b"\x01z", 10)),
        r.gone(r.make(STAMP, b"\x01z", 20)),
        r.make(STAMP, b"\x01v", 10),
        r.make(STAMP, b"\x01v", 20),
        r.tombstone(STAMP),
        r.make(stamp(1000 << 16 | 1, 1), b"\x01a"),
    ]
    for lower, higher in itertools.pairwise(ascending):
        assert r.merge(lower, higher) == higher


@given(stamps, bodies, expiries)
def test_what_goes_in_comes_out(stamp, body, expiry_ms):
    record = r.make(stamp, body, expiry_ms)
    assert r.stamp_of(record) == stamp
    assert r.body_of(record) == body
    assert r.value_of(record) == body[1:]
    assert r.expiry_of(record) == expiry_ms
    assert not r.is_tombstone(record)
    assert r.check(record, VALUE_MAX) is record
    assert r.body_of(_linearizable(record)) == body


@given(records)
def test_every_record_of_the_order_is_well_formed(record):
    assert r.check(record, VALUE_MAX) is record


def test_a_tombstone_is_invisible_and_empty():
    record = r.tombstone(STAMP)
    assert len(record) == r.HEADER_BYTES
    assert r.is_tombstone(record)
    assert not r.is_visible(record, 0)
    assert not r.is_expired(record, WALL_MS_MAX)
    assert r.value_of(record) == b""
    assert r.body_of(record) == b"\x00"


def test_a_record_expires_at_its_expiry_and_not_before():
    record = r.make(STAMP, b"\x01v", 500)
    assert r.is_visible(record, 499)
    assert not r.is_expired(record, 499)
    assert not r.is_visible(record, 500)
    assert r.is_expired(record, 500)
    assert r.is_visible(r.make(STAMP, b"\x01v"), WALL_MS_MAX)


@given(plain.filter(r.expiry_of))
def test_a_record_that_is_gone_keeps_what_replicas_compare(record):
    left = r.gone(record)
    assert r.version(left) == r.version(record)
    assert r.value_of(left) == b""
    assert not r.is_visible(left, 0)
    assert r.gone(left) == left
    assert r.merge(left, record) == record


@given(plain, st.integers(1, WALL_MS_MAX), st.integers(1, WALL_MS_MAX))
def test_a_touch_keeps_stamp_and_value_and_never_shortens(record, first, second):
    touched = r.with_expiry(record, first)
    assert r.stamp_of(touched) == r.stamp_of(record)
    assert r.body_of(touched) == r.body_of(record)
    assert r.expiry_of(touched) == max(first, r.expiry_of(record))
    assert touched >= record
    again = r.with_expiry(r.with_expiry(record, second), first)
    assert again == r.with_expiry(touched, second)


@given(plain, plain, st.integers(1, WALL_MS_MAX))
def test_a_newer_write_wins_over_a_touch(older, newer, expiry_ms):
    if r.stamp_of(older) < r.stamp_of(newer):
        assert r.merge(r.with_expiry(older, expiry_ms), newer) == newer


def test_a_touch_wins_over_having_let_the_value_go():
    record = r.make(STAMP, b"\x01v", 10)
    touched = r.with_expiry(record, 20)
    assert r.merge(r.gone(record), touched) == touched


@given(records, records)
def test_versions_are_short_and_order_like_their_records(a, b):
    assert len(r.version(a)) <= 25
    if r.stamp_of(a) != r.stamp_of(b) or r.flags_of(a) == r.flags_of(b):
        assert r.version(r.merge(a, b)) == max(r.version(a), r.version(b))


def test_a_version_tells_what_replicas_must_agree_on():
    record = r.make(STAMP, b"\x01v", 10)
    distinct = [r.make(STAMP, b"\x01v"), record, r.with_expiry(record, 20), r.tombstone(STAMP)]
    assert len({r.version(one) for one in distinct}) == len(distinct)
    assert r.version(r.make(STAMP, b"\x01v")) == STAMP


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "at least"),
        (17, "at least"),
        (bytearray(r.make(STAMP, b"\x01v")), "at least"),
        (STAMP, "at least"),
        (bytes(16) + b"\x01v", "without a stamp"),
        (STAMP + b"\x11v", "unknown flags"),
        (STAMP + b"\x09v", "unknown flags"),
        (STAMP + b"\x05v", "unknown flags"),
        (r.tombstone(STAMP) + b"v", "tombstone"),
        (STAMP + b"\xc0" + bytes(7) + b"\x01", "tombstone"),
        (STAMP + b"\x81", "tombstone"),
        (STAMP + b"\x41" + bytes(7), "sane expiry"),
        (STAMP + b"\x41" + bytes(8) + b"v", "sane expiry"),
        (STAMP + b"\x41\xff" + bytes(7) + b"v", "sane expiry"),
        (STAMP + b"\x00", "without encoding"),
        (STAMP + b"\x40" + bytes(7) + b"\x01v", "without encoding"),
        (r.make(STAMP, b"\x01" + bytes(VALUE_MAX + 1)), "limit is 64"),
        (r.make(STAMP, b"\x01" + bytes(VALUE_MAX + 1), 10), "limit is 64"),
    ],
)
def test_a_foreign_record_that_is_malformed_is_refused(record, reason):
    with pytest.raises(r.InvalidRecordError, match=reason):
        r.check(record, VALUE_MAX)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_a_record_whose_fields_can_be_read(data):
    try:
        record = r.check(data, VALUE_MAX)
    except r.InvalidRecordError:
        return
    assert record == data
    assert rank(record)
    assert r.version(record)
    assert r.is_visible(record, 0) == (r.flags_of(record) & r.ENCODING_MASK != 0)


@pytest.mark.parametrize("body", [b"\x01", b"\x04" + bytes(VALUE_MAX)])
def test_a_body_in_bounds_is_returned(body):
    assert r.check_body(body, VALUE_MAX) is body


@pytest.mark.parametrize(
    "body", [b"", None, 3, "text", b"\x00", b"\x05v", b"\x41v", b"\x81", bytes(VALUE_MAX + 2)]
)
def test_what_is_no_body_is_refused(body):
    with pytest.raises(r.InvalidBodyError):
        r.check_body(body, VALUE_MAX)


def test_a_body_that_is_too_long_is_refused():
    with pytest.raises(r.InvalidBodyError, match="limit is 64"):
        r.check_body(b"\x01" + bytes(VALUE_MAX + 1), VALUE_MAX)
