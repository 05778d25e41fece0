"""Every message that crosses a connection, and the number that names it on the wire.

A frame is a header and a list of messages; whatever waits for the same connection leaves in one
frame. The header lets every frame carry the sender's clock and the ring it knows. Tags are part of
the protocol: a tag is never given to another message, a field is only ever added at the end of its
message and with a default, so that neighbouring releases understand each other.

The data messages are defined in `core.operations`, those of handshake and control protocol in
their own modules.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import attrs

from cluster.core import operations as op
from cluster.core.membership import MemberEntry
from cluster.wire.control import ControlReply, ControlRequest
from cluster.wire.handshake import Hello, Reject, Welcome


@attrs.frozen
class FrameHeader:
    """What every frame says of its sender.

    Attributes:
        clock: the sender's hybrid clock (48 bit ms, 16 bit counter) when the frame was written; 0
            if it has none. A node ticks its clock for this: a reading left from its last write
            would make the frame look old. A client sends the highest clock it has seen.
        epoch: ring epoch that the sender knows; 0 if none.
        digest: digest of that ring; 0 if none.
    """

    clock: int
    epoch: int
    digest: int


@attrs.frozen
class RingRequest:
    """Asks for the receiver's ring."""


@attrs.frozen
class RingState:
    """The sender's ring view as `RingView.as_wire`; checked in depth by whoever takes it over."""

    view: list[Any]


@attrs.frozen
class MembersUpdate:
    """The members that the sender knows, itself included."""

    members: list[MemberEntry]


@attrs.frozen
class ProtocolFailure:
    """The last message on a connection that ends because of what its receiver had sent."""

    reason: str


MemberMessage: TypeAlias = RingRequest | RingState | MembersUpdate
ControlMessage: TypeAlias = ControlRequest | ControlReply
HandshakeMessage: TypeAlias = Hello | Welcome | Reject
Message: TypeAlias = (
    op.ClientRequest
    | op.Settled
    | op.ClientReply
    | op.ReplicaMessage
    | MemberMessage
    | ControlMessage
    | HandshakeMessage
    | ProtocolFailure
)


@attrs.frozen
class Frame:
    """A decoded frame; the messages in the order of sending."""

    header: FrameHeader
    messages: list[Any]


MESSAGE_TYPES: Final[Mapping[int, type[Any]]] = MappingProxyType(
    {
        1: op.Write,
        2: op.Delete,
        3: op.Read,
        4: op.Touch,
        5: op.Settled,
        11: op.WriteReply,
        12: op.ReadReply,
        13: op.TouchReply,
        14: op.Refused,
        21: op.ReplicaWrite,
        22: op.ReplicaWriteReply,
        23: op.ReplicaRead,
        24: op.ReplicaReadReply,
        31: RingRequest,
        32: RingState,
        33: MembersUpdate,
        41: ControlRequest,
        42: ControlReply,
        51: Hello,
        52: Welcome,
        53: Reject,
        54: ProtocolFailure,
    }
)
"""Tag on the wire -> message type."""

TAGS: Final[Mapping[type[Any], int]] = MappingProxyType(
    {message_type: tag for tag, message_type in MESSAGE_TYPES.items()}
)
"""Message type -> tag on the wire."""

DEADLINE_FIELD: Final = "deadline"
"""Name of the field that is seconds on the local clock here and a remaining budget on the wire."""
