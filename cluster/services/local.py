"""Messages between the actors of one node: what they tell and ask each other.

Services never import each other; whoever wants something from a service sends it one of these. A
service's own private messages (timers, results of its helper tasks) stay in its own module.
"""

from typing import Any, TypeAlias

import attrs

from actors import Ref, Request
from cluster.core.membership import MemberEntry
from cluster.core.operations import (
    ClientReply,
    ClientRequest,
    ReplicaMessage,
    Settled,
)
from cluster.core.ring import RingView
from cluster.wire.messages import FrameHeader

__all__ = [
    "Bound",
    "ClientBatch",
    "ClientGone",
    "CutOff",
    "Drain",
    "FrameObserved",
    "GetMembers",
    "GetRecord",
    "GetReplicatorStatistics",
    "GetRing",
    "LinkDown",
    "LinkIsMyself",
    "LinkUp",
    "MemberMet",
    "MemberStatus",
    "Members",
    "MembersHeard",
    "Outgoing",
    "PeerBatch",
    "PeerDown",
    "PeerUp",
    "PeersReset",
    "RecordPage",
    "Replies",
    "RingAsked",
    "RingChanged",
    "RingHeard",
    "RingStatus",
    "ScanKeys",
    "SendTo",
    "SessionUp",
    "TellAgain",
    "WaitIdle",
]


# --------------------------------------------------------------------------- data path


@attrs.frozen
class ClientBatch:
    """All requests of one client frame. `reply_to` takes `Replies`."""

    session_id: int
    reply_to: "Ref[Any]"
    header: FrameHeader
    requests: list[ClientRequest | Settled]
    size_bytes: int
    connection: int = 0
    """Grows from each connection of this node to the next."""


@attrs.frozen
class ClientGone:
    """The client's connection ended; what is kept to answer its repeats goes some time later."""

    session_id: int
    connection: int


@attrs.frozen
class Replies:
    """Replies for one client session, written in this order."""

    header: FrameHeader
    replies: list[ClientReply]


@attrs.frozen
class PeerBatch:
    """All replica messages of one frame of a peer."""

    sender: str
    boot: int
    header: FrameHeader
    messages: list[ReplicaMessage]
    size_bytes: int


@attrs.frozen
class CutOff:
    """Told to a client session that did not take a message: its client does not read enough."""


@attrs.frozen
class Drain(Request[None]):
    """Asked of the front door: take no new requests, the node is about to stop.

    Once it is answered, every request that was let in is with the replicator.
    """


@attrs.frozen
class Outgoing:
    """Messages for one peer; whatever waits for the same link leaves in one frame."""

    header: FrameHeader
    messages: list[Any]
    urgent: bool = False
    """Messages between members overtake data that waits for the same link."""


@attrs.frozen
class FrameObserved:
    """A frame named another ring than ours: the ring keeper compares."""

    sender: str
    epoch: int
    digest: int


# --------------------------------------------------------------------------- membership and ring


@attrs.frozen
class TellAgain:
    """Whoever has just started asks to be told once more what the receiver publishes.

    Everyone asks at every start, so that an actor that crashed comes back with what it needs.
    """

    to: "Ref[Any]"


@attrs.frozen
class Bound:
    """The node listens; `address` is what others dial."""

    address: str


@attrs.frozen
class MembersHeard:
    """A peer named the members that it knows."""

    sender: str
    header: FrameHeader
    members: list[MemberEntry]


@attrs.frozen
class MemberMet:
    """A member introduced itself, with the ring that it knows (epoch 0: none)."""

    entry: MemberEntry
    epoch: int
    digest: int


@attrs.frozen
class RingHeard:
    """A peer sent its ring, not checked yet."""

    sender: str
    view: list[Any]


@attrs.frozen
class RingAsked:
    """A peer asks for the ring."""

    sender: str


@attrs.frozen
class SendTo:
    """Asks `peers` to send a message to one peer, if it can be reached."""

    node_id: str
    message: Any


@attrs.frozen
class LinkUp:
    """The link to an address is up; the node at its other end has said who it is."""

    address: str
    link: "Ref[Any]"
    node_id: str
    boot: int


@attrs.frozen
class LinkDown:
    """The link to an address is down; it goes on dialling."""

    address: str
    reason: str


@attrs.frozen
class LinkIsMyself:
    """The address turned out to be this node; the link has stopped dialling."""

    address: str


@attrs.frozen
class PeerUp:
    """A peer can be reached, in this boot; `link` takes `Outgoing`."""

    node_id: str
    boot: int
    link: "Ref[Any]"


@attrs.frozen
class PeersReset:
    """Nobody can be reached until said so again: the one who knew has started anew."""


@attrs.frozen
class PeerDown:
    """A peer cannot be reached any more."""

    node_id: str
    boot: int
    reason: str


@attrs.frozen
class SessionUp:
    """A peer's connection to us was accepted (`up`) or ended."""

    node_id: str
    boot: int
    address: str
    up: bool


@attrs.frozen
class RingChanged:
    """A new ring is in force; immutable, published to whoever routes by it."""

    view: RingView


# --------------------------------------------------------------------------- questions


@attrs.frozen
class MemberStatus:
    """One member as this node sees it: the row of `/cluster/members`."""

    id: str
    address: str
    state: str
    boot: int
    zone: str
    weight: float
    warming: int


Members: TypeAlias = tuple[MemberStatus, ...]


@attrs.frozen
class GetMembers(Request[Members]):
    """Asked of `peers`: every member this node knows, itself included, sorted by id."""


@attrs.frozen
class RingStatus:
    """What the ring keeper holds; `view` is None until the cluster is founded or joined."""

    view: RingView | None
    expected: int
    known: int
    conflict: str


@attrs.frozen
class GetRing(Request[RingStatus]):
    """Asked of `ring_keeper`."""


@attrs.frozen
class GetRecord(Request["bytes | None"]):
    """Asked of `replicator`: this replica's own copy of a key."""

    key: bytes


@attrs.frozen
class RecordPage:
    """A page of keys of this replica; `cursor` is empty at the end."""

    keys: list[bytes]
    cursor: str


@attrs.frozen
class ScanKeys(Request[RecordPage]):
    """Asked of `replicator`: visible keys of this replica's own copy, in slices."""

    cursor: str = ""
    limit: int = 100
    prefix: bytes = b""


@attrs.frozen
class WaitIdle(Request[None]):
    """Asked of `replicator`: answered as soon as no client request is pending."""


@attrs.frozen
class GetReplicatorStatistics(Request["dict[str, int]"]):
    """Asked of `replicator`.

    Counters and gauges by name, the same names as its metrics without prefix.
    """
