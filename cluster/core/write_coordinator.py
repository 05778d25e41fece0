"""The write half of the coordinator: one round to all owners, restamp, resend, deadline.

Requests of one batch whose keys have the same owners and that need as many acks share a round.
A round goes on after its requests are answered (`delivery`), until every owner that can be reached
has acked or its deadline has passed. Who is behind then is repaired when the key is read.

See `quorum` for how acks count, and "Operations" in docs/protocol.md for why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from cluster.core.clock import STAMP_BYTES, hlc_of, stamp
from cluster.core.delivery import Delivery
from cluster.core.exchange import ITEM_BYTES, Exchange, is_full, pieces, refusal_name
from cluster.core.operations import FailureCode, ReplicaWriteReply
from cluster.core.pending import Part, Pending
from cluster.core.quorum import ReadOutcome, ReadRound, WriteRound
from cluster.core.round_keeper import RoundKeeper
from cluster.core.values import BootId, NodeId

__all__ = ["WriteCoordinator"]

REPAIR_DEADLINE_S: Final = 2.0
"""How long a background repair is repeated; what it does not reach is found again later."""


class WriteCoordinator(RoundKeeper[WriteRound]):
    """Write rounds of one node."""

    def __init__(self, exchange: Exchange, settled: Callable[[Pending], None]) -> None:
        super().__init__(exchange, settled)
        self._delivery: Final = Delivery(exchange, self.rounds)

    # ------------------------------------------------------------------ requests

    def submit(
        self,
        request: Pending,
        groups: Mapping[int, Sequence[int]],
        records: Sequence[bytes | None],
        *,
        fixed: bool = False,
    ) -> None:
        """Put records of a request into rounds that leave with the next `flush`.

        Args:
            request: gets one part per round; keys of groups with too few reachable owners fail.
            groups: indices of the request's keys by group of partitions; none may be without a
                record.
            records: by index of the key.
            fixed: the records keep their stamps (touch).
        """
        for group, indices in groups.items():
            route = self._x.routes.route(group)
            need = route.needed[request.level]
            if route.reachable < need:
                request.asked, request.answered = len(route.owners), 0
                text = _unavailable(request, indices, need, len(route.owners), route.reachable)
                request.fail(indices, FailureCode.UNAVAILABLE, text)
                continue
            slot = (group, need, fixed)
            for some, size in self._pieces(request, indices, records):
                round_ = self._gather(slot, route.owners, size, request.deadline)
                round_.parts.append(Part(request, len(round_.keys), some))
                request.open_parts += 1
                if len(some) == len(request.keys):
                    round_.keys.extend(request.keys)
                    round_.records.extend(records)  # type: ignore[arg-type]  # none is None here
                else:
                    for index in some:
                        record = records[index]
                        assert record is not None, "a key that is written has a record"
                        round_.keys.append(request.keys[index])
                        round_.records.append(record)

    def _pieces(
        self, request: Pending, indices: Sequence[int], records: Sequence[bytes | None]
    ) -> Sequence[tuple[Sequence[int], int]]:
        """The indices in runs that fit a round each, with their bytes."""
        most = self._x.settings.round_bytes_max
        if len(indices) == len(request.keys) and request.size_bytes <= most:
            return ((indices, request.size_bytes),)
        keys = request.keys

        def bytes_of(index: int) -> int:
            return len(keys[index]) + len(records[index] or b"") + ITEM_BYTES

        return pieces(indices, bytes_of, most)

    def _gather(
        self, slot: tuple[int, int, bool], owners: tuple[NodeId, ...], size: int, deadline: float
    ) -> WriteRound:
        """The round that takes so many bytes more: the open one if they fit, else a new one."""
        round_ = self._gathering.get(slot)
        if round_ is not None and is_full(round_, size, self._x.settings.round_bytes_max):
            self._full.append(round_)
            round_ = None
        if round_ is None:
            _, need, fixed = slot
            round_ = WriteRound(self._x.new_id(), owners, need, fixed)
            round_.deadline = deadline
            self._gathering[slot] = round_
        round_.size_bytes += size
        round_.deadline = min(round_.deadline, deadline)
        return round_

    def start(self, round_: WriteRound) -> None:
        """Apply to the own copy, send to the other owners, count what that gives."""
        x = self._x
        x.counters.rounds += 1
        route = x.routes.to(round_.owners)
        own = x.settings.node_id
        if not round_.delivered:
            self.rounds.add(round_, x.now)
        message = round_.message()
        for node in route.others:
            if node not in round_.acked:
                x.send(node, message)
        if route.local and own not in round_.acked:
            higher = x.table.apply_many(round_.keys, round_.records)
            self._count(round_, own, x.settings.boot, higher)
        elif round_.done:
            self._complete(round_)

    # ------------------------------------------------------------------ answers

    def on_reply(self, sender: NodeId, reply: ReplicaWriteReply) -> None:
        """Count the answer of a replica, if it still matters and is valid."""
        counters = self._x.counters
        round_ = self.rounds.get(reply.round_id)
        if round_ is None:
            counters.answers_late += 1
        elif reply.refused:
            counters.answers_refused += 1
            round_.refused[sender] = reply.refused
        elif not self._x.routes.is_current(sender, reply.boot):
            counters.answers_void += 1
        elif sender not in round_.owners or not _fits(reply.higher, len(round_.keys)):
            counters.answers_invalid += 1
        else:
            self._count(round_, sender, reply.boot, reply.higher)

    def _count(
        self, round_: WriteRound, node: NodeId, boot: BootId, higher: list[tuple[int, bytes]]
    ) -> None:
        if higher and self._is_skewed(higher):
            return
        was_done = round_.done
        conflicts = round_.ack(node, boot, sorted({position for position, _ in higher}))
        if conflicts:
            self._restamp(round_, conflicts)
        if round_.done and not was_done:
            self._complete(round_)
            self._delivery.begin(round_)
        if round_.delivered:
            self._delivery.end(round_)

    def _is_skewed(self, higher: Sequence[tuple[int, bytes]]) -> bool:
        """Whether an owner claims a stamp too far ahead: its answer counts for nothing then."""
        x = self._x
        if x.clock.observe(hlc_of(max(held for _, held in higher)), x.wall_ms) is None:
            return False
        x.counters.stamps_skewed += 1
        return True

    def _restamp(self, round_: WriteRound, positions: Iterable[int]) -> None:
        """Write keys again above the stamps that an owner holds, in a round of their own."""
        x = self._x
        again = WriteRound(x.new_id(), round_.owners, round_.need, fixed=False)
        again.deadline = round_.deadline
        for position in positions:
            part, index = _locate(round_, position)
            if not part.open:
                continue
            above = stamp(x.clock.tick(x.wall_ms), x.settings.boot)
            again.parts.append(Part(part.request, len(again.keys), (index,)))
            again.keys.append(round_.keys[position])
            again.records.append(above + round_.records[position][STAMP_BYTES:])
            if part.request.restamped is None:
                part.request.restamped = {}
            part.request.restamped[index] = above
            part.request.open_parts += 1
        if again.keys:
            x.counters.restamps += len(again.keys)
            self.start(again)

    def _complete(self, round_: WriteRound) -> None:
        for part in round_.parts:
            if part.open:
                part.request.asked = len(round_.owners)
                part.request.answered = max(part.request.answered, len(round_.acked))
                self._close(part)

    # ------------------------------------------------------------------ write-back and repair

    def write_back(self, read: ReadRound, outcome: ReadOutcome) -> None:
        """Bring what a read found to a write quorum (the reads wait for it).

        Repair who is behind.
        """
        x = self._x
        boots = {node: answer.boot for node, answer in read.answers.items()}
        boots[x.settings.node_id] = x.settings.boot
        for holders, positions in self._runs(read, outcome, outcome.write_back):
            acked = {node: boots[node] for node in holders}
            round_ = self._fixed(read, outcome, positions, acked, read.write_quorum)
            for at, position in enumerate(positions):
                part, index = _locate(read, position)
                part.request.open_parts += 1
                round_.parts.append(Part(part.request, at, (index,)))
            round_.deadline = read.deadline
            x.counters.write_backs += len(positions)
            self.start(round_)
        for behind, positions in self._runs(read, outcome, outcome.repair):
            acked = {node: boots.get(node, 0) for node in read.owners if node not in behind}
            round_ = self._fixed(read, outcome, positions, acked, need=0)
            round_.done = True
            x.counters.read_repairs += len(positions)
            self.start(round_)

    def _runs(
        self,
        read: ReadRound,
        outcome: ReadOutcome,
        positions_of: dict[tuple[NodeId, ...], list[int]],
    ) -> list[tuple[tuple[NodeId, ...], Sequence[int]]]:
        """Positions by nodes, in runs that fit a round each."""

        def bytes_of(position: int) -> int:
            return len(read.keys[position]) + len(outcome.records[position] or b"") + ITEM_BYTES

        most = self._x.settings.round_bytes_max
        return [
            (nodes, some)
            for nodes, positions in positions_of.items()
            for some, _ in pieces(positions, bytes_of, most)
        ]

    def _fixed(
        self,
        read: ReadRound,
        outcome: ReadOutcome,
        positions: Sequence[int],
        acked: dict[NodeId, BootId],
        need: int,
    ) -> WriteRound:
        round_ = WriteRound(self._x.new_id(), read.owners, need, fixed=True)
        round_.acked = acked
        round_.deadline = self._x.now + REPAIR_DEADLINE_S
        for position in positions:
            record = outcome.records[position]
            assert record is not None, "only what was found is written back"
            round_.keys.append(read.keys[position])
            round_.records.append(record)
        return round_

    # ------------------------------------------------------------------ time and peers

    def _repeat(self, round_: WriteRound) -> None:
        for node in self._x.routes.to(round_.owners).others:
            self._send_again(round_, node)

    def _time_out(self, round_: WriteRound, part: Part) -> None:
        request = part.request
        indices = [
            index for at, index in enumerate(part.indices, part.start) if at not in round_.moved
        ]
        request.asked = len(round_.owners)
        request.answered = max(request.answered, len(round_.acked))
        request.fail(indices, FailureCode.TIMEOUT, _timeout(request, indices, round_))

    def _end(self, round_: WriteRound) -> None:
        self._delivery.end(round_)

    def _send_again(self, round_: WriteRound, node: NodeId) -> None:
        if node in round_.owners and node not in round_.acked:
            self._x.counters.resends += 1
            self._x.send(node, round_.message())

    def peer_down(self) -> None:
        """A peer cannot be reached: what is done waits for it no more."""
        self._delivery.look_again()

    def peer_up(self, node: NodeId) -> None:
        """Send what this peer has not acked yet."""
        for round_ in self.rounds.all():
            self._send_again(round_, node)

    def void(self, node: NodeId, boot: BootId) -> None:
        """A newer boot of a node is known: its older acks count no more."""
        for round_ in self.rounds.all():
            if round_.void(node, boot):
                self._x.counters.answers_void += 1
                if self._x.routes.is_reachable(node):
                    self._send_again(round_, node)


def _locate(round_: WriteRound | ReadRound, position: int) -> tuple[Part, int]:
    """The part that a position of a round belongs to, and its index in the request."""
    for part in round_.parts:
        index = part.index_at(position)
        if index is not None:
            return part, index
    raise AssertionError(f"position {position} belongs to no request of round {round_.round_id}")


def _fits(higher: list[tuple[int, bytes]], keys: int) -> bool:
    return all(0 <= position < keys for position, _ in higher)


def _unavailable(
    request: Pending, indices: Sequence[int], need: int, owners: int, reachable: int
) -> str:
    return (
        f"{request.op} of {request.keys[indices[0]]!r:.80} at {request.level_name} needs {need} of "
        f"{owners} owners and {reachable} can be reached: nothing was done, try again later"
    )


def _timeout(request: Pending, indices: Sequence[int], round_: WriteRound) -> str:
    key = request.keys[indices[0]] if indices else request.keys[0]
    told = [f"{node} refused: {refusal_name(code)}" for node, code in round_.refused.items()]
    refusals = f" ({', '.join(told)})" if told else ""
    return (
        f"{request.op} of {key!r:.80} at {request.level_name}: {len(round_.acked)} of "
        f"{round_.need} needed owners answered in time{refusals}; it may or may not have taken "
        "effect: read it back or do it again"
    )
