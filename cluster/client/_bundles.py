"""Small requests that wait for the same node leave as one request of many keys.

A node's work on a request hardly depends on how many keys it has: one check, one stamp, one entry
in its books, one reply. So what many callers ask for at the same moment is bundled as it leaves,
and the reply is taken apart again as it comes in. Nothing waits for a bundle to fill.

Only like goes with like: the same operation, level and ttl, deadlines that differ by little, and
for writes distinct keys, because all keys of a request share one stamp. A write that has to be
repeated to the same node is repeated as the bundle that it left in, under the same id, so that the
node recognises it; a read may leave in another one.

This module decides nothing about nodes, deadlines or repetition.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import attrs

from cluster.core.operations import (
    ClientReply,
    ClientRequest,
    Failure,
    Read,
    ReadReply,
    Refused,
    Touch,
    Write,
    WriteReply,
)

__all__ = ["Bundles"]

KEYS_MAX: Final = 256
"""Keys of one bundle; requests with more keys than a quarter of it leave by themselves."""

BYTES_MAX: Final = 128 * 1024
"""Keys and values of one bundle, so that large values do not wait for each other."""

DEADLINE_SHARE: Final = 0.1
"""Deadlines in a bundle differ by at most this share of the time that is left."""

_Kind: TypeAlias = tuple[type, int, int]


@attrs.define(eq=False)
class _Bundle:
    """Requests that leave as one; member `i` has the keys from `starts[i]` to `starts[i + 1]`."""

    request_id: int
    first: ClientRequest
    members: list[ClientRequest]
    starts: list[int]
    keys: list[bytes]
    bodies: list[bytes]
    taken: set[bytes]
    size_bytes: int
    deadline: float

    def request(self) -> ClientRequest:
        """The one request that stands for all members."""
        first, request_id = self.first, self.request_id
        if isinstance(first, Write):
            return Write(
                request_id, first.level, self.deadline, self.keys, self.bodies, first.ttl_ms
            )
        if isinstance(first, Touch):
            return Touch(request_id, first.level, self.deadline, self.keys, first.ttl_ms)
        return type(first)(request_id, first.level, self.deadline, self.keys)


class Bundles:
    """The bundles of one connection to one node."""

    def __init__(self, new_id: Callable[[], int]) -> None:
        self._new_id: Final = new_id
        self._by_id: dict[int, _Bundle] = {}
        self._left_in: dict[int, _Bundle] = {}
        """By the id of a write: the bundle that it left in."""

    def __len__(self) -> int:
        return len(self._by_id)

    def pack(self, requests: Iterable[ClientRequest], now: float) -> list[ClientRequest]:
        """The requests to send for these, in the order of the first key of each."""
        packed: list[ClientRequest | _Bundle] = []
        open_: dict[_Kind, _Bundle] = {}
        repeated: set[int] = set()
        for request in requests:
            left_in = self._left_in.get(request.request_id)
            if left_in is not None:
                if left_in.request_id not in repeated:
                    repeated.add(left_in.request_id)
                    packed.append(left_in.request())
                continue
            size = _size(request)
            if len(request.keys) > KEYS_MAX // 4 or size > BYTES_MAX // 4:
                packed.append(request)
                continue
            kind = (type(request), request.level, getattr(request, "ttl_ms", 0))
            bundle = open_.get(kind)
            if bundle is None or not _fits(bundle, request, size, now):
                bundle = open_[kind] = _start(request)
                packed.append(bundle)
            _add(bundle, request, size)
        return [self._leave(each) if isinstance(each, _Bundle) else each for each in packed]

    def _leave(self, bundle: _Bundle) -> ClientRequest:
        if len(bundle.members) == 1:
            return bundle.first
        bundle.request_id = self._new_id()
        bundle.taken.clear()
        self._by_id[bundle.request_id] = bundle
        if not isinstance(bundle.first, Read):
            for member in bundle.members:
                self._left_in[member.request_id] = bundle
        return bundle.request()

    def unpack(self, reply: ClientReply) -> Sequence[ClientReply]:
        """The replies to the members, or the reply itself if it is to no bundle."""
        bundle = self._by_id.pop(reply.request_id, None)
        if bundle is None:
            return (reply,)
        self._forget_members(bundle)
        return _apart(bundle, reply)

    def expire(self, now: float) -> None:
        """Forget bundles whose deadline has passed: no reply to them matters any more."""
        for bundle in [each for each in self._by_id.values() if each.deadline <= now]:
            del self._by_id[bundle.request_id]
            self._forget_members(bundle)

    def _forget_members(self, bundle: _Bundle) -> None:
        for member in bundle.members:
            self._left_in.pop(member.request_id, None)


def _size(request: ClientRequest) -> int:
    size = sum(map(len, request.keys))
    return size + sum(map(len, request.bodies)) if isinstance(request, Write) else size


def _start(request: ClientRequest) -> _Bundle:
    return _Bundle(0, request, [], [0], [], [], set(), 0, request.deadline)


def _fits(bundle: _Bundle, request: ClientRequest, size: int, now: float) -> bool:
    if len(bundle.keys) + len(request.keys) > KEYS_MAX or bundle.size_bytes + size > BYTES_MAX:
        return False
    apart = abs(request.deadline - bundle.first.deadline)
    if apart > DEADLINE_SHARE * (bundle.first.deadline - now):
        return False
    return isinstance(request, Read) or bundle.taken.isdisjoint(request.keys)


def _add(bundle: _Bundle, request: ClientRequest, size: int) -> None:
    bundle.members.append(request)
    bundle.keys += request.keys
    bundle.starts.append(len(bundle.keys))
    bundle.size_bytes += size
    if isinstance(request, Write):
        bundle.bodies += request.bodies
    if not isinstance(request, Read):
        bundle.taken.update(request.keys)
    # The latest of deadlines that are close together: none of the members ends before its own.
    bundle.deadline = max(bundle.deadline, request.deadline)


def _apart(bundle: _Bundle, reply: ClientReply) -> list[ClientReply]:
    spans = zip(bundle.members, bundle.starts, bundle.starts[1:], strict=False)
    if isinstance(reply, Refused):
        return [attrs.evolve(reply, request_id=member.request_id) for member in bundle.members]
    asked, answered, failures = reply.asked, reply.answered, reply.failures
    replies: list[ClientReply] = []
    for member, start, stop in spans:
        failed = _within(failures, start, stop) if failures else []
        number = member.request_id
        if isinstance(reply, WriteReply):
            again = [(i - start, s) for i, s in reply.restamped if start <= i < stop]
            replies.append(WriteReply(number, reply.stamp, again, failed, asked, answered))
        elif isinstance(reply, ReadReply):
            records = reply.records[start:stop]
            replies.append(ReadReply(number, records, failed, asked, answered))
        else:
            stamps = reply.stamps[start:stop]
            replies.append(attrs.evolve(reply, request_id=number, stamps=stamps, failures=failed))
    return replies


def _within(failures: list[Failure], start: int, stop: int) -> list[Failure]:
    return [
        Failure(failure.index - start, failure.code, failure.message)
        for failure in failures
        if start <= failure.index < stop
    ]
