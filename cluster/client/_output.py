"""What the client core wants done: plain data that a driver carries out."""

from typing import Any

import attrs

from cluster.client._operation import Operation
from cluster.wire.messages import FrameHeader

__all__ = ["Flush", "Output"]


@attrs.define(eq=False)
class Output:
    """What the driver has to do, in this order.

    Attributes:
        closes: (address, reason) of connections to close; `disconnected` is still to be called.
        dials: addresses to dial.
        flushes: addresses whose writer should call `flush`.
        completed: operations whose outcomes are all there.
    """

    closes: list[tuple[str, str]] = attrs.field(factory=list)
    dials: list[str] = attrs.field(factory=list)
    flushes: list[str] = attrs.field(factory=list)
    completed: list[Operation] = attrs.field(factory=list)


@attrs.define(eq=False)
class Flush:
    """What leaves on one connection now: in one frame, or several if one is too small."""

    header: FrameHeader
    messages: list[Any]
