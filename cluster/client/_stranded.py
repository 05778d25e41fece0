"""Writes that were sent and whose connection broke before they were answered.

Such a write may be done by that node. It may be repeated to the same boot of the node, which
recognises the repeat by its id, and to nobody else.
"""

from collections.abc import Callable
from typing import Final

import attrs

from cluster.client._operation import Part

__all__ = ["Stranded", "StrandedWrites"]

RESEND_WITHIN_S: Final = 30.0
"""A node remembers what a lost connection had asked for twice as long; later, a repeat might be
done twice.
"""


@attrs.frozen
class Stranded:
    """What one boot of one node may have."""

    boot: int
    since: float
    parts: list[Part]

    def may_be_repeated(self, boot: int, now: float) -> bool:
        """Whether a node that runs under this boot recognises a repeat."""
        return boot == self.boot and now - self.since <= RESEND_WITHIN_S


class StrandedWrites:
    """What each node may have, until it is back or the callers are gone."""

    def __init__(self) -> None:
        self._by_node: dict[str, Stranded] = {}

    def __len__(self) -> int:
        return sum(len(stranded.parts) for stranded in self._by_node.values())

    def add(self, node_id: str, stranded: Stranded) -> None:
        """A connection to a node broke."""
        before = self._by_node.get(node_id)
        if before is not None and before.boot == stranded.boot:
            stranded = Stranded(stranded.boot, before.since, before.parts + stranded.parts)
        self._by_node[node_id] = stranded

    def take(self, node_id: str) -> Stranded | None:
        """The node is back."""
        return self._by_node.pop(node_id, None)

    def sweep(self, is_wanted: Callable[[Part], bool]) -> None:
        """Let go of what nobody waits for."""
        for node_id, stranded in list(self._by_node.items()):
            stranded.parts[:] = [part for part in stranded.parts if is_wanted(part)]
            if not stranded.parts:
                del self._by_node[node_id]
