"""Requests in flight: the parts that nodes have or are about to get, by request id.

A part stays here until it is answered, replaced or given up, and keeps its id for all that time, so
that the node it went to recognises a repeat. What a link is to send waits in its outbox; as it
leaves, small parts are bundled.

This module decides nothing: not who is asked, and not what an answer means.
"""

from collections.abc import Callable, Sequence
from typing import Final

from cluster.client._bundles import BundlesByNode
from cluster.client._links import Link
from cluster.client._operation import Operation, Part, Request

__all__ = ["Requests"]


class Requests:
    """Every part in flight.

    Args:
        on_gather: called with a link whose outbox is no longer empty.
    """

    def __init__(self, on_gather: Callable[[Link], None]) -> None:
        self.bundles: Final = BundlesByNode(self._new_id)
        self._on_gather = on_gather
        self._parts: dict[int, Part] = {}
        """By request id, in rising order of ids: they are added once and never again."""
        self._last_id = 0

    def __contains__(self, part: Part) -> bool:
        return part.request_id in self._parts

    def add(
        self,
        operation: Operation,
        indices: Sequence[int] | None,
        link: Link,
        tried: tuple[int, ...],
    ) -> None:
        """Ask a node for some keys of an operation, or for all (None)."""
        self._last_id = request_id = self._last_id + 1
        message = operation.request(request_id, indices)
        part = self._parts[request_id] = Part(request_id, operation, indices, message, link, tried)
        operation.request_ids += (request_id,)
        self.put(part)

    def put(self, part: Part) -> None:
        """A part is to leave by its link."""
        link = part.link
        link.outbox.append(part)
        if not link.gathering and not link.writing:
            link.gathering = True
            self._on_gather(link)

    def fetch(self, link: Link, now: float) -> list[Request]:
        """Take what waits in a link's outbox, to be sent now."""
        known = self._parts
        parts = [part for part in link.outbox if part.request_id in known]
        link.outbox = []
        if not parts:
            return []
        for part in parts:
            part.sent = part.on_wire = True
        link.outstanding += len(parts)
        link.unanswered_since = min(link.unanswered_since, now)
        if link.bundles is None or (len(parts) == 1 and parts[0].bundle is None):
            requests = [part.message for part in parts]
        else:
            requests = link.bundles.pack(parts, now)
        link.unsettled += len(requests)
        return requests

    def take_back(self, part: Part) -> None:
        """A part is not on the wire any more, and not answered either."""
        if part.on_wire:
            part.on_wire = False
            part.link.outstanding -= 1

    def take_apart(self, parts: Sequence[Part]) -> None:
        """The bundle of these was certainly not done: ask the same node for each by itself.

        The node has not seen their own ids, so that these are still good.
        """
        for part in [part for part in parts if part in self]:
            if part.bundle is not None:
                part.bundle.let_go(part)
            self.take_back(part)
            part.operation.alone = True
            part.sent = False
            part.repeat_until = None
            self.put(part)

    def answered(self, request_id: int) -> Part | None:
        """The part that an answer belongs to, no longer in flight; None if nobody waits for it."""
        part = self._parts.pop(request_id, None)
        if part is not None:
            if part.bundle is not None:
                part.bundle.let_go(part)
            if part.on_wire:
                part.on_wire = False
                part.link.outstanding -= 1
        return part

    def waiting_for(self, request_id: int) -> list[Part]:
        """The part that an answer belongs to, still in flight; nothing if nobody waits for it."""
        part = self._parts.get(request_id)
        return [] if part is None else [part]

    def of_link(self, link: Link) -> list[Part]:
        """All parts that this link leads to."""
        return [part for part in self._parts.values() if part.link is link]

    def settled_below(self) -> int:
        """No request with an id below this will be repeated."""
        return next(iter(self._parts), self._last_id + 1)

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id
