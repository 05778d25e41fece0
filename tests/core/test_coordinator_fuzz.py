"""Whatever a client or a peer says: it is answered or counted, and nothing is raised.

An exception in the replicator ends the node, so nobody outside may cause one. Messages here have
the right types, as the codec sees to that, and any content.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.clock import stamp
from cluster.core.operations import (
    Delete,
    Read,
    ReplicaRead,
    ReplicaReadReply,
    ReplicaWrite,
    ReplicaWriteReply,
    Settled,
    Touch,
    Write,
)
from tests.core.coordination import CLIENT, START_MS, Cluster

numbers = st.one_of(st.integers(0, 5), st.integers(0, (1 << 64) - 1))
signed = st.one_of(st.integers(-3, 5), st.integers(-(1 << 63), (1 << 63) - 1))
keys = st.lists(st.one_of(st.sampled_from([b"a", b"b", b"c"]), st.binary(max_size=30)), max_size=4)
stamps = st.one_of(
    st.binary(max_size=30),
    st.builds(lambda ms, boot: stamp((START_MS + ms) << 16, boot), st.integers(0, 10**7), numbers),
)
records = st.lists(st.one_of(st.none(), st.binary(max_size=40), stamps.map(lambda s: s + b"\x01v")))
bodies = st.binary(max_size=20).map(lambda value: b"\x01" + value)
blobs = st.lists(st.one_of(st.binary(max_size=20), bodies))
deadlines = st.floats(-1, 10).map(lambda s: 100.0 + s)
positions = st.one_of(st.integers(0, 3), signed)

client_messages = st.one_of(
    st.builds(Write, numbers, signed, deadlines, keys, blobs, signed),
    st.builds(Delete, numbers, signed, deadlines, keys),
    st.builds(Read, numbers, signed, deadlines, keys),
    st.builds(Touch, numbers, signed, deadlines, keys, signed),
    st.builds(Settled, signed),
)
good_writes = st.builds(
    lambda rid, key: Write(rid, 2, 105.0, [key], [b"\x01v"]),
    st.integers(0, 50),
    st.sampled_from([b"a", b"b"]),
)
good_reads = st.builds(
    lambda rid, key: Read(rid, 2, 105.0, [key]), st.integers(51, 99), st.sampled_from([b"a", b"b"])
)
rounds = st.one_of(st.integers(1, 12), numbers)
peer_replies = st.one_of(
    st.builds(
        ReplicaWriteReply,
        rounds,
        numbers,
        st.lists(st.tuples(positions, stamps), max_size=4),
        st.one_of(st.just(0), signed),
    ),
    st.builds(
        ReplicaReadReply,
        rounds,
        numbers,
        positions,
        st.lists(positions, max_size=4),
        records,
        st.one_of(st.just(0), signed),
        st.one_of(st.just(0), signed),
    ),
)
peer_requests = st.one_of(
    st.builds(ReplicaWrite, numbers, deadlines, keys, blobs, st.lists(numbers)),
    st.builds(ReplicaRead, numbers, deadlines, keys, blobs, st.lists(numbers), signed),
)
steps = st.lists(
    st.one_of(client_messages, good_writes, good_reads, peer_replies, peer_requests), max_size=25
)


@settings(max_examples=300, deadline=None)
@given(steps, st.randoms(use_true_random=False))
def test_nothing_that_is_said_raises(said, rng):
    cluster = Cluster(3)
    cluster.delay_s = (0.01, 0.3)
    node = cluster.nodes["n1"]
    for message in said:
        now, wall_ms = cluster.now, cluster.wall_ms(node)
        if isinstance(message, ReplicaWriteReply | ReplicaReadReply):
            node.coordinator.on_reply(rng.choice(["n1", "n2", "n3", "n9"]), message, now, wall_ms)
        elif isinstance(message, ReplicaWrite):
            node.replica.write(message, now, wall_ms, same_ring=True)
        elif isinstance(message, ReplicaRead):
            node.replica.read(message, now, same_ring=True)
        else:
            node.coordinator.submit(CLIENT, [message], now, wall_ms)
            node.coordinator.flush(now, wall_ms)
        cluster.on_reply = lambda _: None
        cluster.pump(node)
        cluster.run(rng.choice([0.0, 0.05, 0.5]))
    cluster.run(200.0)
    assert node.coordinator.pending == 0, "every request was answered"
    assert node.coordinator.gauges()["rounds_write"] == 0
    assert node.coordinator.gauges()["rounds_read"] == 0
