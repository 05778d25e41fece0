"""The replica: what it merges, what it answers, what it refuses."""

import pytest

from cluster.core import record as rec
from cluster.core.clock import HybridClock, stamp
from cluster.core.operations import FailureCode, ReplicaRead, ReplicaWrite
from cluster.core.replica import Replica
from cluster.core.table import RecordTable
from tests.core.coordination import START_MS, view_of

BOOT, OTHER_BOOT = 50, 60
NOW = 10.0


class World:
    def __init__(self, **options):
        self.clock, self.table = HybridClock(500), RecordTable(256)
        self.replica = Replica("n1", BOOT, self.clock, self.table, **options)
        self.replica.view = view_of(3)

    def write(self, items, *, now=NOW, deadline=NOW + 1, same_ring=True, round_id=1):
        message = ReplicaWrite(round_id, deadline, list(items), list(items.values()), [])
        return self.replica.write(message, now, START_MS, same_ring=same_ring)

    def read(self, keys, versions=(), *, now=NOW, deadline=NOW + 1, same_ring=True):
        message = ReplicaRead(2, deadline, list(keys), list(versions), [])
        return self.replica.read(message, now, same_ring=same_ring)


def at(ms, boot=OTHER_BOOT):
    return stamp((START_MS + ms) << 16, boot)


def value(ms, body=b"\x01v", boot=OTHER_BOOT):
    return rec.make(at(ms, boot), body)


def test_a_write_is_merged_and_acked_in_this_boot():
    world = World()
    answer = world.write({b"k": value(1)})
    assert (answer.round_id, answer.boot, answer.higher, answer.refused) == (1, BOOT, [], 0)
    assert world.table.get(b"k") == value(1)
    assert world.replica.counters.replica_records_merged == 1


def test_a_repeat_is_acked_again_and_changes_nothing():
    world = World()
    assert world.write({b"k": value(1)}) == world.write({b"k": value(1)})
    assert world.table.get(b"k") == value(1)


def test_a_higher_stamp_that_is_held_is_told_and_kept():
    world = World()
    world.write({b"k": value(9), b"l": value(1)})
    answer = world.write({b"k": value(5), b"l": value(5)})
    assert answer.higher == [(0, at(9))]
    assert world.table.get(b"k") == value(9)
    assert world.table.get(b"l") == value(5)
    assert world.replica.counters.replica_records_behind == 1


def test_stamps_decide_whatever_the_order_of_arrival():
    first, second = World(), World()
    for world, order in ((first, (1, 2, 3)), (second, (3, 1, 2))):
        for ms in order:
            world.write({b"k": rec.tombstone(at(ms)) if ms == 2 else value(ms)})
    assert first.table.get(b"k") == second.table.get(b"k") == value(3)


def test_the_clock_follows_what_is_merged():
    world = World()
    world.write({b"k": value(400)})
    assert world.clock.tick(START_MS) > (START_MS + 400) << 16


def test_what_is_stamped_too_far_ahead_is_refused_and_not_merged():
    world = World()
    answer = world.write({b"k": value(1), b"l": value(501)})
    assert answer.refused == FailureCode.CLOCK_SKEW
    assert len(world.table) == 0
    assert world.replica.counters.replica_refused_skewed == 1


@pytest.mark.parametrize(
    "record", [b"", at(1), at(1) + b"\x08", rec.make(at(1), b"\x01" + b"x" * 101)]
)
def test_malformed_records_are_refused_and_not_merged(record):
    world = World(value_max=100)
    answer = world.write({b"k": value(1), b"l": record})
    assert answer.refused == FailureCode.INVALID
    assert len(world.table) == 0
    assert world.replica.counters.replica_refused_invalid == 1


def test_as_many_records_as_keys():
    world = World()
    message = ReplicaWrite(1, NOW + 1, [b"k", b"l"], [value(1)], [])
    answer = world.replica.write(message, NOW, START_MS, same_ring=True)
    assert answer.refused == FailureCode.INVALID
    assert len(world.table) == 0


@pytest.mark.parametrize("deadline", [NOW, NOW - 1])
def test_what_is_over_is_neither_done_nor_answered(deadline):
    world = World()
    assert world.write({b"k": value(1)}, deadline=deadline) is None
    assert world.read([b"k"], deadline=deadline) is None
    assert len(world.table) == 0
    assert world.replica.counters.replica_expired == 2


def test_without_a_ring_everything_is_refused():
    world = World()
    world.replica.view = None
    for same_ring in (True, False):
        answer = world.write({b"k": value(1)}, same_ring=same_ring)
        assert answer.refused == FailureCode.NOT_OWNER
        assert world.read([b"k"], same_ring=same_ring).refused == FailureCode.NOT_OWNER
    assert len(world.table) == 0


def test_who_names_another_ring_is_refused_whatever_it_asks_for():
    world = World()
    assert world.write({b"k": value(1)}, same_ring=False).refused == FailureCode.NOT_OWNER
    assert world.read([b"k"], same_ring=False).refused == FailureCode.NOT_OWNER
    assert world.table.get(b"k") is None
    assert world.replica.counters.replica_refused_not_owner == 2


def test_a_read_without_versions_answers_every_copy():
    world = World()
    world.write({b"k": value(1)})
    answer = world.read([b"absent", b"k"])
    assert (answer.covered, answer.indices, answer.records) == (2, [0, 1], [None, value(1)])
    assert answer.boot == BOOT


def test_a_read_with_versions_answers_what_differs_only():
    world = World()
    world.write({b"same": value(1), b"newer": value(2), b"gone": rec.tombstone(at(3))})
    keys = [b"same", b"newer", b"gone", b"absent", b"missing"]
    versions = [rec.version(value(1)), rec.version(value(1)), rec.version(rec.tombstone(at(3)))]
    answer = world.read(keys, [*versions, b"", rec.version(value(1))])
    assert answer.covered == 5
    assert answer.indices == [1, 4]
    assert answer.records == [value(2), None]


def test_versions_for_all_keys_or_none():
    world = World()
    assert world.read([b"k", b"l"], [b""]).refused == FailureCode.INVALID


def test_a_reply_is_cut_where_it_would_outgrow_a_frame_and_goes_on_from_there():
    world = World(reply_bytes_max=1000)
    items = {b"key-%02d" % number: value(1, b"\x01" + b"x" * 300) for number in range(10)}
    world.write(items)
    keys, got = list(items), {}
    while keys:
        answer = world.read(keys)
        assert 1 <= answer.covered < 4
        for index, record in zip(answer.indices, answer.records, strict=True):
            got[keys[index]] = record
        keys = keys[answer.covered :]
    assert got == items


def test_one_record_larger_than_a_reply_is_answered_alone():
    world = World(reply_bytes_max=10)
    world.write({b"k": value(1, b"\x01" + b"x" * 500), b"l": value(1)})
    answer = world.read([b"k", b"l"])
    assert (answer.covered, answer.indices) == (1, [0])


def test_even_absent_keys_fill_a_reply_in_the_end():
    world = World(reply_bytes_max=1000)
    assert world.read([b"%d" % number for number in range(100)]).covered < 100


def test_equal_copies_take_no_room_in_a_reply():
    world = World(reply_bytes_max=100)
    items = {b"key-%02d" % number: value(1) for number in range(50)}
    world.write(items)
    answer = world.read(list(items), [rec.version(value(1))] * 50)
    assert (answer.covered, answer.indices) == (50, [])
