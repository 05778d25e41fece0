"""The session of a client: what it writes, in how many frames, and what it answers itself."""

import random
from contextlib import asynccontextmanager

import pytest
import trio

from actors import ActorSystem, ChildSpec, Restart, SupervisorSpec
from actors.testing import virtual
from cluster.core.metrics import Registry
from cluster.core.operations import Failure, FailureCode, ReadReply, Refused, TouchReply, WriteReply
from cluster.environment import SimulatedEnvironment
from cluster.errors import (
    ConnectionLost,
    InternalError,
    InvalidKey,
    InvalidValue,
    Overloaded,
    Timeout,
)
from cluster.gateway.session import CONTROL_MAX, ClientSession, HangUp, SendRing, weigh
from cluster.services.local import CutOff, Replies
from cluster.services.traffic import Traffic
from cluster.wire.codec import Codec, FrameLimits
from cluster.wire.control import ControlReply, ControlRequest
from cluster.wire.messages import FrameHeader, RingState

CODEC = Codec("msgpack", FrameLimits(frame_bytes_max=4096))
HEADER = FrameHeader(7, 1, 2)


class FakeConnection:
    """Keeps what is sent."""

    remote = "client:1"

    def __init__(self):
        self.frames = []
        self.lost = False
        self.closed = None

    async def send(self, frame):
        await trio.lowlevel.checkpoint()
        if self.lost:
            raise ConnectionLost("gone")
        self.frames.append(CODEC.decode(frame, 0.0))

    async def aclose(self, reason="", code=1000):
        self.lost = True
        self.closed = (code, reason)


class World:
    def __init__(self):
        self.connection = FakeConnection()
        self.traffic = Traffic(Registry(), "client")
        self.gate = trio.Event()
        self.gate.set()
        self.asked, self.cut_off = [], []
        clock = trio.lowlevel.current_clock()
        environment = SimulatedEnvironment(1, None, clock, 0)
        spec = ChildSpec(
            "session",
            lambda: ClientSession(
                self.connection,
                CODEC,
                environment,
                self.traffic,
                self.answer,
                on_cut_off=lambda remote, reason: self.cut_off.append((remote, reason)),
            ),
            restart=Restart.TEMPORARY,
        )
        self.system = ActorSystem("n1", SupervisorSpec("", (spec,)), rng=random.Random(1))
        self.session = self.system.ref("session")

    async def answer(self, topic, arguments, timeout_s):
        self.asked.append((topic, arguments, timeout_s))
        await self.gate.wait()
        error = ERRORS.get(topic)
        if error is not None:
            raise error
        return BODIES.get(topic, {"topic": topic})

    def ask(self, request_id, topic, **arguments):
        deadline = trio.current_time() + 2
        self.session.tell(ControlRequest(request_id, deadline, topic, arguments))

    @property
    def messages(self):
        return [message for frame in self.connection.frames for message in frame.messages]


ERRORS = {
    "bad value": InvalidValue("no such topic"),
    "bad key": InvalidKey("no key"),
    "slow": Timeout("no answer"),
    "busy": Overloaded("full", 0.25),
    "broken": InternalError("crashed"),
}
BODIES = {"huge": ["x" * 5000], "strange": object()}


@asynccontextmanager
async def session():
    world = World()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.system.run)
        yield world
        world.system.stop()


def reply(request_id):
    return WriteReply(request_id, bytes(16), [], [], 3, 2)


@virtual()
async def test_replies_that_wait_leave_in_one_frame_with_the_last_header():
    async with session() as world:
        world.session.tell(Replies(FrameHeader(5, 1, 2), [reply(1), reply(2)]))
        world.session.tell(Replies(HEADER, [reply(3)]))
        await trio.sleep(0.1)
        [frame] = world.connection.frames
        assert frame.header == HEADER
        assert frame.messages == [reply(1), reply(2), reply(3)]


@virtual()
async def test_more_than_a_frame_leaves_in_several_in_order():
    async with session() as world:
        replies = [ReadReply(number, [bytes(1000)], [], 3, 2) for number in range(9)]
        world.session.tell(Replies(HEADER, replies))
        await trio.sleep(0.1)
        assert len(world.connection.frames) == 3
        assert world.messages == replies


@virtual()
async def test_a_reply_that_no_frame_can_carry_is_refused_and_the_others_leave():
    async with session() as world:
        read = ReadReply(2, [bytes(5000)], [], 3, 2)
        written = WriteReply(3, bytes(16), [(n, bytes(16)) for n in range(300)], [], 3, 2)
        world.session.tell(Replies(HEADER, [reply(1), read, written, reply(4)]))
        await trio.sleep(0.1)
        first, second, third, last = world.messages
        assert (first, last) == (reply(1), reply(4))
        assert (second.request_id, second.code) == (2, FailureCode.OVERLOADED)
        assert "ask for fewer keys" in second.message
        assert (third.request_id, third.code) == (3, FailureCode.INTERNAL), "it may be executed"


@virtual()
async def test_control_requests_are_answered_beside_the_data():
    async with session() as world:
        world.gate = trio.Event()
        world.ask(1, "status", key="k")
        world.session.tell(Replies(HEADER, [reply(2)]))
        await trio.sleep(0.5)
        assert world.messages == [reply(2)]
        world.gate.set()
        await trio.sleep(0.1)
        assert world.messages[1:] == [ControlReply(1, {"topic": "status"})]
        [(topic, arguments, timeout_s)] = world.asked
        assert (topic, arguments) == ("status", {"key": "k"})
        assert timeout_s == pytest.approx(2)


@virtual()
@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ("bad value", FailureCode.INVALID),
        ("bad key", FailureCode.INVALID),
        ("slow", FailureCode.TIMEOUT),
        ("broken", FailureCode.INTERNAL),
    ],
)
async def test_a_question_that_fails_is_refused_by_its_kind(topic, code):
    async with session() as world:
        world.ask(1, topic)
        await trio.sleep(0.1)
        assert world.messages == [Refused(1, code, str(ERRORS[topic]))]


@virtual()
async def test_overload_inside_the_node_is_told_as_overload():
    async with session() as world:
        world.ask(1, "busy")
        await trio.sleep(0.1)
        [answer] = world.messages
        assert answer == Refused(1, FailureCode.OVERLOADED, "full", 250)


@virtual()
@pytest.mark.parametrize("topic", ["huge", "strange"])
async def test_an_answer_that_cannot_be_carried_is_refused(topic):
    async with session() as world:
        world.ask(1, topic)
        world.ask(2, "status")
        await trio.sleep(0.1)
        answered, refused = sorted(world.messages, key=lambda each: -each.request_id)
        assert (refused.request_id, refused.code) == (1, FailureCode.INTERNAL)
        assert answered == ControlReply(2, {"topic": "status"})


@virtual()
async def test_only_so_many_questions_are_worked_on_at_a_time():
    async with session() as world:
        world.gate = trio.Event()
        for number in range(CONTROL_MAX + 2):
            world.ask(number, "status")
        await trio.sleep(0.1)
        assert [each.request_id for each in world.messages] == [CONTROL_MAX, CONTROL_MAX + 1]
        assert {each.code for each in world.messages} == {FailureCode.OVERLOADED}
        world.gate.set()
        await trio.sleep(0.1)
        assert len(world.messages) == CONTROL_MAX + 2
        world.ask(99, "status")
        await trio.sleep(0.1)
        assert world.messages[-1] == ControlReply(99, {"topic": "status"})


@virtual()
async def test_it_tells_the_ring_when_told_to():
    async with session() as world:
        world.session.tell(SendRing(HEADER, RingState(["a ring"])))
        await trio.sleep(0.1)
        assert world.messages == [RingState(["a ring"])]
        assert world.connection.frames[0].header == HEADER


@virtual()
async def test_what_cannot_leave_any_more_is_counted():
    async with session() as world:
        world.connection.lost = True
        world.session.tell(Replies(HEADER, [reply(1), reply(2)]))
        await trio.sleep(0.1)
        assert world.traffic.dropped.value == 2


@virtual()
async def test_it_ends_when_the_connection_has_ended():
    async with session() as world:
        world.session.tell(Replies(HEADER, [reply(1)]))
        await trio.sleep(0.1)
        world.session.tell_control(HangUp())
        await trio.sleep(0.1)
        assert not world.session.tell(Replies(HEADER, [reply(2)]))
        assert world.messages == [reply(1)]


@virtual()
async def test_a_client_that_lets_too_much_wait_is_cut_off_once_and_told_why():
    async with session() as world:
        world.session.tell(Replies(HEADER, [reply(1)]))
        world.session.tell_control(CutOff())
        world.session.tell_control(CutOff())
        await trio.sleep(0.1)
        code, reason = world.connection.closed
        assert (code, reason) == (1008, world.cut_off[0][1])
        assert world.cut_off == [("client:1", reason)]
        assert "does not read them fast enough" in reason
        assert world.messages == []
        assert not world.session.tell(Replies(HEADER, [reply(2)]))


def test_the_weight_of_replies_is_what_they_hold():
    failure = Failure(0, FailureCode.TIMEOUT, "late")
    assert weigh(Replies(HEADER, [ReadReply(1, [bytes(500), None, bytes(20)], [], 3, 2)])) == 520
    assert weigh(Replies(HEADER, [reply(1), Refused(2, FailureCode.TIMEOUT, "late")])) == 0
    assert weigh(Replies(HEADER, [TouchReply(1, [bytes(16)] * 9, [], 3, 2)])) == 9 * 16
    restamped = WriteReply(1, bytes(16), [(0, bytes(16))] * 5, [failure] * 3, 3, 2)
    assert weigh(Replies(HEADER, [restamped])) == 5 * 16 + 3 * 200
    assert weigh(HangUp()) == 0
