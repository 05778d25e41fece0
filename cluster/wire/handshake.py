"""The first messages of a connection: who is there, and may the two talk?

The side that dialled sends `Hello`; the side that accepted answers `Welcome` or `Reject` with the
reason. `judge` is that decision as a pure function. The highest protocol version that both sides
speak is chosen, so neighbouring releases work together and a cluster is upgraded node by node.
Handshake messages themselves always travel in frames of version 1.

A peer must agree on everything that decides where data lives: cluster name, number of partitions,
replication factor. A client learns these from the `Welcome`. Nothing here authenticates anybody.
"""

from typing import Any, Final

import attrs

from cluster.core.ring import check_address
from cluster.core.values import CoreError, check_node_id

PROTOCOL_VERSION_MIN: Final = 1
PROTOCOL_VERSION: Final = 1
"""The newest protocol this release speaks."""

ROLE_PEER: Final = "peer"
ROLE_CLIENT: Final = "client"


@attrs.frozen
class Hello:
    """Who dials.

    Attributes:
        version_min: oldest protocol version the dialler speaks.
        version_max: newest protocol version the dialler speaks.
        cluster: name of the cluster; a client that takes any leaves it empty.
        role: "peer" for a node, "client" for anything else.
        id: node id; empty for a client.
        boot: boot id of a node; a random 64-bit session id for a client.
        virtual_nodes: number of partitions; 0 for a client.
        replication_factor: copies of a record; 0 for a client.
        address: where a node can be dialled, `host:port`; empty for a client.
    """

    version_min: int
    version_max: int
    cluster: str
    role: str
    id: str
    boot: int
    virtual_nodes: int
    replication_factor: int
    address: str


@attrs.frozen
class Welcome:
    """Who answers, and what holds on this connection.

    Attributes:
        version: the protocol version that both will speak.
        cluster: name of the cluster.
        node_id: the node that accepted.
        boot: its boot id.
        virtual_nodes: number of partitions in the cluster.
        value_max: largest value it stores, bytes.
        frame_max: largest frame it takes, bytes.
        ring: its ring view as `RingView.as_wire`, or None while it has none.
        replication_factor: copies of a record in the cluster; 0: a release that does not say.
    """

    version: int
    cluster: str
    node_id: str
    boot: int
    virtual_nodes: int
    value_max: int
    frame_max: int
    ring: list[Any] | None
    replication_factor: int = 0


@attrs.frozen
class Reject:
    """Why the connection is refused.

    Attributes:
        reason: for people.
        myself: a node has dialled itself, as seed lists may do.
        known_boot: the dialling node is known in this boot, which is later than its own; else 0.
    """

    reason: str
    myself: bool = False
    known_boot: int = 0


@attrs.frozen(kw_only=True)
class LocalNode:
    """What a node says of itself in both directions of the handshake.

    `value_max` and `frame_max` are in bytes; `address` is where others dial this node.
    """

    cluster: str
    node_id: str
    boot: int
    virtual_nodes: int
    replication_factor: int
    value_max: int
    frame_max: int
    address: str
    version_min: int = PROTOCOL_VERSION_MIN
    version_max: int = PROTOCOL_VERSION

    def hello(self) -> Hello:
        """The `Hello` that this node sends when it dials another."""
        return Hello(
            version_min=self.version_min,
            version_max=self.version_max,
            cluster=self.cluster,
            role=ROLE_PEER,
            id=self.node_id,
            boot=self.boot,
            virtual_nodes=self.virtual_nodes,
            replication_factor=self.replication_factor,
            address=self.address,
        )


def client_hello(session_id: int, cluster: str = "") -> Hello:
    """The `Hello` of a client; `session_id` is 64 random bits, `cluster` is empty for any."""
    return Hello(
        version_min=PROTOCOL_VERSION_MIN,
        version_max=PROTOCOL_VERSION,
        cluster=cluster,
        role=ROLE_CLIENT,
        id="",
        boot=session_id,
        virtual_nodes=0,
        replication_factor=0,
        address="",
    )


def judge(
    hello: Hello, mine: LocalNode, ring: list[Any] | None = None, known_boot: int = 0
) -> Welcome | Reject:
    """Decides about a `Hello`.

    Args:
        hello: what the dialler says of itself.
        mine: what holds here.
        ring: the ring view to hand out, `RingView.as_wire`.
        known_boot: the highest boot in which the dialling node was ever connected; 0: never.
    """
    refusal = _refusal(hello, mine, known_boot)
    if refusal is not None:
        return refusal
    return Welcome(
        version=min(hello.version_max, mine.version_max),
        cluster=mine.cluster,
        node_id=mine.node_id,
        boot=mine.boot,
        virtual_nodes=mine.virtual_nodes,
        value_max=mine.value_max,
        frame_max=mine.frame_max,
        ring=ring,
        replication_factor=mine.replication_factor,
    )


def objection(welcome: Welcome, hello: Hello) -> str | None:
    """What the dialler has against a `Welcome`, or None; a right node gives no reason."""
    if not hello.version_min <= welcome.version <= hello.version_max:
        return (
            f"node {welcome.node_id} chose protocol version {welcome.version}, "
            f"spoken here: {hello.version_min} to {hello.version_max}"
        )
    if hello.cluster and welcome.cluster != hello.cluster:
        return f"node {welcome.node_id} is of cluster {welcome.cluster!r}, not {hello.cluster!r}"
    if hello.role == ROLE_PEER and welcome.virtual_nodes != hello.virtual_nodes:
        return (
            f"node {welcome.node_id} has {welcome.virtual_nodes} virtual nodes, "
            f"this one has {hello.virtual_nodes}"
        )
    return None


def _refusal(hello: Hello, mine: LocalNode, known_boot: int) -> Reject | None:
    if hello.version_max < mine.version_min or hello.version_min > mine.version_max:
        return Reject(
            f"no common protocol version: {hello.version_min} to {hello.version_max} there, "
            f"{mine.version_min} to {mine.version_max} at node {mine.node_id}"
        )
    if hello.role not in (ROLE_PEER, ROLE_CLIENT):
        return Reject(f"role is {ROLE_PEER!r} or {ROLE_CLIENT!r}, not {hello.role!r:.80}")
    peer = hello.role == ROLE_PEER
    if hello.cluster != mine.cluster and (peer or hello.cluster):
        return Reject(
            f"node {mine.node_id} is of cluster {mine.cluster!r}, not {hello.cluster!r:.80}"
        )
    if not peer:
        return None
    return _peer_refusal(hello, mine) or _boot_refusal(hello, mine, known_boot)


def _boot_refusal(hello: Hello, mine: LocalNode, known_boot: int) -> Reject | None:
    """What a boot answers counts nowhere once a later one of the same node was seen."""
    if hello.boot >= known_boot:
        return None
    return Reject(
        f"node {mine.node_id} knows node {hello.id} in boot {known_boot:016x}, later than its "
        f"{hello.boot:016x}: its clock was ahead in an earlier life, or another node has its id",
        known_boot=known_boot,
    )


def _peer_refusal(hello: Hello, mine: LocalNode) -> Reject | None:
    try:
        check_node_id(hello.id)
    except CoreError as error:
        return Reject(str(error))
    if hello.id == mine.node_id:
        if hello.boot == mine.boot:
            return Reject(f"that is myself: node {mine.node_id} dialled itself", myself=True)
        return Reject(f"node id {mine.node_id} is taken by the node at {mine.address}")
    if hello.virtual_nodes != mine.virtual_nodes:
        return Reject(
            f"node {mine.node_id} has {mine.virtual_nodes} virtual nodes, not {hello.virtual_nodes}"
        )
    if hello.replication_factor != mine.replication_factor:
        return Reject(
            f"node {mine.node_id} has replication factor {mine.replication_factor}, "
            f"not {hello.replication_factor}"
        )
    try:
        check_address(hello.address)
    except CoreError as error:
        return Reject(f"node {hello.id} gives no address to dial it at: {error}")
    return None
