"""What a running system looks like: frozen statistics as a tree, and that tree as text.

Taking it is a walk over all actors, without stopping any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from actors._cell import Cell


@attrs.frozen(kw_only=True)
class ActorTree:
    """One actor and the children it has started. Counters cover all incarnations."""

    path: str
    state: str
    """new, starting, running, suspended, stopping, waiting (for a restart) or ended."""
    incarnation: int
    restarts: int
    crashes: int
    last_error: str
    queue_len: int
    queue_peak: int
    queue_capacity: int
    queue_weight: int
    control_len: int
    handled: int
    refused: int
    """Messages that a full mailbox turned away."""
    dropped: int
    """Messages that a policy of dropping threw away."""
    dead: int
    late_replies: int
    waited_total_s: float
    waited_max_s: float
    took_total_s: float
    took_max_s: float
    helpers: int
    timers: int
    waiting_on: tuple[str, ...]
    """The actors whose answer its handler waits for."""
    children: tuple[Tree, ...]


@attrs.frozen(kw_only=True)
class GroupTree:
    """A group of children. Without a name of its own it has the path of its parent."""

    path: str
    strategy: str
    running: bool
    restarts: int
    children: tuple[Tree, ...]


Tree: TypeAlias = ActorTree | GroupTree


def actor_tree(cell: Cell) -> ActorTree:
    """The statistics of one actor and its children."""
    mailbox, current = cell.mailbox, cell.current
    group = None if current is None else current.group
    return ActorTree(
        path=cell.path,
        state="suspended" if cell.gate is not None else cell.state.value,
        incarnation=cell.incarnation,
        restarts=cell.restarts,
        crashes=cell.crashes,
        last_error="" if cell.last_error is None else repr(cell.last_error),
        queue_len=mailbox.length,
        queue_peak=mailbox.peak,
        queue_capacity=mailbox.capacity,
        queue_weight=mailbox.weight,
        control_len=mailbox.control_length,
        handled=cell.handled,
        refused=cell.refused,
        dropped=cell.dropped,
        dead=cell.dead,
        late_replies=cell.late_replies,
        waited_total_s=cell.waited_total_s,
        waited_max_s=cell.waited_max_s,
        took_total_s=cell.took_total_s,
        took_max_s=cell.took_max_s,
        helpers=0 if current is None else current.helpers,
        timers=cell.system.timers.count(cell.number),
        waiting_on=tuple(other.path for other in cell.waiting_on),
        children=() if group is None else group.introspect().children,
    )


def actors(tree: Tree) -> Iterator[ActorTree]:
    """All actors of a tree, parents before children."""
    if isinstance(tree, ActorTree):
        yield tree
    for child in tree.children:
        yield from actors(child)


def render(tree: Tree) -> str:
    """The tree as text, an actor a line."""
    return "\n".join(_lines(tree, 0))


def _lines(tree: Tree, depth: int) -> Iterator[str]:
    indent = "  " * depth
    name = tree.path.rpartition("/")[2]
    if isinstance(tree, ActorTree):
        yield f"{indent}{name}  {_summary(tree)}"
    else:
        state = "running" if tree.running else "not running"
        yield f"{indent}{name}/  {state} {tree.strategy} restarts={tree.restarts}"
    for child in tree.children:
        yield from _lines(child, depth + 1)


def _summary(actor: ActorTree) -> str:
    parts = [
        actor.state,
        f"incarnation={actor.incarnation}",
        f"queue={actor.queue_len}/{actor.queue_capacity} peak={actor.queue_peak}",
        f"handled={actor.handled}",
    ]
    if actor.handled:
        waited_ms = 1000 * actor.waited_total_s / actor.handled
        took_ms = 1000 * actor.took_total_s / actor.handled
        parts.append(f"waited={waited_ms:.3f}ms took={took_ms:.3f}ms")
    parts += [
        f"{label}={value}"
        for label, value in (
            ("refused", actor.refused),
            ("dropped", actor.dropped),
            ("dead", actor.dead),
            ("late", actor.late_replies),
            ("crashes", actor.crashes),
            ("helpers", actor.helpers),
            ("timers", actor.timers),
        )
        if value
    ]
    if actor.waiting_on:
        parts.append(f"waiting_on={','.join(actor.waiting_on)}")
    if actor.last_error:
        parts.append(f"last_error={actor.last_error}")
    return " ".join(parts)
