"""What the two halves of the coordinator share: identity, clock, table, routes, timers, output.

Output gathers until the shell takes it: one list of messages per node and one list of replies per
session, so that everything that one batch of mail caused leaves as one batch. A timer is an entry
in one heap, a round is an entry in one dict; nothing else exists per request.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

import attrs

from cluster.core.clock import HybridClock
from cluster.core.operations import ClientReply, FailureCode, ReplicaRequest
from cluster.core.pending import Pending
from cluster.core.routes import Routes
from cluster.core.table import RecordTable
from cluster.core.values import BootId, NodeId

__all__ = [
    "ITEM_BYTES",
    "Counters",
    "Exchange",
    "Output",
    "Rounds",
    "Settings",
    "pieces",
]

RESEND_FIRST_S: Final = 0.2
"""Pause before the first repetition of a message that was not answered; doubled each time."""

RESEND_MAX_S: Final = 1.6
RESEND_DOUBLINGS: Final = 8
"""More change nothing, and without a bound the power would overflow one day."""

ROUND_KEYS_MAX: Final = 500
"""A round that has so many keys takes no further request, so that a replica that works on it does
not keep its event loop for long."""

ITEM_BYTES: Final = 32
"""Added to the bytes of each key and its record, for what else a message says of them. With it a
message takes at most twice the sum when it is encoded, in every format."""


@attrs.frozen
class Settings:
    """What the coordinator needs to know of the node's configuration.

    Attributes:
        node_id: this node.
        boot: this life of it.
        value_max: longest value in bytes.
        requests_max: client requests that may be pending; beyond it `OVERLOADED`.
        round_bytes_max: keys and records in one round, at most half a frame; what is larger is
            split, but for a single key.
        timeout_max_s: longest deadline that a client may ask for.
        reply_bytes_max: records in one reply, at most half a frame.
    """

    node_id: NodeId
    boot: BootId
    value_max: int = 1 << 20
    requests_max: int = 20_000
    round_bytes_max: int = 1 << 20
    timeout_max_s: float = 60.0
    reply_bytes_max: int = 1 << 21


@attrs.define
class Counters:
    """What happened since the start; the names are those of the statistics."""

    requests: int = 0
    requests_repeated: int = 0
    requests_expired: int = 0
    requests_overloaded: int = 0
    requests_unavailable: int = 0
    requests_timed_out: int = 0
    requests_refused: int = 0
    rounds: int = 0
    restamps: int = 0
    resends: int = 0
    write_backs: int = 0
    read_repairs: int = 0
    answers_late: int = 0
    answers_void: int = 0
    answers_refused: int = 0
    answers_invalid: int = 0
    stamps_skewed: int = 0
    rounds_let_go: int = 0
    outcomes_forgotten: int = 0


@attrs.frozen
class Output:
    """What is to be done now.

    Attributes:
        sends: messages per node, in this order.
        replies: answers per session, in this order.
        finished: requests that these answers end, for metrics and trace.
    """

    sends: dict[NodeId, list[ReplicaRequest]]
    replies: dict[int, list[ClientReply]]
    finished: list[Pending]


class Exchange:
    """State shared by the write and the read half; see the module."""

    def __init__(
        self,
        settings: Settings,
        clock: HybridClock,
        table: RecordTable,
        new_id: Callable[[], int],
    ) -> None:
        self.settings: Final = settings
        self.clock: Final = clock
        self.table: Final = table
        self.routes: Final = Routes(settings.node_id)
        self.new_id: Final = new_id
        self.counters: Final = Counters()
        self.wall_ms = 0
        """Wall clock of the event being handled."""
        self.now = 0.0
        """The node's clock, in seconds, of the event being handled."""
        self.pending = 0
        """Client requests not answered yet."""
        self._sends: dict[NodeId, list[ReplicaRequest]] = {}
        self._replies: dict[int, list[ClientReply]] = {}
        self._finished: list[Pending] = []

    def send(self, node: NodeId, message: ReplicaRequest) -> None:
        """Let a message leave with the next output."""
        waiting = self._sends.get(node)
        if waiting is None:
            self._sends[node] = [message]
        else:
            waiting.append(message)

    def answer(self, session_id: int, reply: ClientReply) -> None:
        """Let a reply leave with the next output."""
        waiting = self._replies.get(session_id)
        if waiting is None:
            self._replies[session_id] = [reply]
        else:
            waiting.append(reply)

    def finish(self, request: Pending) -> ClientReply:
        """Answer a request whose last part is settled."""
        self.pending -= 1
        reply = request.reply(self.wall_ms, self.settings.reply_bytes_max)
        self.answer(request.session_id, reply)
        request.took_s = self.now - request.started
        self._finished.append(request)
        return reply

    def take_output(self) -> Output | None:
        """What gathered since the last call; None if nothing did."""
        if not (self._sends or self._replies):
            return None
        output = Output(self._sends, self._replies, self._finished)
        self._sends, self._replies, self._finished = {}, {}, []
        return output


class _Round(Protocol):
    """What rounds of both kinds have."""

    keys: list[bytes]
    size_bytes: int

    round_id: int
    deadline: float
    attempt: int
    repeat_at: float


RoundT = TypeVar("RoundT", bound=_Round)


class Rounds(Generic[RoundT]):
    """The rounds of one kind that are under way, and when each wants to be looked at again.

    An entry of the heap may outlive its round: it is skipped when its time comes, which is cheaper
    than to take it out of the middle.
    """

    def __init__(self) -> None:
        self._by_id: dict[int, RoundT] = {}
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, round_id: int) -> RoundT | None:
        """The round with this id, if it is still under way."""
        return self._by_id.get(round_id)

    def all(self) -> list[RoundT]:
        """Every round under way, oldest first."""
        return list(self._by_id.values())

    def add(self, round_: RoundT, now: float) -> None:
        """Take a round in; it is looked at again after `RESEND_FIRST_S` or at its deadline."""
        self._by_id[round_.round_id] = round_
        self.wake_again(round_, now)

    def drop(self, round_: RoundT) -> None:
        """The round is over."""
        self._by_id.pop(round_.round_id, None)

    def wake_again(self, round_: RoundT, now: float) -> None:
        """What was not answered is sent again after a pause, twice as long each time."""
        pause_s = min(RESEND_FIRST_S * 2.0 ** min(round_.attempt, RESEND_DOUBLINGS), RESEND_MAX_S)
        round_.repeat_at = now + pause_s
        self.look_again(round_)

    def look_again(self, round_: RoundT) -> None:
        """Look at it when a repetition is due, or at its deadline if that is earlier."""
        heapq.heappush(self._heap, (min(round_.repeat_at, round_.deadline), round_.round_id))

    def due(self, now: float) -> list[RoundT]:
        """The rounds whose time has come, each once."""
        found: dict[int, RoundT] = {}
        while self._heap and self._heap[0][0] <= now:
            round_id = heapq.heappop(self._heap)[1]
            round_ = self._by_id.get(round_id)
            if round_ is not None:
                found[round_id] = round_
        return list(found.values())

    @property
    def wake_at(self) -> float | None:
        """When `due` is worth calling; None if no round waits."""
        while self._heap and self._heap[0][1] not in self._by_id:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None


def pieces(
    indices: Sequence[int], bytes_of: Callable[[int], int], bytes_max: int
) -> list[tuple[Sequence[int], int]]:
    """Split indices, in their order, so that no piece exceeds a size unless it is one index.

    Returns:
        The pieces, each with its bytes.
    """
    found: list[tuple[Sequence[int], int]] = []
    start = size = 0
    for at, index in enumerate(indices):
        more = bytes_of(index)
        if at > start and size + more > bytes_max:
            found.append((indices[start:at], size))
            start, size = at, 0
        size += more
    found.append((indices[start:], size))
    return found


def is_full(round_: _Round, more_bytes: int, bytes_max: int) -> bool:
    """Whether so many bytes more belong into another round."""
    return len(round_.keys) >= ROUND_KEYS_MAX or round_.size_bytes + more_bytes > bytes_max


def refusal_name(code: int) -> str:
    """The name of a `FailureCode` that a replica answered, or its number if it is unknown."""
    try:
        return FailureCode(code).name
    except ValueError:
        return str(code)
