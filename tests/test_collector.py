"""The collector of a node process: what exists before is frozen, its longest run is shown."""

import gc

import pytest

from cluster.collector import PAUSE_MAX, collector_watched
from cluster.core.metrics import Registry


@pytest.fixture
def registry():
    yield Registry()
    gc.unfreeze()


def longest_s(registry):
    [family] = [each for each in registry.families() if each.name == PAUSE_MAX]
    return family.labels().value


def test_the_longest_collection_is_kept(registry):
    with collector_watched(registry):
        assert gc.get_freeze_count() > 0
        assert longest_s(registry) == 0
        circles = [[] for _ in range(20_000)]
        for each in circles:
            each.append(each)
        del circles, each
        assert gc.collect() >= 20_000
        longest = longest_s(registry)
        assert longest > 0
        gc.collect(0)
        assert longest_s(registry) >= longest


def test_nothing_is_noted_after_the_block(registry):
    before = list(gc.callbacks)
    with collector_watched(registry):
        assert len(gc.callbacks) == len(before) + 1
    assert gc.callbacks == before
