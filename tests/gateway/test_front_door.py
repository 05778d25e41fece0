"""The front door: what comes in, whom it reaches, and what is refused."""

import attrs
import pytest
import trio

from actors import StartFailed
from actors.testing import virtual
from cluster.core.operations import (
    Delete,
    FailureCode,
    Read,
    ReadReply,
    Refused,
    ReplicaReadReply,
    ReplicaWriteReply,
    Settled,
    Write,
)
from cluster.core.ring import RingView
from cluster.errors import ConnectionLost, HandshakeRefused
from cluster.gateway.front_door import CONNECTION_BITS
from cluster.net.greeting import OutdatedBootError
from cluster.services.local import (
    Bound,
    ClientBatch,
    ClientGone,
    Drain,
    MembersHeard,
    Outgoing,
    PeerBatch,
    PeersReset,
    PeerUp,
    Replies,
    RingAsked,
    RingChanged,
    RingHeard,
    SessionUp,
    TellAgain,
)
from cluster.wire.control import ControlRequest
from cluster.wire.messages import (
    FrameHeader,
    MembersUpdate,
    ProtocolFailure,
    RingRequest,
    RingState,
)
from tests.gateway.door_world import (
    ENTRY,
    NOBODY,
    World,
    client,
    front_door,
    local,
    peer,
    replica_read,
    replica_write,
    ring,
    write,
)


@virtual()
async def test_it_says_where_it_listens_and_asks_for_what_it_needs():
    async with front_door() as world:
        assert world.bound == ["n1:7946"]
        for probe in (world.ring_keeper, world.peers):
            assert world.told(probe, Bound) == [Bound("n1:7946")]
            assert world.told(probe, TellAgain) == [TellAgain(world.door)]


@virtual()
async def test_all_requests_of_a_frame_reach_the_replicator_as_one_item():
    async with front_door() as world, client(world) as caller:
        await caller.send(write(1), Read(2, 1, 9.0, [b"k"]), Delete(3, 1, 9.0, [b"k"]), Settled(1))
        batch = await world.replicator.wait_for(lambda m: isinstance(m, ClientBatch))
        assert [type(each) for each in batch.requests] == [Write, Read, Delete, Settled]
        assert batch.session_id == 70
        assert batch.size_bytes > 40
        refused = [Refused(each, FailureCode.OVERLOADED, "no") for each in (1, 2)]
        batch.reply_to.tell(Replies(NOBODY, refused[:1]))
        batch.reply_to.tell(Replies(NOBODY, refused[1:]))
        assert await caller.receive() == refused, "what waits leaves in one frame"


@virtual()
async def test_a_full_replicator_is_answered_for_at_once():
    async with front_door() as world, client(world) as caller:
        world.system.suspend("replicator")
        for request_id in (1, 2, 3):
            await caller.send(write(request_id), Settled(1), write(request_id + 10))
        answers = await caller.receive()
        assert [each.request_id for each in answers] == [3, 13], "the first two frames wait"
        for answer in answers:
            assert (answer.code, answer.retry_after_ms) == (FailureCode.OVERLOADED, 50)
            assert "n1 has too much to do" in answer.message
        world.system.resume("replicator")
        await world.replicator.wait_count(2)


@virtual()
async def test_a_draining_node_refuses_requests_and_goes_on_answering():
    async with front_door() as world, client(world) as caller:
        await caller.send(write(1))
        batch = await world.replicator.wait_for(lambda m: isinstance(m, ClientBatch))
        await world.door.ask(Drain(), timeout_s=1)
        await caller.send(write(2), Settled(1))
        [answer] = await caller.receive()
        assert (answer.request_id, answer.code) == (2, FailureCode.DRAINING)
        late = Refused(1, FailureCode.TIMEOUT, "late")
        batch.reply_to.tell(Replies(NOBODY, [late]))
        assert await caller.receive() == [late]
        assert len(world.told(world.replicator, ClientBatch)) == 1


@virtual()
async def test_a_client_that_knows_another_ring_is_told_ours_once():
    async with front_door() as world:
        world.door.tell(RingChanged(ring()))
        await trio.sleep(0.1)
        async with client(world) as caller:
            assert RingView.from_wire(caller.welcome.ring) == ring()
            same = FrameHeader(0, 1, ring().digest)
            await caller.send(write(1), header=same)
            world.door.tell(RingChanged(ring(2)))
            await trio.sleep(0.1)
            await caller.send(write(2), header=same)
            [state] = await caller.receive()
            assert RingView.from_wire(state.view) == ring(2)
            await caller.send(write(3), header=same)
            await caller.send(RingRequest(), header=same)
            [again] = await caller.receive()
            assert again == state, "once, unless it asks"
            assert world.told(world.replicator, ClientBatch)


@virtual()
@pytest.mark.parametrize(
    "message",
    [
        RingState(["ring"]),
        MembersUpdate([ENTRY]),
        ReplicaWriteReply(1, 2, []),
        ProtocolFailure("x"),
    ],
)
async def test_what_no_client_sends_ends_its_connection(message):
    async with front_door() as world:
        async with client(world) as caller, client(world, 71, "other") as other:
            await caller.send(message)
            name = type(message).__name__
            with pytest.raises(ConnectionLost, match=f"1002.*a client sends no {name}"):
                await caller.connection.receive()
            await trio.sleep(0.1)
            assert world.gauge("client") == 1
            await other.send(write(1))
            await world.replicator.wait_for(lambda m: isinstance(m, ClientBatch))
        gone = world.told(world.replicator, ClientGone)
        assert gone[0].session_id == 70
        failures = next(
            f for f in world.registry.families() if f.name.endswith("protocol_errors_total")
        )
        assert failures.series[("client",)].value == 1


@virtual()
async def test_the_end_of_a_client_is_told_and_its_session_ends():
    async with front_door() as world:
        async with client(world):
            await trio.sleep(0.1)
            assert world.gauge("client") == 1
            session = world.system.ref("front_door/session-1")
        [gone] = await world.replicator.wait_count(1)
        assert gone == ClientGone(70, (1 << CONNECTION_BITS) + 1)
        await trio.sleep(0.1)
        assert world.gauge("client") == 0
        assert not session.tell(Replies(NOBODY, []))


@virtual()
async def test_messages_of_a_peer_go_to_whom_they_are_for():
    async with front_door() as world, peer(world) as caller:
        header = FrameHeader(0, 7, 9)
        data = [replica_write(1), ReplicaWriteReply(2, 5, []), replica_read(3)]
        await caller.send(
            data[0], MembersUpdate([ENTRY]), data[1], RingState(["r"]), data[2], RingRequest(),
            header=header,
        )  # fmt: skip
        batch = await world.replicator.wait_for(lambda m: isinstance(m, PeerBatch))
        assert (batch.sender, batch.boot, batch.header) == ("n2", 5, header)
        assert [type(each) for each in batch.messages] == [type(each) for each in data]
        await trio.sleep(0.1)
        assert world.told(world.peers, MembersHeard) == [MembersHeard("n2", header, [ENTRY])]
        assert world.told(world.ring_keeper, RingHeard) == [RingHeard("n2", ["r"])]
        assert world.told(world.ring_keeper, RingAsked) == [RingAsked("n2")]


@virtual()
async def test_requests_of_a_client_end_the_connection_of_a_peer():
    async with front_door() as world, peer(world) as caller:
        await caller.send(write(1))
        with pytest.raises(ConnectionLost, match="a peer sends no Write"):
            await caller.connection.receive()
        await trio.sleep(0.1)
        assert world.told(world.replicator, ClientBatch) == []


@virtual()
async def test_for_a_full_replicator_the_peer_is_answered_by_our_own_link():
    async with front_door() as world, peer(world) as caller:
        world.door.tell(PeerUp("n2", 5, world.system.ref("link")))
        await trio.sleep(0.1)
        world.system.suspend("replicator")
        for number in range(3):
            await caller.send(
                replica_write(number), replica_read(number + 10), ReplicaWriteReply(9, 5, [])
            )
        outgoing = await world.link.wait_for(lambda m: isinstance(m, Outgoing))
        assert outgoing.messages == [
            ReplicaWriteReply(2, 1, [], FailureCode.OVERLOADED),
            ReplicaReadReply(12, 1, 0, [], [], FailureCode.OVERLOADED),
        ]
        world.door.tell(PeersReset())
        await trio.sleep(0.1)
        await caller.send(replica_write(4))
        await trio.sleep(0.1)
        assert len(world.told(world.link, Outgoing)) == 1, "there is no way back any more"
        world.system.resume("replicator")


@virtual()
async def test_connections_of_peers_are_told_until_the_last_of_a_boot_has_ended():
    async with front_door() as world:
        up = SessionUp("n2", 5, "peer:1", up=True)
        async with peer(world):
            async with peer(world, host="peer-2"):
                await trio.sleep(0.1)
                assert world.gauge("peer") == 2
                assert world.told(world.peers, SessionUp) == [up, up]
            await trio.sleep(0.1)
            assert world.told(world.peers, SessionUp) == [up, up]
        await trio.sleep(0.1)
        assert world.told(world.peers, SessionUp)[2:] == [attrs.evolve(up, up=False)]
        assert world.gauge("peer") == 0
        assert any("the connection from n2 ended" in text for _, text in world.log)


@virtual()
async def test_whoever_starts_anew_is_told_again():
    async with front_door() as world, peer(world):
        await trio.sleep(0.1)
        world.peers.messages.clear()
        world.door.tell(TellAgain(world.system.ref("peers")))
        await trio.sleep(0.1)
        assert world.peers.messages == [Bound("n1:7946"), SessionUp("n2", 5, "peer:1", up=True)]


@virtual()
async def test_after_a_crash_it_listens_at_the_same_port_and_counts_from_nothing():
    async with front_door() as world:
        async with client(world) as caller, peer(world) as other:
            await trio.sleep(0.1)
            cell = world.system._registry.find("front_door", "/n1/")
            cell.current.crash(RuntimeError("planted"))
            for each in (caller, other):
                with pytest.raises(ConnectionLost):
                    await each.connection.receive()
        await trio.sleep(1)
        assert world.bound == ["n1:7946", "n1:7946"]
        assert (world.gauge("client"), world.gauge("peer")) == (0, 0)
        assert [each.up for each in world.told(world.peers, SessionUp)] == [True, False]
        assert [each.session_id for each in world.told(world.replicator, ClientGone)] == [70]
        async with client(world, 72) as caller:
            await caller.send(write(1))
            await world.replicator.wait_for(lambda m: isinstance(m, ClientBatch))


@virtual()
async def test_connections_are_numbered_upwards_also_over_a_crash():
    async with front_door() as world:
        numbers = []
        for turn in range(3):
            async with client(world, host=f"client-{turn}") as caller:
                await caller.send(write(turn))
                await world.replicator.wait_count(len(world.replicator.messages) + 1)
                numbers.append(world.told(world.replicator, ClientBatch)[-1].connection)
            if turn == 1:
                cell = world.system._registry.find("front_door", "/n1/")
                cell.current.crash(RuntimeError("planted"))
                await trio.sleep(1)
        assert numbers == sorted(set(numbers))
        await trio.sleep(0.1)
        assert [each.connection for each in world.told(world.replicator, ClientGone)] == numbers


@virtual()
async def test_what_must_be_known_is_not_lost_to_a_full_mailbox():
    async with front_door() as world:
        for name in ("replicator", "peers"):
            world.system.suspend(name)
        await trio.sleep(0.1)
        for name in ("replicator", "peers"):
            while world.system.ref(name).tell("filler"):
                pass
        async with client(world), peer(world):
            await trio.sleep(0.1)
        await trio.sleep(0.1)
        for name in ("replicator", "peers"):
            world.system.resume(name)
        await world.replicator.wait_for(lambda m: isinstance(m, ClientGone))
        await world.peers.wait_for(lambda m: isinstance(m, SessionUp) and not m.up)
        assert [each.up for each in world.told(world.peers, SessionUp)] == [True, False]


@virtual()
async def test_a_client_that_does_not_read_is_cut_off_and_counted():
    async with front_door() as world, client(world) as caller:
        await trio.sleep(0.1)
        world.system.suspend("front_door/session-1")
        await trio.sleep(0.1)
        session = world.system.ref("front_door/session-1")
        records = Replies(NOBODY, [ReadReply(1, [bytes(1 << 20)] * 20, [], 3, 2)])
        waiting = 0
        while session.tell(records):
            waiting += 1
        assert waiting == 3, "what waits is bounded in bytes"
        await caller.send(ControlRequest(1, 9.0, "status", {}))
        while session.tell(Replies(NOBODY, [])):
            pass
        await caller.send(ControlRequest(2, 9.0, "status", {}))
        await trio.sleep(0.1)
        world.system.resume("front_door/session-1")
        with pytest.raises(ConnectionLost, match=r"1008.*does not read them fast enough"):
            await caller.receive()
        await trio.sleep(0.1)
        families = {each.name: each for each in world.registry.families()}
        assert families["hypercache_dist_clients_cut_off_total"].series[()].value == 1
        assert any("client:" in text and "is cut off" in text for _, text in world.log)


@virtual()
async def test_a_peer_in_a_boot_that_was_followed_by_another_is_refused():
    async with front_door() as world:
        async with peer(world, boot=50):
            pass
        world.network.kill("peer")
        world.door.tell(PeerUp("n3", 70, world.system.ref("link")))
        await trio.sleep(0.1)
        for name, old, known in (("n2", 49, 50), ("n3", 69, 70)):
            with pytest.raises(OutdatedBootError) as caught:
                async with world.dial("peer", local("peer:1", name, old).hello()):
                    pytest.fail("it was let in")
            assert caught.value.known_boot == known
            world.network.kill("peer")
        assert [each.boot for each in world.told(world.peers, SessionUp)] == [50, 50]
        async with peer(world, boot=50):
            pass


@virtual()
async def test_a_port_that_is_taken_is_a_start_failure():
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.network.transport("other").serve, "other:7946", trio.sleep)
        taken = world.network._hosts["n1"]
        await nursery.start(taken.serve, "n1:7946", trio.sleep)
        with pytest.raises(StartFailed, match=r"front_door did not start.*already in use"):
            await world.system.run()
        nursery.cancel_scope.cancel()


@virtual()
async def test_a_node_refuses_itself_and_others_by_the_rules_of_the_handshake():
    async with front_door() as world:
        with pytest.raises(HandshakeRefused, match="myself"):
            async with world.dial("self", local("n1:7946").hello()):
                pytest.fail("it talks to itself")
        world.network.kill("self")
        stranger = attrs.evolve(local("peer:1", "n2"), cluster="other").hello()
        with pytest.raises(HandshakeRefused, match="cluster 'test', not 'other'"):
            async with world.dial("stranger", stranger):
                pytest.fail("it was let in")
        await trio.sleep(0.1)
        assert (world.gauge("client"), world.gauge("peer")) == (0, 0)
        assert world.told(world.peers, SessionUp) == []
