import pytest

from cluster.bench.workload import Cell, Data, Kind, fill, measure


class DictStore:
    """A store in this process that notes what it was asked."""

    def __init__(self):
        self.held = {}
        self.calls = []

    async def set(self, key, value):
        self.calls.append("set")
        self.held[key] = value

    async def get(self, key):
        self.calls.append("get")
        return self.held.get(key)

    async def set_many(self, items):
        self.calls.append(("set_many", len(items)))
        self.held.update(items)

    async def get_many(self, keys):
        self.calls.append(("get_many", len(keys)))
        return {key: self.held[key] for key in keys if key in self.held}


DATA = Data.make(keys=2_500, value_min=50, value_max=150, seed=1)


def test_data_are_repeatable():
    assert Data.make(2_500, 50, 150, seed=1) == DATA
    other = Data.make(2_500, 50, 150, seed=2)
    assert other.keys == DATA.keys
    assert other.passes != DATA.passes


def test_every_pass_uses_every_key_once_in_an_order_of_its_own():
    orders = [DATA.keys, DATA.fill_order, *DATA.passes]
    assert all(sorted(order) == DATA.keys for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)


def test_keys_are_distinct_and_of_16_bytes():
    assert len(set(DATA.keys)) == 2_500
    assert {len(key) for key in DATA.keys} == {16}


def test_values_are_within_their_bounds():
    sizes = {len(value) for value in DATA.values}
    assert (min(sizes), max(sizes)) == (50, 150)


async def test_fill_writes_every_key_once_in_batches():
    store = DictStore()
    await fill(store, DATA)
    assert store.held.keys() == set(DATA.keys)
    assert store.calls == [("set_many", 1_000), ("set_many", 1_000), ("set_many", 500)]


async def test_keys_are_filled_in_an_order_of_their_own_and_overwritten_in_another():
    first, second = DictStore(), DictStore()
    await fill(first, DATA)
    await fill(second, Data.make(2_500, 50, 150, seed=2))
    orders = [list(first.held), list(second.held), DATA.keys, *DATA.passes]
    assert len({tuple(order) for order in orders}) == len(orders)


async def run(kind, in_flight=1, batch=0):
    store = DictStore()
    sample = await measure(store, DATA, Cell(kind, in_flight, batch), 0.0, 0.0, ())
    return store, sample


@pytest.mark.parametrize("in_flight", [1, 3, 32])
async def test_every_worker_calls_at_least_once_also_to_warm_up(in_flight):
    store, sample = await run(Kind.SET, in_flight)
    assert sample.operations == sample.warm_operations == in_flight
    assert len(sample.latencies_us) == in_flight
    assert store.calls == ["set"] * 2 * in_flight
    assert sample.elapsed_s > 0
    assert sample.client_cpu_s >= 0


async def test_without_pids_node_cpu_is_unknown():
    _, sample = await run(Kind.GET)
    assert sample.node_cpu_s is None


async def test_an_operation_of_a_batch_is_a_key():
    store, sample = await run(Kind.SET, batch=100)
    assert sample.operations == 100
    assert store.calls == [("set_many", 100)] * 2
    store, sample = await run(Kind.GET, batch=1_000)
    assert store.calls == [("get_many", 1_000)] * 2


@pytest.mark.parametrize("in_flight", [1, 2, 3, 32])
async def test_mixed_is_half_set_and_half_get(in_flight):
    store = DictStore()
    seconds = 0.02
    await measure(store, DATA, Cell(Kind.MIXED, in_flight, 0), 0.0, seconds, ())
    sets = store.calls.count("set")
    assert abs(sets - len(store.calls) / 2) <= in_flight + 1


async def test_a_failed_operation_fails_the_measurement():
    class Failing(DictStore):
        async def set(self, key, value):
            raise OSError(f"no room for {len(value)} bytes at {key}")

    with pytest.raises(ExceptionGroup):
        await measure(Failing(), DATA, Cell(Kind.SET, 2, 0), 0.0, 0.0, ())


def test_titles_name_what_is_done():
    assert Cell(Kind.SET, 32, 0).title == "set, 32 in flight"
    assert Cell(Kind.GET, 1, 1_000).title == "get_many 1,000"
