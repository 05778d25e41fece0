"""What callers are told when nobody answers: what happened, to which key, and what to do."""

from typing import Final

from cluster.client._operation import Part

__all__ = ["lost_with_boot", "no_answer", "nowhere_to_ask"]

KEY_BYTES_SHOWN: Final = 64

_UNKNOWN: Final = "whether it took effect is unknown: read it back or repeat it"


def no_answer(part: Part, why: str) -> str:
    """A node had the request and did not answer."""
    what = f"{type(part.message).__name__.lower()} of {_shown(part)} at {part.operation.level.name}"
    unknown = "" if part.operation.moves_freely else f"; {_UNKNOWN}"
    return f"{what}: {why} while node {part.link.node_id} had it and gave no answer{unknown}"


def lost_with_boot(part: Part) -> str:
    """The node restarted while it had the request."""
    what = f"{type(part.message).__name__.lower()} of {_shown(part)} at {part.operation.level.name}"
    return f"{what}: node {part.link.node_id} restarted while it had it; {_UNKNOWN}"


def nowhere_to_ask(why: str, failures: str) -> str:
    """No node could be asked."""
    return f"{why} before a node could be asked; {failures}"


def _shown(part: Part) -> str:
    first = part.operation.keys[part.index_of(0)]
    more = len(part.all_indices()) - 1
    return f"key {first[:KEY_BYTES_SHOWN]!r}" + (f" and {more} more" if more else "")
