"""docs/metrics.md names what running nodes count: every name, type and label, and no other."""

import re
from pathlib import Path

from actors.testing import virtual
from cluster.collector import PAUSE_MAX
from cluster.core.metrics import COUNT_BOUNDS, SECONDS_BOUNDS, SERIES_MAX
from tests.cluster.memory_cluster import memory_cluster

PAGE = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(hypercache_\w+)` \| (\w+) \|([^|]*)\| \S", re.MULTILINE)
CODE = re.compile(r"`(\w+)`")


def documented():
    return {name: (kind, tuple(CODE.findall(labels))) for name, kind, labels in ROW.findall(PAGE)}


def replicator_names():
    _, _, section = PAGE.partition("## The replicator's counters")
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in CODE.findall(row.split("|")[1])}


@virtual()
async def test_the_page_lists_every_metric_of_a_node_that_has_worked():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", 1, ttl=60)
        await cache.get("key")
        await cache.touch("key", ttl=60)
        await cache.delete("key")
        for name in cluster.names:
            families = {
                each.name: (each.kind, each.label_names)
                for each in cluster[name].node.registry.families()
            }
            # Simulated nodes share a process, whose garbage is no business of any of them.
            assert PAUSE_MAX not in families
            assert families | {PAUSE_MAX: ("gauge", ())} == documented()


@virtual()
async def test_the_values_of_labels_are_those_of_the_page():
    legend = PAGE[PAGE.index("\nLabels:") : PAGE.index("\nHistograms of seconds")]
    named = set(CODE.findall(legend))
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", 1)
        await cache.get("key")
        await cache.touch("key", ttl=60)
        await cache.delete("key")
        seen = {
            value
            for name in cluster.names
            for family in cluster[name].node.registry.families()
            for values in family.series
            for value in values
        }
    assert {"get", "set", "touch", "delete", "peer", "client", "in", "out", "ok"} <= seen
    assert seen <= named | {"alive", "unreachable"}


@virtual()
async def test_the_page_lists_every_counter_of_the_replicator():
    async with memory_cluster(1) as cluster:
        stats = await cluster.ask(cluster.names[0], "stats")
    table = {name for name in stats["replicator"] if name.startswith("records_")}
    assert replicator_names() - {"records_bytes", "records_"} == set(stats["replicator"]) - table
    assert "records_bytes" in table


def test_the_figures_of_the_page_are_those_of_the_code():
    assert f"At most {SERIES_MAX:,} combinations" in PAGE
    assert (SECONDS_BOUNDS[0], SECONDS_BOUNDS[-1]) == (50e-6, 10.0)
    assert all(bound & (bound - 1) == 0 for bound in map(int, COUNT_BOUNDS))
