"""Random runs of the coordinators under loss, delay, repetition and partitions.

What a quorum promises is checked as the run goes on: a read never returns less than what was
acknowledged, or read, before it began; what was refused as unavailable never takes effect.
"""

import pytest

from cluster.core import record as rec
from cluster.core.operations import FailureCode, ReadReply, Refused, TouchReply, WriteReply
from tests.core.coordination import START_MS, Cluster

KEYS = [b"a", b"b", b"c"]
STEPS = 120


class Checker:
    """Lower bounds of what a read of each key may return, by the time it began."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.known = dict.fromkeys(KEYS, b"")
        self.open = {}
        self.refused_values = set()
        self.counts = {"write": 0, "read": 0, "failed": 0}
        cluster.on_reply = self.on_reply

    def begin(self, kind, request_id, keys, value=None):
        self.open[request_id] = (kind, keys, {key: self.known[key] for key in keys}, value)

    def on_reply(self, reply):
        kind, keys, bounds, value = self.open.pop(reply.request_id)
        if isinstance(reply, Refused):
            self.counts["failed"] += 1
            if reply.code is FailureCode.UNAVAILABLE and kind == "write":
                self.refused_values.add(value)
            return
        self.counts[kind] += 1
        if isinstance(reply, WriteReply):
            restamped, failed = dict(reply.restamped), {f.index for f in reply.failures}
            for index, key in enumerate(keys):
                if index not in failed:
                    self.seen(key, restamped.get(index, reply.stamp))
        elif isinstance(reply, ReadReply):
            failed = {f.index for f in reply.failures}
            for index, (key, record) in enumerate(zip(keys, reply.records, strict=True)):
                if index in failed:
                    continue
                stamp = b"" if record is None else rec.stamp_of(record)
                assert stamp >= bounds[key], f"a read of {key!r} went backwards"
                self.seen(key, stamp)
        else:
            assert isinstance(reply, TouchReply)

    def seen(self, key, stamp):
        self.known[key] = max(self.known[key], stamp)


def step(cluster, checker, number):
    rng = cluster.rng
    node = rng.choice(list(cluster.nodes))
    keys = rng.sample(KEYS, rng.choice([1, 1, 2, 3]))
    kind = rng.choice(["write", "write", "read", "read", "read", "delete", "touch"])
    timeout_s = rng.choice([0.3, 1.0, 2.0])
    # The reply may come before the submit returns, so the id is known before.
    request_id = next(cluster._requests)
    cluster._requests = iter(range(request_id, 1 << 40))
    value = b"%d" % number
    checker.begin("read" if kind in ("read", "touch") else "write", request_id, keys, value)
    if kind == "write":
        cluster.write(node, dict.fromkeys(keys, value), timeout_s=timeout_s)
    elif kind == "delete":
        cluster.delete(node, keys, timeout_s=timeout_s)
    elif kind == "touch":
        cluster.touch(node, keys, 60_000, timeout_s=timeout_s)
    else:
        cluster.read(node, keys, timeout_s=timeout_s)
    cluster.run(rng.choice([0.0, 0.0, 0.002, 0.01, 0.05]))


def trouble(cluster):
    """Now and then change what the network does, and who believes whom to be reachable."""
    rng = cluster.rng
    if rng.random() < 0.1:
        cluster.drop = rng.choice([0.0, 0.1, 0.4])
        cluster.duplicate = rng.choice([0.0, 0.3])
        cluster.delay_s = (0.001, rng.choice([0.002, 0.05, 0.5]))
    if rng.random() < 0.08:
        pairs = [(a, b) for a in cluster.nodes for b in cluster.nodes if a != b]
        cluster.cut = set(rng.sample(pairs, rng.randrange(len(pairs) // 2)))
    if rng.random() < 0.08:
        a, b = rng.sample(list(cluster.nodes), 2)
        node, wall_ms = cluster.nodes[a], START_MS + int(cluster.now * 1000)
        if rng.random() < 0.4:
            node.coordinator.peer_down(b, cluster.now, wall_ms)
        else:
            node.coordinator.peer_up(b, cluster.nodes[b].boot, cluster.now, wall_ms)
        cluster.pump(node)


def run(seed, nodes):
    cluster = Cluster(nodes, seed)
    for node in cluster.nodes.values():
        node.skew_ms = cluster.rng.randrange(-200, 200)
    checker = Checker(cluster)
    for number in range(STEPS):
        trouble(cluster)
        step(cluster, checker, number)
    cluster.drop, cluster.duplicate, cluster.cut = 0.0, 0.0, set()
    for node in cluster.nodes.values():
        cluster.meet(node)
        cluster.pump(node)
    cluster.run(5.0)
    for number in range(STEPS, STEPS + 10):
        step(cluster, checker, number)
    cluster.run(5.0)
    assert not checker.open, "every request is answered"
    for node in cluster.nodes.values():
        gauges = node.coordinator.gauges()
        assert (gauges["requests_pending"], gauges["rounds_read"]) == (0, 0)
        for partition in range(cluster.view.virtual_nodes):
            for record in node.table.partition(partition).values():
                assert rec.value_of(record) not in checker.refused_values
    return checker.counts


@pytest.mark.parametrize("nodes", [3, 5])
@pytest.mark.parametrize("block", range(4))
def test_quorum_holds_under_random_trouble(nodes, block):
    totals = {"write": 0, "read": 0, "failed": 0}
    for seed in range(block * 20, block * 20 + 20):
        try:
            counts = run(seed, nodes)
        except AssertionError as error:
            error.add_note(f"seed {seed}, {nodes} nodes")
            raise
        totals = {kind: totals[kind] + counts[kind] for kind in totals}
    assert min(totals["write"], totals["read"]) > 300, f"too little succeeded: {totals}"
    assert totals["failed"] > 20, f"too little trouble: {totals}"
