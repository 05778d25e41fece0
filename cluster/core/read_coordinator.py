"""The read half of the coordinator: ask enough owners, ask others when one is slow, compare.

Requests of one batch whose keys have the same owners and that need as many answers share a round.
Which owners are asked rotates, so that the load of reading spreads over replicas.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cluster.core.clock import hlc_of
from cluster.core.exchange import ITEM_BYTES, Exchange, is_full, pieces
from cluster.core.operations import FailureCode, ReplicaReadReply
from cluster.core.pending import Part, Pending
from cluster.core.quorum import ReadRound
from cluster.core.record import check_many
from cluster.core.round_keeper import RoundKeeper
from cluster.core.routes import Route
from cluster.core.values import BootId, CoreError, NodeId
from cluster.core.write_coordinator import WriteCoordinator

__all__ = ["ReadCoordinator"]

READ_ITEM_BYTES: Final = 32 + ITEM_BYTES
"""Added to the bytes of each key: its version, and what `ITEM_BYTES` stands for."""


class ReadCoordinator(RoundKeeper[ReadRound]):
    """Read rounds of one node."""

    def __init__(
        self, exchange: Exchange, writes: WriteCoordinator, settled: Callable[[Pending], None]
    ) -> None:
        super().__init__(exchange, settled)
        self._writes: Final = writes
        self._turn = 0

    # ------------------------------------------------------------------ requests

    def submit(self, request: Pending, groups: Mapping[int, Sequence[int]]) -> None:
        """Put the keys of a request into rounds that leave with the next `flush`.

        Args:
            request: gets one part per round; keys of groups with too few reachable owners fail.
            groups: indices of the request's keys by group of partitions.
        """
        request.records = [None] * len(request.keys)
        for group, indices in groups.items():
            route = self._x.routes.route(group)
            needed = route.needed[request.level]
            if route.reachable < needed:
                request.asked, request.answered = len(route.owners), 0
                self._fail(request, indices, needed, len(route.owners), route.reachable)
                continue
            for some, size in self._pieces(request, indices):
                round_ = self._gather(group, route, needed, size, request.deadline)
                round_.parts.append(Part(request, len(round_.keys), some))
                request.open_parts += 1
                if len(some) == len(request.keys):
                    round_.keys.extend(request.keys)
                else:
                    round_.keys.extend(request.keys[index] for index in some)

    def _pieces(
        self, request: Pending, indices: Sequence[int]
    ) -> Sequence[tuple[Sequence[int], int]]:
        """The indices in runs that fit a round each, with their bytes."""
        keys, most = request.keys, self._x.settings.round_bytes_max
        size = sum(map(len, keys)) + READ_ITEM_BYTES * len(keys)
        if size <= most:
            return ((indices, size),)
        return pieces(indices, lambda index: len(keys[index]) + READ_ITEM_BYTES, most)

    def _gather(self, group: int, route: Route, need: int, size: int, deadline: float) -> ReadRound:
        """The round that takes so many bytes more: the open one if they fit, else a new one."""
        round_ = self._gathering.get((group, need))
        if round_ is not None and is_full(round_, size, self._x.settings.round_bytes_max):
            self._full.append(round_)
            round_ = None
        if round_ is None:
            round_ = self._gathering[group, need] = self._new(route, need)
            round_.deadline = deadline
        round_.size_bytes += size
        round_.deadline = min(round_.deadline, deadline)
        return round_

    def _new(self, route: Route, need: int) -> ReadRound:
        own = self._x.settings.node_id if route.local else None
        round_id = self._x.new_id()
        return ReadRound(round_id, route.owners, need, route.quorum, own)

    def start(self, round_: ReadRound) -> None:
        """Look at the own copies, ask as many owners as are needed."""
        x = self._x
        x.counters.rounds += 1
        if round_.own is not None:
            round_.copies = x.table.get_many(round_.keys)
        if round_.complete:
            self._finish(round_)
            return
        self.rounds.add(round_, x.now)
        others = x.routes.to(round_.owners).others
        self._turn += 1
        first = self._turn % len(others) if others else 0
        wanted = round_.need - (round_.own is not None)
        for node in (others[first:] + others[:first])[:wanted]:
            self._ask(round_, node)

    def _ask(self, round_: ReadRound, node: NodeId) -> None:
        if node not in round_.asked:
            round_.asked.append(node)
        self._x.send(node, round_.message(round_.covered(node), round_.versions()))

    def _ask_another(self, round_: ReadRound) -> None:
        """Ask one more owner that was not asked yet, if there is one to be reached."""
        for node in self._x.routes.to(round_.owners).others:
            if node not in round_.asked:
                self._ask(round_, node)
                return

    # ------------------------------------------------------------------ answers

    def on_reply(self, sender: NodeId, reply: ReplicaReadReply) -> None:
        """Take the answer of a replica, if it still matters and is valid."""
        counters = self._x.counters
        round_ = self.rounds.get(reply.round_id)
        if round_ is None:
            counters.answers_late += 1
        elif reply.refused:
            counters.answers_refused += 1
            self._ask_another(round_)
        elif not self._x.routes.is_current(sender, reply.boot):
            counters.answers_void += 1
        elif round_.has_answered(sender) or reply.after != round_.covered(sender):
            counters.answers_late += 1
        elif sender not in round_.asked or not _fits(reply, round_, sender):
            counters.answers_invalid += 1
        elif self._believes(reply.records):
            self._take(round_, sender, reply)
        else:
            self._ask_another(round_)

    def _believes(self, records: Sequence[bytes | None]) -> bool:
        """Whether records of a replica may be answered and written back; counted if not."""
        x = self._x
        found = [record for record in records if record is not None]
        if not found:
            return True
        try:
            check_many(found, x.settings.value_max)
        except CoreError:
            x.counters.answers_invalid += 1
            return False
        if x.clock.observe(hlc_of(max(found)), x.wall_ms) is not None:
            x.counters.stamps_skewed += 1
            return False
        return True

    def _take(self, round_: ReadRound, sender: NodeId, reply: ReplicaReadReply) -> None:
        whole = round_.answer(sender, reply.boot, reply.covered, reply.indices, reply.records)
        if not whole:
            self._ask(round_, sender)
        elif round_.complete:
            self.rounds.drop(round_)
            self._finish(round_)

    def _finish(self, round_: ReadRound) -> None:
        outcome = round_.resolve()
        if outcome.write_back or outcome.repair:
            self._writes.write_back(round_, outcome)
        answered = round_.answered
        for part in round_.parts:
            request = part.request
            if not part.open:
                continue
            if len(part.indices) == len(outcome.records) == len(request.keys):
                request.records = outcome.records
            else:
                for position, index in enumerate(part.indices, part.start):
                    request.records[index] = outcome.records[position]
            request.asked = len(round_.owners)
            request.answered = max(request.answered, answered)
            self._close(part)

    # ------------------------------------------------------------------ time and peers

    def _repeat(self, round_: ReadRound) -> None:
        """Ask again, and ask another, where an owner is slow."""
        self._x.counters.resends += 1
        for node in round_.asked:
            if not round_.has_answered(node) and self._x.routes.is_reachable(node):
                self._ask(round_, node)
        self._ask_another(round_)

    def _time_out(self, round_: ReadRound, part: Part) -> None:
        request = part.request
        request.asked = len(round_.owners)
        request.answered = max(request.answered, round_.answered)
        text = (
            f"{request.op} of {request.keys[part.indices[0]]!r:.80} at {request.level_name}: "
            f"{round_.answered} of {round_.need} needed owners answered in time: try again"
        )
        request.fail(part.indices, FailureCode.TIMEOUT, text)

    def _end(self, round_: ReadRound) -> None:
        self.rounds.drop(round_)

    def peer_up(self, node: NodeId) -> None:
        """Ask this peer what it was asked before, or what too few others can answer."""
        for round_ in self.rounds.all():
            if node in round_.owners and not round_.has_answered(node):
                self._ask(round_, node)

    def peer_down(self, node: NodeId) -> None:
        """Ask others instead of this peer; fail at once what can no longer be answered."""
        for round_ in self.rounds.all():
            if node not in round_.asked or round_.has_answered(node):
                continue
            round_.asked.remove(node)
            self._ask_another(round_)
            if self._possible(round_) < round_.need:
                self._give_up(round_)

    def _possible(self, round_: ReadRound) -> int:
        """How many owners have answered or can still answer."""
        routes = self._x.routes
        return sum(
            node == round_.own or round_.has_answered(node) or routes.is_reachable(node)
            for node in round_.owners
        )

    def _give_up(self, round_: ReadRound) -> None:
        self.rounds.drop(round_)
        possible = self._possible(round_)
        for part in round_.parts:
            if part.open:
                request = part.request
                request.asked = len(round_.owners)
                self._fail(request, part.indices, round_.need, len(round_.owners), possible)
                self._close(part)

    def void(self, node: NodeId, boot: BootId) -> None:
        """A newer boot of a node is known: its older answers count no more."""
        for round_ in self.rounds.all():
            if round_.void(node, boot):
                self._x.counters.answers_void += 1
                if self._x.routes.is_reachable(node):
                    self._ask(round_, node)

    def _fail(
        self, request: Pending, indices: Sequence[int], need: int, owners: int, reachable: int
    ) -> None:
        text = (
            f"{request.op} of {request.keys[indices[0]]!r:.80} at {request.level_name} needs "
            f"{need} of {owners} owners and {reachable} can be reached: try again later"
        )
        request.fail(indices, FailureCode.UNAVAILABLE, text)


def _fits(reply: ReplicaReadReply, round_: ReadRound, sender: NodeId) -> bool:
    """Whether a reply is about keys that were asked and moves the answer on."""
    rest = len(round_.keys) - round_.covered(sender)
    return (
        0 < reply.covered <= rest
        and len(reply.indices) == len(reply.records)
        and all(0 <= index < reply.covered for index in reply.indices)
    )
