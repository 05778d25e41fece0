"""Operations and requests in flight: sending, moving to another node, putting off, giving up.

An operation is in flight until every key has its outcome. Each of its keys is at any time in
exactly one place: in a part (waiting in a link's outbox, or sent), stranded (sent, and the
connection to that node broke), put off (refused, to be tried again later), or waiting for any node
to be connected.

What was sent and is no read is never sent to another node: it may be executed there, and a write
that two nodes coordinate can be seen twice, around another. It is repeated to the same boot of the
same node under the same id, where the repeat is recognised. If that is refused, too, nothing is
known of the first copy: it is repeated again, or given up as unknown, and never asked elsewhere.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from itertools import count
from math import inf
from typing import Final

import attrs

from cluster.client._budget import RetryBudget
from cluster.client._deadlines import SWEEP_SLACK, Deadlines
from cluster.client._explain import (
    lost_with_boot,
    no_answer,
    nowhere_to_ask,
    refused_repeat,
)
from cluster.client._links import Link, Links
from cluster.client._operation import OPEN, ControlOperation, Operation, Part
from cluster.client._replies import NextStep, Refusal, next_step
from cluster.client._requests import Requests
from cluster.client._routing import Router, sizes_of
from cluster.client._stranded import RESEND_WITHIN_S, Stranded, StrandedWrites
from cluster.core.backoff import Backoff
from cluster.core.operations import FailureCode
from cluster.errors import ClusterError, Overloaded

__all__ = ["IN_FLIGHT_MAX", "Flights"]

IN_FLIGHT_MAX: Final = 10_000
"""Operations whose callers may wait at a time."""
TRIED_MAX: Final = 5
"""Nodes that are asked for the same keys before their refusal counts."""
RETRY_BACKOFF_FIRST_S: Final = 0.02
RETRY_BACKOFF_MAX_S: Final = 1.0
FRAME_BYTES_DEFAULT: Final = 4 * 1024 * 1024


@attrs.frozen
class _Piece:
    """Keys of an operation that are with no node."""

    operation: Operation
    indices: Sequence[int]
    tried: tuple[int, ...]


class Flights:
    """Everything that callers wait for.

    Args:
        router: says which node to ask.
        links: says which nodes are connected.
        rng: jitter of what is put off.
        now: seconds on the client's clock.
        on_wake: called with the time of a new timer.
        on_gather: called with a link whose outbox is no longer empty.
        on_done: called with an operation whose outcomes are all there.
    """

    def __init__(
        self,
        router: Router,
        links: Links,
        rng: random.Random,
        now: float,
        *,
        on_wake: Callable[[float], None],
        on_gather: Callable[[Link], None],
        on_done: Callable[[Operation], None],
        in_flight_max: int = IN_FLIGHT_MAX,
    ) -> None:
        self.budget = RetryBudget(now)
        self.requests: Final = Requests(on_gather)
        self.request_bytes_max = FRAME_BYTES_DEFAULT // 2
        self.active = 0
        """Operations in flight."""
        self.resent = 0
        """Writes repeated to the node that had them when its connection broke."""
        self.moved = 0
        """Keys asked of another node than the first."""
        self.put_off = 0
        """Keys that were refused and asked again later."""
        self._router = router
        self._links = links
        self._rng = rng
        self._on_wake, self._on_done = on_wake, on_done
        self._in_flight_max = in_flight_max
        self._numbers = count()
        self._deadlines = Deadlines(on_wake)
        self._later: list[tuple[float, int, _Piece | list[Part]]] = []
        """A heap of what was put off."""
        self._waiting: list[_Piece] = []
        self._stranded = StrandedWrites()

    # ---------------------------------------------------------------- callers

    def submit(self, operation: Operation) -> None:
        """Take an operation on."""
        if self.active >= self._in_flight_max:
            self._overloaded(operation)
            return
        self.active += 1
        self._deadlines.add(operation, self.active)
        keys = operation.keys
        if len(keys) == 1 and type(operation) is not ControlOperation:
            link = self._router.one(keys[0])
            if link is not None:
                self.requests.add(operation, None, link, ())
                return
        elif self._dispatch(operation, range(len(keys)), ()):
            return
        self._waiting.append(_Piece(operation, range(len(keys)), ()))

    def forget(self, operation: Operation) -> None:
        """The caller has left: whatever answer still comes is dropped."""
        if not operation.done:
            operation.done = True
            self.active -= 1
            self._drop_parts(operation)

    def close(self, reason: str) -> None:
        """Fail everything in flight."""
        for operation in self._deadlines.in_order():
            self._give_up(operation, reason)

    # ---------------------------------------------------------------- nodes

    def concluded(self, operation: Operation) -> None:
        """An operation has got some of its outcomes."""
        if not operation.open and not operation.done:
            operation.done = True
            self.active -= 1
            self._on_done(operation)

    def refused(self, part: Part, refusals: list[Refusal], now: float) -> None:
        """A node has answered, but not done all of a part."""
        operation = part.operation
        left_out = [refusal.index for refusal in refusals if refusal.left_out]
        if left_out:  # by itself it fits, or some of it does, so this comes to an end
            operation.alone = True
            self._place(_Piece(operation, left_out, part.tried))
            refusals = [refusal for refusal in refusals if not refusal.left_out]
        tried = (*part.tried, part.link.boot)
        moving = [r for r in refusals if self._step(operation, r, tried) is NextStep.MOVE]
        if moving and not self._dispatch(operation, [r.index for r in moving], tried):
            moving = []
        if moving:
            self.moved += len(moving)
        moved = {refusal.index for refusal in moving}
        left = [refusal for refusal in refusals if refusal.index not in moved]
        later = [r for r in left if next_step(operation, r.code, node_left=False) is NextStep.WAIT]
        if later and self._put_off(operation, later, now):
            kept = {refusal.index for refusal in later}
            left = [refusal for refusal in left if refusal.index not in kept]
        for refusal in left:
            operation.settle(refusal.index, refusal.error())
        self.concluded(operation)

    def repeat_refused(self, parts: Sequence[Part], refusal: Refusal, now: float) -> bool:
        """A node has refused what may be a repeat; False if it is none, so that this is certain.

        The front of a node refuses without a look at what the node has done. Repeats are not paid
        from the retry budget: they are few, they back off, and without them nothing is known.
        """
        parts = [part for part in parts if part in self.requests]
        if not parts or parts[0].repeat_until is None:
            return False
        at = now + refusal.retry_after_s + self._backoff(parts[0].operation).next_delay()
        latest = min(parts[0].repeat_until, max(part.operation.deadline for part in parts))
        if refusal.code is not FailureCode.DRAINING and at < latest:
            for part in parts:
                self.requests.take_back(part)
                part.put_off = True
            self._ask_later(at, parts)
            return True
        for part in parts:
            self.requests.answered(part.request_id)
            error = refused_repeat(part, refusal.message)
            _settle_all(part.operation, part.all_indices(), error)
            self.concluded(part.operation)
        return True

    def connected(self, link: Link, now: float) -> None:
        """A node can be asked: repeat what it may have, and ask it what waits for any node."""
        stranded = self._stranded.take(link.node_id)
        if stranded is not None:
            self._resend(stranded, link, now)
        waiting, self._waiting = self._waiting, []
        for piece in waiting:
            self._place(piece)

    def disconnected(self, link: Link, now: float) -> None:
        """The connection of a link is gone; its outbox is empty, and it is routed to no more."""
        node_id, boot = link.node_id, link.boot
        stranded: list[Part] = []
        for part in self.requests.of_link(link):
            part.on_wire = part.put_off = False
            if part.sent and not part.operation.moves_freely:
                stranded.append(part)
            else:
                if part.sent:
                    part.operation.silent_node = node_id
                self.requests.answered(part.request_id)
                self._place(_Piece(part.operation, part.all_indices(), part.tried))
        if stranded:
            self._strand(node_id, Stranded(boot, now, stranded))

    def hedge(self, link: Link, now: float) -> None:
        """A node is silent: ask others for what it has not been sent, and for its reads.

        The reads are paid for from the retry budget: the node may only be slow.
        """
        for part in self.requests.of_link(link):
            operation = part.operation
            tried = (*part.tried, link.boot)
            if len(tried) >= TRIED_MAX or not self._other(tried):
                continue
            if part.sent:
                if not operation.moves_freely or not self.budget.take(now):
                    continue
                operation.silent_node = link.node_id
            self.requests.answered(part.request_id)
            self._place(_Piece(operation, part.all_indices(), tried))

    # ---------------------------------------------------------------- time

    def tick(self, now: float) -> None:
        """Ask again what is due, and give up what is over."""
        while self._later and self._later[0][0] <= now:
            _, _, due = heapq.heappop(self._later)
            if isinstance(due, _Piece):
                self._place(due)
            else:
                self._repeat([part for part in due if part.put_off])
        for operation in self._deadlines.due(now, self.active):
            self._give_up(operation, "the deadline passed")
        self._sweep()

    def next_timer(self) -> float:
        """When to call `tick` next; `math.inf` for never."""
        return min(self._deadlines.earliest(), self._later[0][0] if self._later else inf)

    # ---------------------------------------------------------------- inside

    def _overloaded(self, operation: Operation) -> None:
        error = Overloaded(f"{self.active} operations are in flight, the most this client allows")
        _settle_all(operation, range(len(operation.keys)), error)
        operation.done = True
        self._on_done(operation)

    def _dispatch(
        self, operation: Operation, indices: Sequence[int], tried: tuple[int, ...]
    ) -> bool:
        """Send keys to nodes that are not in `tried`; False if there is none."""
        if isinstance(operation, ControlOperation):
            link = self._control_link(operation) if not tried else None
            if link is not None:
                self.requests.add(operation, None, link, tried)
            return link is not None
        batches = self._router.plan(
            operation.keys,
            indices,
            sizes_of(operation, self.request_bytes_max),
            self.request_bytes_max,
            tried,
        )
        for batch in batches:
            self.requests.add(operation, batch.indices, batch.link, tried)
        return bool(batches)

    def _control_link(self, operation: ControlOperation) -> Link | None:
        wanted = operation.node
        if wanted is None:
            return self._router.any_node()
        return next(
            (link for link in self._links.up if wanted in (link.node_id, link.address)), None
        )

    def _place(self, piece: _Piece) -> None:
        """Send keys that are with no node, or let them wait for one."""
        operation = piece.operation
        if operation.done:
            return
        if not self._dispatch(operation, piece.indices, piece.tried):
            self._waiting.append(_Piece(operation, piece.indices, ()))

    def _other(self, tried: tuple[int, ...]) -> bool:
        return any(link.boot not in tried for link in self._links.up)

    def _step(self, operation: Operation, refusal: Refusal, tried: tuple[int, ...]) -> NextStep:
        node_left = len(tried) < TRIED_MAX and self._other(tried)
        return next_step(operation, refusal.code, node_left=node_left)

    def _put_off(self, operation: Operation, refusals: list[Refusal], now: float) -> bool:
        """Ask again later; False if the deadline or the retry budget forbids it."""
        told_s = max(refusal.retry_after_s for refusal in refusals)
        at = now + told_s + self._backoff(operation).next_delay()
        if at >= operation.deadline or not self.budget.take(now):
            return False
        piece = _Piece(operation, [refusal.index for refusal in refusals], ())
        self._ask_later(at, piece)
        self.put_off += len(refusals)
        return True

    def _ask_later(self, at: float, what: _Piece | list[Part]) -> None:
        heapq.heappush(self._later, (at, next(self._numbers), what))
        self._on_wake(at)

    def _backoff(self, operation: Operation) -> Backoff:
        if operation.backoff is None:
            operation.backoff = Backoff(RETRY_BACKOFF_FIRST_S, RETRY_BACKOFF_MAX_S, self._rng)
        return operation.backoff

    def _strand(self, node_id: str, stranded: Stranded) -> None:
        link = self._links.node(node_id)
        if link is None:
            self._stranded.add(node_id, stranded)
        else:
            self._resend(stranded, link, stranded.since)

    def _resend(self, stranded: Stranded, link: Link, now: float) -> None:
        """Repeat to the same boot; tell the callers if that boot is gone."""
        parts = [part for part in stranded.parts if part in self.requests]
        if stranded.may_be_repeated(link.boot, now):
            for part in parts:
                part.link = link
                part.repeat_until = stranded.since + RESEND_WITHIN_S
            self._repeat(parts)
            return
        for part in parts:
            self.requests.answered(part.request_id)
            _settle_all(part.operation, part.all_indices(), lost_with_boot(part))
            self.concluded(part.operation)

    def _repeat(self, parts: Sequence[Part]) -> None:
        """Send again to the same boot, which their links lead to, what is still wanted."""
        for part in [part for part in parts if part in self.requests]:
            part.put_off = False
            self.resent += 1
            self.requests.put(part)

    def _give_up(self, operation: Operation, why: str) -> None:
        """Tell the caller what is known about every key that has no outcome."""
        for request_id in operation.request_ids:
            part = self.requests.answered(request_id)
            if part is not None and part.sent:
                _settle_all(operation, part.all_indices(), no_answer(part, why))
        left = [index for index, outcome in enumerate(operation.outcomes) if outcome is OPEN]
        if left:
            error = nowhere_to_ask(operation, left, why, self._links.failures())
            _settle_all(operation, left, error)
        self.concluded(operation)

    def _drop_parts(self, operation: Operation) -> None:
        for request_id in operation.request_ids:
            self.requests.answered(request_id)

    def _sweep(self) -> None:
        """Let go of pieces whose callers are gone."""
        if len(self._waiting) > 2 * self.active + SWEEP_SLACK or not self.active:
            self._waiting = [piece for piece in self._waiting if not piece.operation.done]
        self._stranded.sweep(lambda part: part in self.requests)
        self.requests.bundles.sweep(lambda node_id: self._links.node(node_id) is not None)


def _settle_all(operation: Operation, indices: Sequence[int], error: ClusterError) -> None:
    for index in indices:
        operation.settle(index, error)
