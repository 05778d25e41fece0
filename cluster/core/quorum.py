"""Counting answers: one write round and one read round among the owners of some keys.

A round sends the same keys to all (write) or enough (read) owners and counts their answers; all
its keys have the same owners. It decides nothing about time and sends nothing: `coordinator` and
its two halves do.

**Writes.** Acks count per stamp. An owner that holds a higher stamp for a key says so: that key
leaves the round (`moved`) and is written again, above the higher stamp, in a round of its own in
which nothing has been acked yet. Once enough owners acked one stamp the key is done and is never
restamped, whatever arrives later. Without either rule an acknowledged write can be lost. A *fixed*
round (write-back, repair, touch) carries records that keep their stamps: there a higher stamp at
an owner is as good as an ack, as the owner is at least as new.

**Reads.** The coordinator that is an owner sends the versions it holds, and owners answer only
what differs. If all agree, the answer stands and nothing is written. If not, the newest is
answered only after it is at a write quorum; `resolve` says which keys need that and who holds them
already.

**Boots.** An answer counts only while no newer boot of its node is known (`void`).
"""

from collections.abc import Sequence

import attrs

from cluster.core.operations import ReplicaRead, ReplicaWrite
from cluster.core.pending import Part
from cluster.core.record import version
from cluster.core.values import BootId, NodeId

__all__ = ["ReadOutcome", "ReadRound", "WriteRound"]


@attrs.define(eq=False)
class WriteRound:
    """Some records on their way to all owners; `need` acks make it done."""

    round_id: int
    owners: tuple[NodeId, ...]
    need: int
    fixed: bool
    keys: list[bytes] = attrs.field(factory=list)
    records: list[bytes] = attrs.field(factory=list)
    parts: list[Part] = attrs.field(factory=list)
    deadline: float = 0.0
    """The earliest deadline of its requests, in seconds on the node's clock."""
    size_bytes: int = 0
    acked: dict[NodeId, BootId] = attrs.field(factory=dict)
    moved: set[int] = attrs.field(factory=set)
    """Positions that were restamped into another round."""
    refused: dict[NodeId, int] = attrs.field(factory=dict)
    """The `FailureCode` that an owner refused with last."""
    done: bool = False
    """Enough owners acked, once; what follows is delivery to the rest."""
    attempt: int = 0
    repeat_at: float = 0.0
    """When what was not answered is to be sent again."""

    def ack(self, node: NodeId, boot: BootId, higher: Sequence[int]) -> list[int]:
        """Count an answer.

        The positions to be written again above what the owner holds are returned.
        """
        conflicts: list[int] = []
        if higher and not self.done and not self.fixed:
            conflicts = [position for position in higher if position not in self.moved]
            self.moved.update(conflicts)
        self.acked[node] = boot
        if not self.done:
            self.done = len(self.acked) >= self.need or len(self.moved) == len(self.keys)
        return conflicts

    def void(self, node: NodeId, boot: BootId) -> bool:
        """Take back the ack of a boot older than `boot`; True if there was one to take back."""
        acked = self.acked.get(node)
        if self.done or acked is None or acked >= boot:
            return False
        del self.acked[node]
        return True

    @property
    def delivered(self) -> bool:
        """Whether every owner has answered: nothing is left to do."""
        return len(self.acked) >= len(self.owners)

    def message(self) -> ReplicaWrite:
        """What the owners are sent; the same at every repetition."""
        chains = [part.request.chain for part in self.parts]
        return ReplicaWrite(self.round_id, self.deadline, self.keys, self.records, chains)


@attrs.define(eq=False)
class _Answer:
    """What one owner said so far: keys below `covered`, of which `differing` are not as sent."""

    boot: BootId
    covered: int = 0
    differing: dict[int, bytes | None] = attrs.field(factory=dict)


@attrs.frozen
class ReadOutcome:
    """What a complete read found.

    Attributes:
        records: the newest record of each key. write_back: positions whose newest record is not at
        a write quorum yet, by who holds it already. repair: positions whose newest record is at a
        write quorum while others that answered are behind.
    """

    records: list[bytes | None]
    write_back: dict[tuple[NodeId, ...], list[int]]
    repair: dict[tuple[NodeId, ...], list[int]]


@attrs.define(eq=False)
class ReadRound:
    """Some keys asked of `need` owners.

    The coordinator's own copy is the first answer if it is an owner.
    """

    round_id: int
    owners: tuple[NodeId, ...]
    need: int
    write_quorum: int
    own: NodeId | None
    """This node, if it is an owner and its copies count; None otherwise."""
    keys: list[bytes] = attrs.field(factory=list)
    copies: list[bytes | None] = attrs.field(factory=list)
    """The own copies, if `own`."""
    parts: list[Part] = attrs.field(factory=list)
    deadline: float = 0.0
    size_bytes: int = 0
    asked: list[NodeId] = attrs.field(factory=list)
    answers: dict[NodeId, _Answer] = attrs.field(factory=dict)
    attempt: int = 0
    repeat_at: float = 0.0
    """When what was not answered is to be sent again."""

    def versions(self) -> list[bytes]:
        """The versions of the own copies, empty bytes for absent.

        An empty list if there are none.
        """
        if self.own is None:
            return []
        return [b"" if copy is None else version(copy) for copy in self.copies]

    def message(self, after: int, versions: list[bytes]) -> ReplicaRead:
        """The question for the keys from position `after` on."""
        chains = [part.request.chain for part in self.parts]
        if after == 0:
            return ReplicaRead(self.round_id, self.deadline, self.keys, versions, chains)
        keys, rest = self.keys[after:], versions[after:]
        return ReplicaRead(self.round_id, self.deadline, keys, rest, chains, after)

    def answer(
        self,
        node: NodeId,
        boot: BootId,
        covered: int,
        indices: Sequence[int],
        records: Sequence[bytes | None],
    ) -> bool:
        """Take a reply that covers the next `covered` keys.

        False if more are to be asked of this owner.
        """
        answer = self.answers.get(node)
        if answer is None or answer.boot != boot:
            answer = self.answers[node] = _Answer(boot)
        for index, record in zip(indices, records, strict=True):
            answer.differing[answer.covered + index] = record
        answer.covered += covered
        return answer.covered >= len(self.keys)

    def covered(self, node: NodeId) -> int:
        """How many keys this owner has answered."""
        answer = self.answers.get(node)
        return 0 if answer is None else answer.covered

    def has_answered(self, node: NodeId) -> bool:
        """Whether this owner has answered all keys."""
        return self.covered(node) >= len(self.keys)

    def void(self, node: NodeId, boot: BootId) -> bool:
        """Forget the answer of a boot older than `boot`; True if there was one."""
        answer = self.answers.get(node)
        if answer is None or answer.boot >= boot:
            return False
        del self.answers[node]
        return True

    @property
    def answered(self) -> int:
        """How many owners, this node included, have answered all keys."""
        total = len(self.keys)
        return (self.own is not None) + sum(a.covered >= total for a in self.answers.values())

    @property
    def complete(self) -> bool:
        """Whether enough owners have answered."""
        return self.answered >= self.need

    def resolve(self) -> ReadOutcome:
        """Compare the answers: the newest record of each key, and who is behind."""
        total = len(self.keys)
        answers = {n: a.differing for n, a in self.answers.items() if a.covered >= total}
        outcome = ReadOutcome(list(self.copies) if self.own else [None] * total, {}, {})
        if self.own is not None and not any(answers.values()):
            return outcome
        for position in sorted({p for differing in answers.values() for p in differing}):
            self._resolve_key(position, answers, outcome)
        return outcome

    def _resolve_key(
        self,
        position: int,
        answers: dict[NodeId, dict[int, bytes | None]],
        outcome: ReadOutcome,
    ) -> None:
        own = self.copies[position] if self.own is not None else None
        copies = {node: differing.get(position, own) for node, differing in answers.items()}
        if self.own is not None:
            copies[self.own] = own
        newest = max(copy or b"" for copy in copies.values())
        if not newest:
            return
        outcome.records[position] = newest
        if self.need < self.write_quorum:
            return
        wanted = version(newest)
        holders = tuple(n for n, copy in copies.items() if copy and version(copy) == wanted)
        if len(holders) < self.write_quorum:
            outcome.write_back.setdefault(holders, []).append(position)
        elif len(holders) < len(copies):
            behind = tuple(node for node in copies if node not in holders)
            outcome.repair.setdefault(behind, []).append(position)
