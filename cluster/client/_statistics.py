"""Figures of a client, for its owner to look at."""

import attrs

from cluster.client._links import Link

__all__ = ["LinkStatistics", "Statistics", "of_link"]


@attrs.frozen(kw_only=True)
class LinkStatistics:
    """One address.

    Attributes:
        address: `host:port`.
        node_id: the node behind it; empty while there is no connection.
        state: `down`, `dialling`, `up` or `closing`.
        reason: why there is no connection.
        waiting: requests not yet written.
        outstanding: requests written and not yet answered.
        silent: nothing was answered for a while, and others are asked first.
    """

    address: str
    node_id: str
    state: str
    reason: str
    waiting: int
    outstanding: int
    silent: bool


@attrs.frozen(kw_only=True)
class Statistics:
    """A whole client.

    Attributes:
        in_flight: operations whose callers wait.
        completed: requests that were answered without a refusal.
        late_replies: answers that nobody waited for any more.
        moved_keys: keys that another node was asked for after the first had refused.
        retried_keys: keys that were asked again after a wait.
        retries_refused: retries that the retry budget forbade.
        resent_writes: writes repeated to the node that had them when its connection broke.
        ring_epoch: epoch of the ring by which requests are routed; 0: none.
        ring_conflicts: rings of the same epoch that differed from it.
        clock: the highest hybrid clock reading seen.
        session_keys: keys whose newest stamp is remembered.
        links: every address known.
    """

    in_flight: int
    completed: int
    late_replies: int
    moved_keys: int
    retried_keys: int
    retries_refused: int
    resent_writes: int
    ring_epoch: int
    ring_conflicts: int
    clock: int
    session_keys: int
    links: tuple[LinkStatistics, ...]


def of_link(link: Link) -> LinkStatistics:
    """The figures of one address."""
    return LinkStatistics(
        address=link.address,
        node_id=link.node_id if link.is_up else "",
        state=link.state.name.lower(),
        reason=link.reason,
        waiting=len(link.outbox),
        outstanding=link.outstanding,
        silent=link.silent,
    )
