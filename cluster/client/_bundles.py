"""Small requests that wait for the same node leave as one request of many keys.

A node's work on a request hardly depends on how many keys it has: one check, one stamp, one entry
in its books, one reply. So what many callers ask for at the same moment is bundled as it leaves,
and the reply is taken apart again as it comes in. Nothing waits for a bundle to fill.

Only like goes with like: the same operation, level and ttl, deadlines that differ by little, and
for writes distinct keys, because all keys of a request share one stamp. A write that has to be
repeated to the same node is repeated as the bundle that it left in, under the same id, so that the
node recognises it; what has to be asked anew may leave in another way.

A bundle is known until the last of its members has its outcome, has been replaced or has lost its
caller. Its id is taken when it leaves, so it is above those of its members: as long as one of them
is open, the node is not told to forget the bundle.

This module decides nothing about nodes, deadlines or repetition.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Final, TypeAlias

import attrs

from cluster.client._operation import Part, Request
from cluster.core.operations import (
    Delete,
    Failure,
    Read,
    ReadReply,
    Touch,
    TouchReply,
    Write,
    WriteReply,
)
from cluster.errors import ProtocolError

__all__ = ["Bundle", "Bundles", "BundlesByNode", "apart"]

KEYS_MAX: Final = 256
"""Keys of one bundle; requests with more keys than a quarter of it leave by themselves."""

BYTES_MAX: Final = 128 * 1024
"""Keys and values of one bundle, so that large values do not wait for each other."""

FRAME_SHARE: Final = 4
"""A bundle has at most this part (a quarter) of the bytes of a frame."""

DEADLINE_SHARE: Final = 0.1
"""Deadlines in a bundle differ by at most this share of the time that is left."""

_TYPES: Final = frozenset((Write, Delete, Read, Touch))
_WITH_TTL: Final = frozenset((Write, Touch))
_Kind: TypeAlias = tuple[type, int, int]


@attrs.define(eq=False)
class Bundle:
    """Parts that leave as one request; their keys follow each other in the order of the parts."""

    home: "Bundles"
    first: Any
    """The message of the first member: a `ClientRequest`."""
    deadline: float
    """The latest of deadlines that are close together: no member ends before its own."""
    request_id: int = 0
    members: list[Part] = attrs.field(factory=list)
    keys: list[bytes] = attrs.field(factory=list)
    bodies: list[bytes] = attrs.field(factory=list)
    size_bytes: int = 0
    taken: set[bytes] = attrs.field(factory=set)
    """The keys of writes, while it is filled."""
    open: int = 0
    """Members that still wait for what becomes of it."""

    def fits(self, message: Any, size_bytes: int, now: float) -> bool:
        """Whether one more request can join."""
        if len(self.keys) + len(message.keys) > KEYS_MAX:
            return False
        if self.size_bytes + size_bytes > self.home.bytes_max:
            return False
        apart_s = abs(message.deadline - self.first.deadline)
        if apart_s > DEADLINE_SHARE * (self.first.deadline - now):
            return False
        return type(message) is Read or self.taken.isdisjoint(message.keys)

    def add(self, part: Part, message: Any, size_bytes: int) -> None:
        """One more request joins."""
        self.members.append(part)
        self.keys += message.keys
        self.size_bytes += size_bytes
        self.deadline = max(self.deadline, message.deadline)
        if type(message) is Write:
            self.bodies += message.bodies
        if type(message) is not Read:
            self.taken.update(message.keys)

    def request(self) -> Request:
        """The one request that stands for all members."""
        first, request_id = self.first, self.request_id
        if isinstance(first, Write):
            return Write(
                request_id, first.level, self.deadline, self.keys, self.bodies, first.ttl_ms
            )
        if isinstance(first, Touch):
            return Touch(request_id, first.level, self.deadline, self.keys, first.ttl_ms)
        kind: type[Read | Delete] = type(first)
        return kind(request_id, first.level, self.deadline, self.keys)

    def let_go(self, part: Part) -> None:
        """A member no longer waits for what becomes of the bundle."""
        part.bundle = None
        self.open -= 1
        if not self.open:
            self.home.forget(self)


class Bundles:
    """The bundles of one boot of one node, over all connections to it.

    Args:
        new_id: Makes request ids, each above all before.
        bytes_max: Keys and values of one bundle.
    """

    def __init__(self, new_id: Callable[[], int], bytes_max: int = BYTES_MAX) -> None:
        self.bytes_max: Final = bytes_max
        self._new_id: Final = new_id
        self._by_id: dict[int, Bundle] = {}
        self.find: Final = self._by_id.get
        """The bundle with this id that has members who wait, or None."""

    def __len__(self) -> int:
        return len(self._by_id)

    def pack(self, parts: Iterable[Part], now: float) -> list[Request]:
        """The requests to send for these, in the order of the first key of each."""
        packed: list[Request | Bundle] = []
        open_: dict[_Kind, Bundle] = {}
        repeated: set[int] = set()
        for part in parts:
            message: Any = part.message
            if part.bundle is not None:
                if part.bundle.request_id not in repeated:
                    repeated.add(part.bundle.request_id)
                    packed.append(part.bundle.request())
                continue
            size_bytes = self._size_of(part)
            if not size_bytes:
                packed.append(message)
                continue
            kind = type(message)
            like = (kind, message.level, message.ttl_ms if kind in _WITH_TTL else 0)
            bundle = open_.get(like)
            if bundle is None or not bundle.fits(message, size_bytes, now):
                bundle = open_[like] = Bundle(self, message, message.deadline)
                packed.append(bundle)
            bundle.add(part, message, size_bytes)
        return [self._leave(each) if type(each) is Bundle else each for each in packed]  # type: ignore[misc] # `is` narrows only one way

    def forget(self, bundle: Bundle) -> None:
        """Nobody waits for a bundle any more."""
        self._by_id.pop(bundle.request_id, None)

    def _size_of(self, part: Part) -> int:
        """Bytes of a request that may go with others; 0 for one that leaves by itself."""
        message: Any = part.message
        kind = type(message)
        if kind not in _TYPES or part.operation.alone or len(message.keys) > KEYS_MAX // 4:
            return 0
        size_bytes = sum(map(len, message.keys))
        if kind is Write:
            size_bytes += sum(map(len, message.bodies))
        return size_bytes if size_bytes <= self.bytes_max // 4 else 0

    def _leave(self, bundle: Bundle) -> Request:
        members = bundle.members
        if len(members) == 1:
            request: Request = bundle.first
            return request
        bundle.taken.clear()
        bundle.open = len(members)
        bundle.request_id = self._new_id()
        self._by_id[bundle.request_id] = bundle
        for part in members:
            part.bundle = bundle
        return bundle.request()


class BundlesByNode:
    """The bundles of every node, of its newest boot that was met.

    Args:
        new_id: Makes request ids, each above all before.
    """

    def __init__(self, new_id: Callable[[], int]) -> None:
        self._new_id: Final = new_id
        self._by_node: dict[str, tuple[int, Bundles]] = {}

    def __len__(self) -> int:
        return sum(len(bundles) for _, bundles in self._by_node.values())

    def of(self, node_id: str, boot: int, frame_bytes_max: int) -> Bundles:
        """Those of a boot of a node: the same ones at each of its connections."""
        known = self._by_node.get(node_id)
        if known is not None and known[0] == boot:
            return known[1]
        bundles = Bundles(self._new_id, min(BYTES_MAX, frame_bytes_max // FRAME_SHARE))
        if known is None or known[0] < boot:  # else: a connection to an older one, to be closed
            self._by_node[node_id] = boot, bundles
        return bundles

    def find(self, request_id: int) -> Bundle | None:
        """The bundle with this id, whatever node it left for."""
        found = (bundles.find(request_id) for _, bundles in self._by_node.values())
        return next((bundle for bundle in found if bundle is not None), None)

    def sweep(self, is_connected: Callable[[str], bool]) -> None:
        """Let go of nodes that are gone and have no open bundle."""
        for node_id, (_, bundles) in list(self._by_node.items()):
            if not bundles and not is_connected(node_id):
                del self._by_node[node_id]


def apart(bundle: Bundle, reply: Any) -> Sequence[tuple[Part, Any]]:
    """The members of a bundle, each with its answer.

    An answer that says the same of all keys is given to each of them as it is.

    Raises:
        ProtocolError: the reply does not fit the bundle.
    """
    members = bundle.members
    if type(reply) is WriteReply and not reply.failures and not reply.restamped:
        return [(part, reply) for part in members]
    if type(reply) not in (WriteReply, ReadReply, TouchReply):
        return [(part, reply) for part in members]
    _check(bundle, reply)
    sizes = (len(part.message.keys) for part in members)  # type: ignore[union-attr] # see `_TYPES`
    starts = list(accumulate(sizes, initial=0))
    spans = zip(members, starts, starts[1:], strict=False)
    return [(part, _slice(reply, part.request_id, start, stop)) for part, start, stop in spans]


def _check(bundle: Bundle, reply: Any) -> None:
    count = len(bundle.keys)
    named = [failure.index for failure in reply.failures]
    answers = count
    if type(reply) is WriteReply:
        named += [index for index, _ in reply.restamped]
    else:
        answers = len(reply.records if type(reply) is ReadReply else reply.stamps)
    if answers != count or not all(0 <= index < count for index in named):
        kind = type(bundle.first).__name__
        raise ProtocolError(f"a {type(reply).__name__} does not fit a {kind} of {count} keys")


def _slice(reply: Any, request_id: int, start: int, stop: int) -> Any:
    """The answer to the keys of one member."""
    failures = _within(reply.failures, start, stop) if reply.failures else []
    asked, answered = reply.asked, reply.answered
    if type(reply) is ReadReply:
        return ReadReply(request_id, reply.records[start:stop], failures, asked, answered)
    if type(reply) is TouchReply:
        return TouchReply(request_id, reply.stamps[start:stop], failures, asked, answered)
    restamped = [(i - start, stamp) for i, stamp in reply.restamped if start <= i < stop]
    return WriteReply(request_id, reply.stamp, restamped, failures, asked, answered)


def _within(failures: list[Failure], start: int, stop: int) -> list[Failure]:
    return [
        Failure(failure.index - start, failure.code, failure.message)
        for failure in failures
        if start <= failure.index < stop
    ]
