"""The client as a pure state machine: what happens in, what to do out.

`ClientCore` knows no sockets and no clock. A driver hands in what happens and carries out what
`take` returns, in order: addresses to dial, connections to close, connections with something to
send (their messages are then fetched with `flush`, which marks them as sent), operations that are
done. It calls `tick` no later than `wake_at`.

The parts: `_links` says which addresses to dial, `_routing` which node to ask, `_flights` what
becomes of a request, `_replies` what an answer means, `_session` what this session has seen. Here
they meet, with the health of nodes: one that drains, is overloaded, cannot reach others or is
silent is asked last.
"""

import random
from collections.abc import Sequence
from math import inf
from typing import Any, Final

from cluster.client._bundles import Bundle, apart
from cluster.client._flights import IN_FLIGHT_MAX, Flights
from cluster.client._links import Link, Links, LinkState
from cluster.client._operation import Operation
from cluster.client._output import Flush, Output
from cluster.client._replies import (
    BEFORE_A_LOOK,
    ONE_IS_BAD,
    REPLY_TYPES,
    Refusal,
    Replies,
    left_out,
    refusal_of,
)
from cluster.client._routing import Router
from cluster.client._session import Session
from cluster.client._statistics import Statistics, of_link
from cluster.core.operations import FailureCode, ReadReply, Refused, Settled
from cluster.core.ring import RingView
from cluster.core.values import CoreError
from cluster.errors import InvalidValue, ProtocolError
from cluster.wire.handshake import Welcome
from cluster.wire.messages import FrameHeader, ProtocolFailure, RingState

__all__ = ["ClientCore"]

SILENT_AFTER_S: Final = 1.0
"""A node that has not answered anything for so long is asked last."""
CLOSE_AFTER_S: Final = 5.0
"""A connection on which nothing was answered for so long is closed and dialled anew."""
AVOID_S: Final = 1.0
"""How long a node is asked last after it could not reach other owners."""
AVOID_OVERLOADED_S: Final = 0.1
"""How long a node is asked last after it was overloaded, if it does not say."""
SETTLED_EVERY: Final = 256
"""Requests to a node after which it is told which outcomes it can forget."""


class ClientCore:
    """One session with one cluster.

    Args:
        seeds: Addresses that are dialled first, and again whenever no node is connected.
        rng: Jitter of dialling and of repeated requests.
        now: Seconds on the client's clock.
        in_flight_max: Operations that may wait at a time; further ones are `Overloaded`.
        join_frames: Whether a request may prefer an owner that has a frame about to leave.
        bundle: Whether small requests that leave together leave as one.
    """

    def __init__(
        self,
        seeds: Sequence[str],
        rng: random.Random,
        now: float,
        *,
        in_flight_max: int = IN_FLIGHT_MAX,
        join_frames: bool = True,
        bundle: bool = True,
    ) -> None:
        self.session = session = Session()
        self.dirty = False
        """Whether `take` has something to return."""
        self.wake_at = inf
        """Call `tick` no later than this."""
        self.value_bytes_max: int | None = None
        """Largest value that the nodes store; None before a node was connected."""
        self._output = Output()
        self._links = Links(seeds, rng)
        self._router = Router(join_frames=join_frames)
        self._replies = Replies(session)
        self._bundle = bundle
        self._late_replies = 0
        self._ring_conflicts = 0
        self._flights = Flights(
            self._router,
            self._links,
            rng,
            now,
            on_wake=self._wake_by,
            on_gather=self._gather,
            on_done=self._complete,
            in_flight_max=in_flight_max,
        )
        self._requests: Final = self._flights.requests
        self.submit: Final = self._flights.submit
        """Take an operation on; it comes back in `Output.completed`."""
        self._dial(now)

    @property
    def view(self) -> RingView | None:
        """The ring by which requests are routed."""
        return self._router.view

    def failures(self) -> str:
        """Every address without a connection, with the reason."""
        return self._links.failures()

    def take(self) -> Output:
        """What there is to do; nothing is returned twice."""
        output, self._output = self._output, Output()
        self.dirty = False
        return output

    # ---------------------------------------------------------------- callers

    def forget(self, operation: Operation) -> None:
        """The caller has left; the operation will not come back."""
        self._flights.forget(operation)

    def close(self, reason: str) -> None:
        """Complete every operation with an error."""
        self._flights.close(reason)

    # ---------------------------------------------------------------- connections

    def connected(self, address: str, welcome: Welcome, now: float) -> None:
        """A node has welcomed us at an address that was to be dialled."""
        link = self._links.get(address)
        first = not any(True for _ in self._links.up)
        superfluous = self._links.welcomed(link, welcome)
        self.value_bytes_max = welcome.value_max
        self._flights.request_bytes_max = welcome.frame_max // 2
        if self._bundle:
            of = self._requests.bundles.of
            link.bundles = of(link.node_id, link.boot, welcome.frame_max)
        if superfluous is not None:
            self._close(superfluous, f"node {welcome.node_id} has another connection")
        if welcome.ring is not None:
            self._adopt(link, welcome.ring, anew=first)
        self._reroute(now)
        if link.is_up:
            self._flights.connected(link, now)
        self._dial(now)

    def disconnected(self, address: str, reason: str, now: float) -> None:
        """The connection to an address has ended, or there was none to be had."""
        link = self._links.get(address)
        had_node = link.is_up or link.state is LinkState.CLOSING
        self._links.lost(link, reason, now)
        self._reroute(now)
        if had_node:
            self._flights.disconnected(link, now)
        self._dial(now)

    def flush(self, address: str, now: float) -> Flush | None:
        """What to send now; None if nothing waits.

        After None, `Output.flushes` will name the address again once there is something.
        """
        link = self._links.get(address)
        link.gathering = False
        messages: list[Any] = []
        if link.outbox and link.is_up:
            messages += self._requests.fetch(link, now)
        link.writing = bool(messages)
        if not messages:
            return None
        self._wake_by(link.unanswered_since + SILENT_AFTER_S)
        if link.unsettled >= SETTLED_EVERY:
            link.unsettled = 0
            messages.append(Settled(self._requests.settled_below()))
        view = self._router.view
        epoch, digest = (view.epoch, view.digest) if view is not None else (0, 0)
        return Flush(FrameHeader(self.session.clock, epoch, digest), messages)

    def received(
        self, address: str, header: FrameHeader, messages: Sequence[Any], now: float
    ) -> None:
        """A frame has arrived on a connection."""
        link = self._links.get(address)
        self.session.observe(header.clock)
        for message in messages:
            if type(message) in REPLY_TYPES:
                self._answer(link, message, header.epoch, now)
            elif type(message) is RingState:
                if self._adopt(link, message.view, anew=False):
                    self._reroute(now)
                    self._dial(now)
            elif type(message) is ProtocolFailure:
                self._close(link, f"node {link.node_id} says: {message.reason}")
            else:
                self._close(link, f"a client takes no {type(message).__name__}")
        link.unanswered_since = now if link.outstanding else inf
        if link.silent:
            link.silent = False
            self._reroute(now)

    def unsendable(self, request_id: int, reason: str) -> None:
        """A message that `flush` gave out cannot be encoded; nothing of it was sent."""
        bundle = self._requests.bundles.find(request_id)
        if bundle is not None:
            self._requests.take_apart(bundle.members)
            return
        part = self._requests.answered(request_id)
        if part is not None:
            for index in part.all_indices():
                part.operation.settle(index, InvalidValue(reason))
            self._flights.concluded(part.operation)

    def tick(self, now: float) -> None:
        """Time has passed."""
        self.wake_at = inf
        self._check_links(now)
        self._flights.tick(now)
        self._dial(now)
        self._wake_by(self._flights.next_timer())

    # ---------------------------------------------------------------- figures

    def statistics(self) -> Statistics:
        """Counters and states, now."""
        view, flights = self._router.view, self._flights
        return Statistics(
            in_flight=flights.active,
            completed=flights.budget.successes,
            late_replies=self._late_replies,
            moved_keys=flights.moved,
            retried_keys=flights.put_off,
            retries_refused=flights.budget.refused,
            resent_writes=flights.resent,
            ring_epoch=view.epoch if view is not None else 0,
            ring_conflicts=self._ring_conflicts,
            clock=self.session.clock,
            session_keys=len(self.session),
            links=tuple(map(of_link, self._links)),
        )

    # ---------------------------------------------------------------- inside

    def _answer(self, link: Link, reply: Any, epoch: int, now: float) -> None:
        request_id = reply.request_id
        bundle = link.bundles.find(request_id) if link.bundles is not None else None
        if type(reply) is Refused:
            if bundle is not None and reply.code in ONE_IS_BAD:
                self._requests.take_apart(bundle.members)
                return
            if reply.code in BEFORE_A_LOOK:
                parts = self._requests.waiting_for(request_id) if bundle is None else bundle.members
                refusal = refusal_of(0, reply)
                if self._flights.repeat_refused(parts, refusal, now):
                    self._judge(link, [refusal], now)
                    return
        if bundle is None:
            self._answer_part(link, request_id, reply, epoch, now)
        else:
            self._answer_bundle(link, bundle, reply, epoch, now)

    def _answer_bundle(
        self, link: Link, bundle: Bundle, reply: Any, epoch: int, now: float
    ) -> None:
        try:
            replies = apart(bundle, reply)
        except ProtocolError as error:
            text = f"node {link.node_id} answered a bundle: {error}"
            self._close(link, text)
            failed = Refused(bundle.request_id, FailureCode.INTERNAL, text)
            replies = [(part, failed) for part in bundle.members]
        # Some keys were answered: the others that are "overloaded" had no room in the reply.
        full = type(reply) is ReadReply and len(reply.failures) < len(bundle.keys)
        for part, its_reply in replies:
            self._answer_part(link, part.request_id, its_reply, epoch, now, full=full)

    def _answer_part(
        self,
        link: Link,
        request_id: int,
        reply: Any,
        epoch: int,
        now: float,
        *,
        full: bool = False,
    ) -> None:
        part = self._requests.answered(request_id)
        if part is None:
            self._late_replies += 1
            return
        operation = part.operation
        operation.epoch = epoch
        try:
            refusals = self._replies.settle(part, reply)
        except ProtocolError as error:
            self._close(link, str(error))
            code = FailureCode.INTERNAL
            refusals = [Refusal(index, code, str(error)) for index in part.all_indices()]
        if refusals:
            if full:
                refusals = [left_out(refusal) for refusal in refusals]
            self._judge(link, refusals, now)
            self._flights.refused(part, refusals, now)
            return
        self._flights.budget.successes += 1
        if not operation.open:
            self._flights.concluded(operation)

    def _judge(self, link: Link, refusals: list[Refusal], now: float) -> None:
        """What refusals say about the node that gave them."""
        until = link.avoided_until
        for refusal in refusals:
            if refusal.code is FailureCode.DRAINING:
                until = inf
            elif refusal.code is FailureCode.UNAVAILABLE:
                until = max(until, now + AVOID_S)
            elif refusal.code is FailureCode.OVERLOADED and not refusal.left_out:
                until = max(until, now + max(AVOID_OVERLOADED_S, refusal.retry_after_s))
        if until != link.avoided_until:
            link.avoided_until = until
            self._wake_by(until)
            self._reroute(now)

    def _adopt(self, link: Link, wire: Any, *, anew: bool) -> bool:
        """Take over a ring that is newer than ours; `anew`: whatever its epoch.

        A cluster that was lost altogether may have been founded anew, from epoch 1.
        """
        try:
            view = RingView.from_wire(wire)
        except CoreError as error:
            self._close(link, f"node {link.node_id} sent a bad ring: {error}")
            return False
        known = self._router.view
        if known is not None and not anew:
            if view.epoch == known.epoch and view.digest != known.digest:
                self._ring_conflicts += 1
                return False
            if view.epoch < known.epoch:
                return False
        self._router.set_view(view)
        self._links.adopt(view)
        return True

    def _reroute(self, now: float) -> None:
        """The ring, the connected nodes or their health have changed."""
        strays = self._links.strays()
        for link in strays:
            if not link.outstanding and not link.outbox:
                self._close(link, f"node {link.node_id} is not a member of the ring")
        self._router.set_links([link for link in self._links.up if link not in strays], now)

    def _check_links(self, now: float) -> None:
        silent = []
        for link in list(self._links.up):
            if link.unanswered_since + CLOSE_AFTER_S <= now:
                self._close(link, f"no answer for {CLOSE_AFTER_S:.0f} s")
            elif link.unanswered_since + SILENT_AFTER_S <= now:
                if not link.silent:
                    link.silent = True
                    silent.append(link)
                self._wake_by(link.unanswered_since + CLOSE_AFTER_S)
            else:
                self._wake_by(link.unanswered_since + SILENT_AFTER_S)
            if link.avoided_until > now:
                self._wake_by(link.avoided_until)
        self._reroute(now)
        for link in silent:
            self._flights.hedge(link, now)

    def _dial(self, now: float) -> None:
        for link in self._links.due(now):
            self._output.dials.append(link.address)
            self.dirty = True
        self._wake_by(self._links.next_dial())

    def _close(self, link: Link, reason: str) -> None:
        if link.is_up:
            link.state = LinkState.CLOSING
            link.reason = reason
            self._links.withdraw(link)
            self._output.closes.append((link.address, reason))
            self.dirty = True

    def _gather(self, link: Link) -> None:
        self._output.flushes.append(link.address)
        self.dirty = True

    def _complete(self, operation: Operation) -> None:
        self._output.completed.append(operation)
        self.dirty = True

    def _wake_by(self, when: float) -> None:
        self.wake_at = min(self.wake_at, when)
