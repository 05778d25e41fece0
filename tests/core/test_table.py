import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cluster.core import record as r
from cluster.core.clock import stamp
from cluster.core.table import InvalidCursorError, RecordTable
from cluster.core.values import partition_of, partition_shift

KEYS = [b"key %d" % number for number in range(12)]
PARTITIONS = 4
LAST_MS = 14


def record(hlc, value=b"v", expiry_ms=0):
    return r.make(stamp(hlc, 1), b"\x01" + value, expiry_ms)


def test_a_new_key_is_held_and_others_are_not():
    table = RecordTable()
    assert table.apply(b"a", record(1)) is None
    assert table.get(b"a") == record(1)
    assert table.get(b"b") is None
    assert table.get_many([b"b", b"a"]) == [None, record(1)]


def test_a_lower_record_is_told_the_stamp_that_won():
    table = RecordTable()
    table.apply(b"a", record(2))
    assert table.apply(b"a", record(1)) == stamp(2, 1)
    assert table.apply(b"a", record(2)) is None
    assert table.get(b"a") == record(2)


def test_a_late_copy_of_a_touched_write_is_no_loser():
    table = RecordTable()
    written = record(1, expiry_ms=10)
    table.apply(b"a", r.with_expiry(written, 20))
    assert table.apply(b"a", written) is None
    assert table.apply_many([b"a"], [written]) == []
    assert r.expiry_of(table.get(b"a")) == 20


def test_many_records_report_only_the_losers_with_their_index():
    table = RecordTable()
    table.apply(b"b", record(5))
    refused = table.apply_many(
        [b"a", b"b", b"c", b"c"], [record(1), record(4), record(3), record(2)]
    )
    assert refused == [(1, stamp(5, 1)), (3, stamp(3, 1))]
    assert table.get_many([b"a", b"b", b"c"]) == [record(1), record(5), record(3)]


def test_a_partition_shows_its_keys_and_cannot_be_written():
    table = RecordTable(PARTITIONS)
    table.apply_many(KEYS, [record(1)] * len(KEYS))
    shift = partition_shift(PARTITIONS)
    for number in range(PARTITIONS):
        view = table.partition(number)
        assert list(view) == [key for key in KEYS if partition_of(key, shift) == number]
        with pytest.raises(TypeError):
            view[b"new"] = record(1)


def test_only_what_expired_lets_its_value_go():
    table = RecordTable()
    for number, key in enumerate(KEYS):
        table.apply(key, record(1, expiry_ms=1000 + number))
    table.apply(b"for ever", record(1))
    assert table.expire(999, 1000) == 0
    assert table.next_sweep_ms() == 1000
    assert table.expire(1004, 1000) == 5
    assert [r.value_of(table.get(key)) for key in KEYS] == [b""] * 5 + [b"v"] * 7
    assert table.get(b"for ever") == record(1)
    assert table.next_sweep_ms() == 1005
    assert table.expire(5000, 1000) == 7
    assert table.next_sweep_ms() is None
    statistics = table.statistics()
    assert (statistics.records, statistics.expiring, statistics.gone) == (13, 0, 12)


def test_a_touch_in_time_keeps_the_value():
    table = RecordTable()
    table.apply(b"a", record(1, expiry_ms=1000))
    table.apply(b"a", r.with_expiry(table.get(b"a"), 2000))
    assert table.expire(1500, 1000) == 0
    assert r.is_visible(table.get(b"a"), 1500)
    assert table.expire(2000, 1000) == 1


def test_rewriting_an_expiring_key_leaves_nothing_behind():
    table = RecordTable()
    rng = random.Random(1)
    for number in range(2000):
        table.apply(b"a", record(number + 1, expiry_ms=rng.randrange(1, 10**9)))
    statistics = table.statistics()
    assert (statistics.records, statistics.expiring) == (1, 1)
    assert sum(map(len, table._partitions)) == 1
    assert statistics.bytes == len(b"a") + len(table.get(b"a"))


def test_expiry_works_in_slices():
    table = RecordTable()
    keys = [b"%d" % number for number in range(2000)]
    table.apply_many(keys, [record(1, expiry_ms=10)] * len(keys))
    slices = []
    while table.statistics().expiring:
        slices.append(table.expire(10, 100))
    assert sum(slices) == 2000
    assert 15 <= len(slices) <= 20
    assert max(slices) < 110


def test_sweeps_in_vain_are_followed_by_a_rest():
    table = RecordTable(1)
    keys = [b"%d" % number for number in range(4000)]
    table.apply_many(keys, [record(1, expiry_ms=10_000)] * len(keys))
    table.apply(b"early", record(1, expiry_ms=10))
    table.apply(b"later", record(1, expiry_ms=11))
    assert table.expire(10, 1000) == 1
    assert table.next_sweep_ms() == 1010
    assert table.expire(1009, 1000) == 0
    assert table.expire(1010, 1000) == 1


def test_a_rest_ends_when_the_wall_clock_is_set_back():
    table = RecordTable(1)
    keys = [b"%d" % number for number in range(4000)]
    table.apply_many(keys, [record(1)] * len(keys))
    table.apply(b"early", record(1, expiry_ms=10))
    assert table.expire(10**9, 1000) == 1
    table.apply(b"other", record(1, expiry_ms=20))
    assert table.expire(30, 1000) == 1


def test_values_that_are_over_stay_a_small_part_of_a_busy_table():
    table = RecordTable(256)
    stays = [b"stays %d" % number for number in range(20_000)]
    table.apply_many(stays, [record(1)] * len(stays))
    worst = 0.0
    for now_ms in range(0, 60_000, 50):
        keys = [b"%d %d" % (now_ms, number) for number in range(50)]
        table.apply_many(keys, [record(1, expiry_ms=now_ms + 2000)] * len(keys))
        table.expire(now_ms, 1000)
        over = table.statistics().expiring - min(now_ms // 50 + 1, 40) * 50
        worst = max(worst, over / len(table))
    assert table.statistics().gone > 40_000
    assert worst < 0.14


def test_a_scan_returns_every_key_once_whatever_is_written_meanwhile():
    table = RecordTable(PARTITIONS)
    keys = [b"user:%d" % number for number in range(300)]
    table.apply_many(keys, [record(1)] * len(keys))
    seen = []
    cursor = ""
    for page_number in range(1000):
        page = table.scan(cursor, limit=7)
        assert len(page.records) <= 7
        seen += [key for key, _ in page.records]
        table.apply(b"new %d" % page_number, record(1))
        table.apply(keys[page_number % 300], record(page_number + 2, bytes(page_number)))
        cursor = page.cursor
        if not cursor:
            break
    assert sorted(key for key in seen if key.startswith(b"user:")) == sorted(keys)
    assert len(seen) == len(set(seen))


def test_a_scan_filters_by_prefix_and_shows_tombstones():
    table = RecordTable(PARTITIONS)
    table.apply_many([b"a:1", b"b:1", b"a:2"], [record(1), record(1), r.tombstone(stamp(1, 1))])
    page = table.scan(prefix=b"a:")
    assert sorted(page.records) == [(b"a:1", record(1)), (b"a:2", r.tombstone(stamp(1, 1)))]
    assert page.cursor == ""
    assert table.scan(prefix=b"\xff").records == []


def test_a_page_ends_early_when_few_keys_match():
    table = RecordTable(PARTITIONS)
    keys = [b"%d" % number for number in range(30_000)]
    table.apply_many(keys, [record(1)] * len(keys))
    cursors = [table.scan("", prefix=b"none").cursor]
    while cursors[-1]:
        page = table.scan(cursors[-1], prefix=b"none")
        assert page.records == []
        cursors.append(page.cursor)
    assert len(cursors) == 2


@pytest.mark.parametrize("cursor", ["x", "0", "4.", "-1.", "0.zz", ".", "ffff.00", "0.0"])
def test_a_cursor_of_no_scan_is_refused(cursor):
    with pytest.raises(InvalidCursorError):
        RecordTable(PARTITIONS).scan(cursor)


keys = st.sampled_from(KEYS)
stamps = st.builds(stamp, st.integers(1, 6), st.integers(1, 2))
values = st.builds(
    r.make, stamps, st.sampled_from([b"\x01", b"\x01value", b"\x02value"]), st.integers(0, 12)
)
records = values | values.filter(r.expiry_of).map(r.gone) | st.builds(r.tombstone, stamps)


class TableMatchesModel(RuleBasedStateMachine):
    """The table against a dict whose values are merged with max."""

    def __init__(self):
        super().__init__()
        self.table = RecordTable(PARTITIONS)
        self.model = {}

    def expected(self, key, record):
        held = self.model.get(key, record)
        self.model[key] = r.merge(held, record)
        if r.merge(held, record) == record or r.stamp_of(held) == r.stamp_of(record):
            return None
        return r.stamp_of(held)

    @rule(key=keys, record=records)
    def apply(self, key, record):
        assert self.table.apply(key, record) == self.expected(key, record)

    @rule(batch=st.lists(st.tuples(keys, records), max_size=8))
    def apply_many(self, batch):
        answers = [self.expected(key, record) for key, record in batch]
        refused = self.table.apply_many([key for key, _ in batch], [each for _, each in batch])
        assert refused == [(index, won) for index, won in enumerate(answers) if won is not None]

    @rule(key=keys, expiry_ms=st.integers(1, 12))
    def touch(self, key, expiry_ms):
        held = self.table.get(key)
        if held is not None and r.is_visible(held, 0):
            touched = r.with_expiry(held, expiry_ms)
            assert self.table.apply(key, touched) is None
            self.model[key] = touched

    @rule(wall_ms=st.integers(0, LAST_MS))
    def expire(self, wall_ms):
        over = [
            key
            for key, record in self.model.items()
            if r.is_expired(record, wall_ms) and r.gone(record) != record
        ]
        dropped = self.table.expire(wall_ms, 100)
        left = [key for key in over if self.table.get(key) == self.model[key]]
        for key in over:
            if key not in left:
                self.model[key] = r.gone(self.model[key])
        assert dropped == len(over) - len(left)
        if left:  # only during the rest after at most all the keys were looked at in vain
            assert wall_ms < self.table.next_sweep_ms() <= LAST_MS + len(KEYS) // 4

    @rule(wanted=st.lists(keys))
    def get_many(self, wanted):
        assert self.table.get_many(wanted) == [self.model.get(key) for key in wanted]

    @rule(limit=st.integers(1, 5), prefix=st.sampled_from([b"", b"key 1"]))
    def scan(self, limit, prefix):
        found = {}
        cursor = ""
        while True:
            page = self.table.scan(cursor, limit, prefix)
            assert not found.keys() & dict(page.records).keys()
            found.update(page.records)
            cursor = page.cursor
            if not cursor:
                break
        assert found == {key: held for key, held in self.model.items() if key.startswith(prefix)}

    @invariant()
    def holds_what_the_model_holds(self):
        views = [self.table.partition(number) for number in range(PARTITIONS)]
        assert {key: held for view in views for key, held in view.items()} == self.model

    @invariant()
    def counts_are_exact(self):
        held = list(self.model.values())
        statistics = self.table.statistics()
        with_expiry = [each for each in held if r.expiry_of(each)]
        assert statistics.records == len(self.table) == len(held)
        assert statistics.bytes == sum(len(key) + len(each) for key, each in self.model.items())
        assert statistics.tombstones == sum(map(r.is_tombstone, held))
        assert statistics.gone == sum(r.gone(each) == each for each in with_expiry)
        assert statistics.expiring == len(with_expiry) - statistics.gone


TestTableMatchesModel = TableMatchesModel.TestCase
TestTableMatchesModel.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def figures():
    script = Path(__file__).parent / "measure_table.py"
    done = subprocess.run(
        [sys.executable, script, "100000"],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
    )
    return json.loads(done.stdout)


class TestFigures:
    """Bounds that hold on a busy machine too; the figures themselves are in the documentation."""

    def test_memory_per_record(self, figures):
        assert figures["bytes_per_record_loaded"] < 290
        assert figures["bytes_per_record_overwritten"] < 430

    def test_the_garbage_collector_has_little_to_do(self, figures):
        tracked = 1024 if sys.version_info >= (3, 14) else 0  # from 3.14 on every dict is tracked
        assert figures["gc_tracked_partitions"] == tracked
        assert figures["gc_full_worst_ms"] < figures["gc_full_empty_worst_ms"] + 50

    def test_no_call_takes_as_long_as_moving_one_large_dict(self, figures):
        assert figures["apply_worst_ms"] < 50
        assert figures["expire_slice_worst_ms"] < 50
