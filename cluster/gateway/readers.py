"""Reading connections: what a frame of a client or a peer means to this node.

Each reader serves one connection in the task of that connection. It decodes, sorts messages by whom
they are for and hands them over without waiting. What it does not expect is a protocol error, which
ends the connection.
"""

from collections.abc import Iterable
from typing import Any, Final

import attrs
import trio

from actors import Ref
from cluster.core.operations import (
    Delete,
    FailureCode,
    Read,
    Refused,
    ReplicaRead,
    ReplicaReadReply,
    ReplicaWrite,
    ReplicaWriteReply,
    Settled,
    Touch,
    Write,
)
from cluster.core.ring import RingView
from cluster.environment import Environment
from cluster.errors import ProtocolError
from cluster.gateway.session import SendRing
from cluster.net.base import Connection
from cluster.services.local import (
    ClientBatch,
    CutOff,
    MembersHeard,
    Outgoing,
    PeerBatch,
    Replies,
    RingAsked,
    RingHeard,
)
from cluster.services.traffic import Traffic
from cluster.wire.codec import Codec
from cluster.wire.control import ControlRequest
from cluster.wire.messages import (
    Frame,
    FrameHeader,
    MembersUpdate,
    RingRequest,
    RingState,
)

__all__ = ["ClientReader", "Door", "PeerReader"]

RETRY_AFTER_MS: Final = 50
"""What a client is told to wait when the replicator's mailbox was full."""

SLICE_KEYS: Final = 500
"""Keys that the replicator is given at once: a few milliseconds of work."""

SLICED_FRAME_BYTES_MIN: Final = 16 * 1024
"""A smaller frame cannot name so many keys that slicing it is worth a look."""

_REQUESTS: Final = frozenset((Write, Read, Delete, Touch, Settled))
_REPLICA: Final = frozenset((ReplicaWrite, ReplicaWriteReply, ReplicaRead, ReplicaReadReply))


@attrs.define
class Door:
    """What all readers of a node share; the front door keeps it up to date."""

    node_id: str
    boot: int
    environment: Environment
    replicator: Ref[Any]
    peers: Ref[Any]
    ring_keeper: Ref[Any]
    view: RingView | None = None
    header: FrameHeader = attrs.field(factory=lambda: FrameHeader(0, 0, 0))
    links: dict[str, Ref[Any]] = attrs.field(factory=dict)
    """By node: where what we answer ourselves leaves."""
    draining: bool = False


class ClientReader:
    """Reads the connection of one client."""

    def __init__(
        self,
        door: Door,
        connection: Connection,
        codec: Codec,
        session_id: int,
        number: int,
        session: Ref[Any],
        traffic: Traffic,
    ) -> None:
        self._door: Final = door
        self._connection: Final = connection
        self._codec: Final = codec
        self._session_id: Final = session_id
        self._number: Final = number
        self._session: Final = session
        self._traffic: Final = traffic
        self._ring_told = 0

    async def run(self) -> None:
        """Read until the connection ends.

        Raises:
            ConnectionLost: it has ended.
            ProtocolError: the client sent what no client sends.
        """
        environment = self._door.environment
        while True:
            data = await self._connection.receive()
            self._traffic.received(len(data))
            frame = self._codec.decode(data, environment.now())
            requests = self._sort(frame)
            for some in slices(requests, len(data)):
                self._submit(frame.header, some, len(data))
                if some is not requests:
                    await trio.lowlevel.checkpoint()

    def _sort(self, frame: Frame) -> list[Any]:
        """Pass on what is for others; what is left is for the replicator."""
        requests = []
        for message in frame.messages:
            if type(message) in _REQUESTS:
                requests.append(message)
            elif isinstance(message, ControlRequest):
                self._tell_session(message)
            elif isinstance(message, RingRequest):
                self._ring_told = 0
            else:
                raise ProtocolError(f"a client sends no {type(message).__name__}")
        self._tell_ring(frame.header)
        return requests

    def _submit(self, header: FrameHeader, requests: list[Any], size_bytes: int) -> None:
        door = self._door
        if door.draining:
            text = f"{door.node_id} is about to stop: ask another node"
            self._refuse(requests, FailureCode.DRAINING, text, 0)
            return
        batch = ClientBatch(
            self._session_id, self._session, header, requests, size_bytes, self._number
        )
        if not door.replicator.hand_over(batch):
            text = f"{door.node_id} has too much to do: try again later"
            self._refuse(requests, FailureCode.OVERLOADED, text, RETRY_AFTER_MS)

    def _refuse(
        self, requests: list[Any], code: FailureCode, text: str, retry_after_ms: int
    ) -> None:
        replies: list[Any] = [
            Refused(request.request_id, code, text, retry_after_ms)
            for request in requests
            if not isinstance(request, Settled)
        ]
        self._tell_session(Replies(self._door.header, replies))

    def _tell_session(self, message: ControlRequest | Replies | SendRing) -> None:
        if not self._session.tell(message):
            self._session.tell_control(CutOff())

    def _tell_ring(self, header: FrameHeader) -> None:
        """Tell the client our ring if it knows another or none, once for each of ours."""
        view = self._door.view
        if view is not None and view.digest not in (header.digest, self._ring_told):
            self._ring_told = view.digest
            self._tell_session(SendRing(self._door.header, RingState(list(view.as_wire()))))


class PeerReader:
    """Reads the connection of one peer."""

    def __init__(
        self,
        door: Door,
        connection: Connection,
        codec: Codec,
        sender: str,
        boot: int,
        traffic: Traffic,
    ) -> None:
        self._door: Final = door
        self._connection: Final = connection
        self._codec: Final = codec
        self._sender: Final = sender
        self._boot: Final = boot
        self._traffic: Final = traffic

    async def run(self) -> None:
        """Read until the connection ends. Raises as `ClientReader.run`."""
        environment = self._door.environment
        while True:
            data = await self._connection.receive()
            self._traffic.received(len(data))
            frame = self._codec.decode(data, environment.now(), environment.wall_ms())
            messages = self._sort(frame)
            for some in slices(messages, len(data)):
                batch = PeerBatch(self._sender, self._boot, frame.header, some, len(data))
                if not self._door.replicator.hand_over(batch):
                    self._refuse(some)
                if some is not messages:
                    await trio.lowlevel.checkpoint()

    def _sort(self, frame: Frame) -> list[Any]:
        """Pass on what is for others; what is left is for the replicator."""
        door, header, messages = self._door, frame.header, frame.messages
        if all(type(message) in _REPLICA for message in messages):
            return messages
        data = []
        for message in messages:
            if type(message) in _REPLICA:
                data.append(message)
            elif isinstance(message, MembersUpdate):
                door.peers.tell(MembersHeard(self._sender, header, message.members))
            elif isinstance(message, RingState):
                door.ring_keeper.tell(RingHeard(self._sender, message.view))
            elif isinstance(message, RingRequest):
                door.ring_keeper.tell(RingAsked(self._sender))
            else:
                raise ProtocolError(f"a peer sends no {type(message).__name__}")
        return data

    def _refuse(self, messages: list[Any]) -> None:
        """Answer for a replicator that takes no more.

        The peer's own answers in the frame are lost: it is asked for them again.
        """
        boot, code = self._door.boot, FailureCode.OVERLOADED
        answers: list[Any] = []
        for message in messages:
            if isinstance(message, ReplicaWrite):
                answers.append(ReplicaWriteReply(message.round_id, boot, [], code))
            elif isinstance(message, ReplicaRead):
                answers.append(ReplicaReadReply(message.round_id, boot, 0, [], [], code))
        link = self._door.links.get(self._sender)
        if answers and link is not None:
            link.tell(Outgoing(self._door.header, answers))


def slices(messages: list[Any], frame_bytes: int) -> Iterable[list[Any]]:
    """The messages of a frame in runs of about `SLICE_KEYS` keys.

    The replicator works through one run without a pause; between two of them others get their turn.
    """
    if not messages:
        return
    if frame_bytes < SLICED_FRAME_BYTES_MIN:
        yield messages
        return
    run: list[Any] = []
    keys = 0
    for message in messages:
        run.append(message)
        keys += len(getattr(message, "keys", ())) or 1
        if keys >= SLICE_KEYS:
            yield run
            run, keys = [], 0
    if run:
        yield run
