"""One request, its parts and its one reply."""

import pytest

from cluster.core import record as rec
from cluster.core.clock import stamp
from cluster.core.operations import (
    Failure,
    FailureCode,
    ReadReply,
    Refused,
    TouchReply,
    WriteReply,
)
from cluster.core.pending import DELETE, GET, REPLY_ITEM_BYTES, SET, TOUCH, Part, Pending
from cluster.core.values import Level

NOW_MS = 1_700_000_000_000
STAMP = stamp(NOW_MS << 16, 1)
ABOVE = stamp((NOW_MS + 1) << 16, 1)
MANY = 1 << 20


def pending(op, keys=3, **changes):
    names = [b"key-%d" % number for number in range(keys)]
    made = Pending(op, 7, 42, Level.QUORUM, 2.0, 1.0, names)
    made.stamp = STAMP
    made.asked, made.answered = 3, 2
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("op", [SET, DELETE])
def test_a_write_answers_its_stamp_and_what_was_restamped(op):
    request = pending(op, restamped={1: ABOVE})
    assert request.reply(NOW_MS, MANY) == WriteReply(42, STAMP, [(1, ABOVE)], [], 3, 2)
    assert request.outcome == "ok"


def test_a_key_keeps_its_first_failure():
    request = pending(SET)
    request.fail([1], FailureCode.UNAVAILABLE, "first")
    request.fail([1, 2], FailureCode.TIMEOUT, "second")
    reply = request.reply(NOW_MS, MANY)
    assert reply.failures == [
        Failure(1, FailureCode.UNAVAILABLE, "first"),
        Failure(2, FailureCode.TIMEOUT, "second"),
    ]
    assert request.outcome == "unavailable"


@pytest.mark.parametrize("op", [SET, GET, DELETE, TOUCH])
def test_a_request_of_which_nothing_was_done_is_refused_as_a_whole(op):
    request = pending(op, records=[None] * 3)
    request.fail([0, 1, 2], FailureCode.TIMEOUT, "too slow")
    assert request.reply(NOW_MS, MANY) == Refused(42, FailureCode.TIMEOUT, "too slow")


def test_a_read_answers_a_record_per_key_and_none_for_absent_ones():
    held = rec.make(STAMP, b"\x01value")
    request = pending(GET, records=[held, None, rec.tombstone(STAMP)])
    records = [held, None, rec.tombstone(STAMP)]
    assert request.reply(NOW_MS, MANY) == ReadReply(42, records, [], 3, 2)


def test_an_expired_record_is_answered_without_its_value():
    held = rec.make(STAMP, b"\x01value", NOW_MS + 100)
    request = pending(GET, keys=1, records=[held])
    assert request.reply(NOW_MS + 99, MANY).records == [held]
    assert request.reply(NOW_MS + 100, MANY).records == [rec.gone(held)]


def test_a_failed_key_is_never_answered_as_absent():
    request = pending(GET, records=[None, None, None])
    request.fail([1], FailureCode.TIMEOUT, "slow")
    reply = request.reply(NOW_MS, MANY)
    assert [each.index for each in reply.failures] == [1]


def test_what_would_outgrow_the_reply_is_left_out_and_said_so():
    record = rec.make(STAMP, b"\x01" + b"x" * 100)
    size = len(record) + REPLY_ITEM_BYTES
    request = pending(GET, records=[record] * 3)
    reply = request.reply(NOW_MS, 2 * size)
    assert reply.records == [record, record, None]
    [failure] = reply.failures
    assert (failure.index, failure.code) == (2, FailureCode.OVERLOADED)
    assert "ask again for this key" in failure.message


def test_one_record_is_answered_however_large():
    record = rec.make(STAMP, b"\x01" + b"x" * 1000)
    request = pending(GET, keys=2, records=[record, record])
    assert request.reply(NOW_MS, 10).records == [record, None]


def test_absent_keys_take_room_too():
    request = pending(GET, keys=100, records=[None] * 100)
    assert 0 < len(request.reply(NOW_MS, 50 * REPLY_ITEM_BYTES).failures) < 100


def test_a_touch_answers_the_stamps_of_what_is_there():
    records = [
        rec.make(STAMP, b"\x01v", NOW_MS + 50),
        rec.make(STAMP, b"\x01v", NOW_MS),
        None,
        rec.tombstone(STAMP),
        rec.make(ABOVE, b"\x01v"),
    ]
    request = pending(TOUCH, keys=5, records=records)
    assert request.reply(NOW_MS, MANY) == TouchReply(42, [STAMP, b"", b"", b"", ABOVE], [], 3, 2)


def test_a_part_maps_positions_of_its_round_to_keys_of_its_request():
    part = Part(pending(SET, keys=9), 10, [2, 5, 7])
    assert [part.index_at(position) for position in (9, 10, 11, 12, 13)] == [None, 2, 5, 7, None]
