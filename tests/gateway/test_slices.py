"""A large frame is worked on in runs, so that others get their turn in between."""

from cluster.core.operations import Read, Settled
from cluster.gateway.readers import SLICE_KEYS, SLICED_FRAME_BYTES_MIN, slices

LARGE = SLICED_FRAME_BYTES_MIN


def read(keys):
    return Read(1, 2, 1.0, [b"k"] * keys)


def test_a_small_frame_is_one_run_as_it_is():
    messages = [read(1)] * 100
    (run,) = slices(messages, LARGE - 1)
    assert run is messages


def test_nothing_is_no_run():
    assert list(slices([], LARGE)) == []


def test_runs_end_at_so_many_keys_and_lose_nothing():
    messages = [read(200) for _ in range(9)] + [Settled(5)]
    runs = list(slices(messages, LARGE))
    assert [len(run) for run in runs] == [3, 3, 3, 1]
    assert [message for run in runs for message in run] == messages
    assert all(sum(len(m.keys) for m in run) < SLICE_KEYS + 200 for run in runs[:3])
