"""What callers are told when nobody answers: what happened, to which key, and what to do."""

from collections.abc import Sequence
from typing import Final

from cluster.client._operation import Operation, Part
from cluster.errors import ClusterError, Timeout, Unavailable

__all__ = ["lost_with_boot", "no_answer", "nowhere_to_ask", "refused_repeat"]

KEY_BYTES_SHOWN: Final = 64

_UNKNOWN: Final = "whether it took effect is unknown: read it back or repeat it"


def no_answer(part: Part, why: str) -> Timeout:
    """A node had the request and did not answer."""
    operation = part.operation
    unknown = "" if operation.moves_freely else f"; {_UNKNOWN}"
    had_it = f"while node {part.link.node_id} had it and gave no answer"
    return Timeout(f"{_shown(operation, part.all_indices())}: {why} {had_it}{unknown}")


def lost_with_boot(part: Part) -> Timeout:
    """The node restarted while it had the request."""
    what = _shown(part.operation, part.all_indices())
    return Timeout(f"{what}: node {part.link.node_id} restarted while it had it; {_UNKNOWN}")


def refused_repeat(part: Part, said: str) -> Timeout:
    """The node may have done the request, and refuses the repeat that would tell."""
    what = _shown(part.operation, part.all_indices())
    silence = f"node {part.link.node_id} gave no answer and refused the repeat"
    return Timeout(f"{what}: {silence} ({said}); {_UNKNOWN}")


def nowhere_to_ask(
    operation: Operation, indices: Sequence[int], why: str, failures: str
) -> ClusterError:
    """The keys are with no node, and no node that was asked before can have done them."""
    what = _shown(operation, indices)
    if operation.silent_node:
        return Timeout(f"{what}: {why}; node {operation.silent_node} gave no answer before")
    return Unavailable(f"{what}: {why} before a node could be asked; {failures}")


def _shown(operation: Operation, indices: Sequence[int]) -> str:
    kind = type(operation).__name__.removesuffix("Operation").lower()
    first = operation.keys[indices[0]]
    more = f" and {len(indices) - 1} more" if len(indices) > 1 else ""
    return f"{kind} of key {first[:KEY_BYTES_SHOWN]!r}{more} at {operation.level.name}"
