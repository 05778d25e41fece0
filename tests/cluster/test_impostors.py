"""Peers and clients that say what is wrong: out of confusion, or because their clock was."""

import trio

from actors.testing import virtual
from cluster.core.membership import MemberEntry
from cluster.errors import NodeFailed
from cluster.net.greeting import greet
from cluster.services.local import ClientBatch
from cluster.wire.codec import Codec
from cluster.wire.handshake import Hello
from cluster.wire.messages import FrameHeader, MembersUpdate, RingState
from tests.cluster.memory_cluster import ALL, empty_cluster, memory_cluster

HOUR_MS = 3_600_000


@virtual()
async def test_a_node_whose_clock_was_ahead_in_the_life_before_ends_and_its_next_boot_is_later():
    async with empty_cluster() as cluster:
        for name in ("n1", "n2", "n3"):
            skew_ms = HOUR_MS if name == "n2" else 0
            seeds = () if name == "n1" else ("n1",)
            await cluster.start(name, seeds=seeds, bootstrap_expect=3, skew_ms=skew_ms)
        await cluster.serving()
        for name in cluster.names:
            await cluster.wait_reachable(name, *cluster.names)
        first = (await cluster.stop("n2")).node
        second = await cluster.start("n2", seeds=("n1",), bootstrap_expect=3)
        with trio.fail_after(10):
            await second.ended.wait()
        assert isinstance(second.failure, NodeFailed)
        text = str(second.failure)
        assert f"{first.boot:016x}, later than its {second.node.boot:016x}" in text
        assert "its clock was ahead" in text
        assert not second.node.serving.is_set(), "it has promised nothing"
        assert second.node.outdated_by == first.boot > second.node.boot
        cluster.past.append(cluster.lives.pop("n2"))
        cluster.network.kill("n2")

        above = second.node.outdated_by
        third = await cluster.start("n2", seeds=("n1",), bootstrap_expect=3, above=above)
        assert third.node.boot > first.boot
        await cluster.serving()
        for name in cluster.names:
            await cluster.wait_reachable(name, *cluster.names)
        for name in cluster.names:
            async with cluster.only(name) as cache:
                await cache.set("key", name, consistency=ALL, timeout=2)


@virtual()
async def test_what_a_confused_peer_says_of_others_and_of_the_ring_harms_nobody():
    async with memory_cluster(3) as cluster, cluster.client() as cache:
        await cache.set("key", "value")
        transport, codec = cluster.network.transport("evil"), Codec("msgpack")
        hello = Hello(1, 1, "default", "peer", "n9", 77, 256, 3, "evil:7946")
        async with transport.dial("n1:7946", timeout_s=1) as connection:
            await greet(connection, hello, codec)
            wall_boot = (1_700_000_000_000 + 20_000) << 16
            bad = [
                MemberEntry("n2", "not an address", 1 << 63, "zone with space", 1.0),
                MemberEntry("n2", "nowhere:1", wall_boot, "", 1.0),
                MemberEntry("n3", "nowhere:1", (1 << 64) - 1, "", 1.0),
                MemberEntry("x y", "h:1", 1, "", 1.0),
                *(MemberEntry(f"z{each}", f"z{each}:99999", 1, "", -5.0) for each in range(300)),
            ]
            ring = RingState([7, "stable", 256, 3, [["n9", "evil:7946", 1.0, ""]]])
            messages = [MembersUpdate(bad), ring]
            await connection.send(codec.encode(FrameHeader(0, 7, 7), messages, trio.current_time()))
            await trio.sleep(10)
            for name in cluster.names:
                assert await cluster.reachable(name) == ["n1", "n2", "n3"]
                assert (await cluster.ask(name, "ring"))["epoch"] == 1
            assert await cache.get("key", timeout=1) == "value"
            assert cluster["n1"].counter("hypercache_dist_introductions_refused_total") == 303
            assert cluster.logged("n1", "error", "n9 has another ring: epoch 7")


@virtual()
async def test_a_peer_that_comes_back_is_noticed_behind_a_full_mailbox():
    async with memory_cluster(3) as cluster:
        system = cluster["n1"].node.system
        cluster.kill("n2")
        await trio.sleep(1)
        system.suspend("replicator")
        await trio.sleep(0.1)
        nobody, header = system.ref("pulse"), FrameHeader(0, 0, 0)
        while system.ref("replicator").tell(ClientBatch(99, nobody, header, [], 100, 1)):
            pass
        await cluster.start("n2", seeds=("n1",), bootstrap_expect=3)
        await trio.sleep(3)
        system.resume("replicator")
        async with cluster.only("n1") as cache:
            await cache.set("key", "value", consistency=ALL, timeout=2)


@virtual()
async def test_a_client_whose_clock_is_ahead_does_not_keep_a_node_from_writing():
    """Not even with a peer that lags behind as far as clocks of a cluster should."""
    async with empty_cluster() as cluster:
        for name in ("n1", "n2", "n3"):
            seeds = () if name == "n1" else ("n1",)
            skew_ms = 0 if name == "n1" else -240
            await cluster.start(name, seeds=seeds, bootstrap_expect=3, skew_ms=skew_ms)
        await cluster.serving()
        for name in cluster.names:
            await cluster.wait_reachable(name, *cluster.names)
        replicator = cluster["n1"].node.system.ref("replicator")
        nobody = cluster["n1"].node.system.ref("pulse")
        async with cluster.only("n1") as cache:
            for turn in range(20):
                ahead = cluster["n1"].node.environment.wall_ms() + turn * 25
                header = FrameHeader(ahead << 16, 0, 0)
                replicator.tell(ClientBatch(99, nobody, header, [], 100, 1))
                await cache.set("key", turn, consistency=ALL, timeout=0.1)
        for name in cluster.names:
            counted = (await cluster.ask(name, "stats"))["replicator"]
            assert counted["clock_refused"] == (9 if name == "n1" else 0), "of the client alone"
            assert counted["replica_refused_skewed"] == 0
