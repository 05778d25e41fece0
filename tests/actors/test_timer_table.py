"""The timer table against a model that looks at everything."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors._timer_table import TimerTable

OWNERS = st.integers(0, 2)
KEYS = st.sampled_from(["a", "b", "c"])


class TimerMachine(RuleBasedStateMachine):
    """Sets, moves, cancels and fires timers of three owners with three keys."""

    def __init__(self):
        super().__init__()
        self.table = TimerTable()
        self.now = 0.0
        self.pending = {}  # (owner, key) -> (due, payload)
        self.fired = {}  # (owner, key) -> payload: fired, not claimed
        self.ticks = []
        self.count = 0

    @rule(owner=OWNERS, key=KEYS, delay=st.integers(0, 5))
    def set(self, owner, key, delay):
        self.count += 1
        self.table.set(owner, owner, key, self.now + delay, self.count)
        self.pending[owner, key] = (self.now + delay, self.count)
        self.fired.pop((owner, key), None)

    @rule(owner=OWNERS, key=KEYS)
    def cancel(self, owner, key):
        known = (owner, key) in self.pending or (owner, key) in self.fired
        assert self.table.cancel(owner, key) == known
        self.pending.pop((owner, key), None)
        self.fired.pop((owner, key), None)

    @rule(owner=OWNERS)
    def cancel_all(self, owner):
        self.table.cancel_all(owner)
        for known in (self.pending, self.fired):
            for name in [name for name in known if name[0] == owner]:
                del known[name]

    @rule(seconds=st.integers(0, 3))
    def pass_time(self, seconds):
        self.now += seconds
        due = self.table.pop_due(self.now)
        expected = {n: p for n, (at, p) in self.pending.items() if at <= self.now}
        assert {(d.owner, d.key): d.payload for d in due} == expected
        for name, payload in expected.items():
            del self.pending[name]
            self.fired[name] = payload
        self.ticks += due

    @rule()
    def claim(self):
        for tick in self.ticks:
            valid = self.fired.get((tick.owner, tick.key)) == tick.payload
            assert self.table.claim(tick.owner, tick.key, tick.generation) == valid
            if valid:
                del self.fired[tick.owner, tick.key]
        self.ticks = []

    @invariant()
    def agrees(self):
        first = min((at for at, _ in self.pending.values()), default=math.inf)
        assert self.table.next_due() <= first
        assert len(self.table) == len(self.pending) + len(self.fired)
        assert sum(self.table.count(owner) for owner in range(3)) == len(self.table)


TestTimerMachine = TimerMachine.TestCase
TestTimerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_moving_one_timer_away_for_ever_does_not_grow_the_heap():
    table = TimerTable()
    for n in range(10_000):
        table.set(1, "owner", "wake", 5.0 + n, n)
    assert len(table._heap) == 1
    for n in range(10_000):
        table.cancel(1, "wake")
        table.set(1, "owner", "wake", 5.0 + n, n)
    assert len(table._heap) < 200
    assert table.pop_due(1e9)[0].payload == 9_999


def test_equal_times_fire_in_the_order_they_were_set():
    table = TimerTable()
    for key in "cab":
        table.set(1, "owner", key, 1.0, None)
    assert [due.key for due in table.pop_due(1.0)] == ["c", "a", "b"]
