"""A node, put together: the supervision tree, who knows whom, and how it stops.

`Node` runs in any environment, real or simulated; `cluster.node` runs one for real. Nothing is
decided here but the wiring. The groups restart their
actors one by one; the root restarts nothing: a group that gives up ends the node, and so does the
first crash of the replicator, because what the promises rest on would be gone.
"""

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

import trio
from loguru import logger

from actors import (
    ActorSystem,
    AskError,
    ChildSpec,
    CrashReport,
    MailboxSpec,
    Overflow,
    Ref,
    RestartLimit,
    SlowHandler,
    StartFailed,
    SupervisorSpec,
    TraceLog,
)
from cluster.config import Config
from cluster.core.exchange import Settings
from cluster.core.membership import MemberEntry
from cluster.core.metrics import Registry
from cluster.core.ring import RingMember
from cluster.core.ring_state import RingState
from cluster.core.values import BootId, new_boot_id
from cluster.environment import Environment
from cluster.errors import NodeFailed
from cluster.gateway.control import ControlFace
from cluster.gateway.front_door import FrontDoor, FrontDoorOptions
from cluster.gateway.http import HttpFace, bound_address
from cluster.gateway.http_app import make_app
from cluster.net.addresses import format_address, parse_address
from cluster.recording import last_lines, recording
from cluster.services.link import LinkOptions
from cluster.services.local import Drain, WaitIdle
from cluster.services.peers import Peers
from cluster.services.pulse import Pulse
from cluster.services.replicator import Replicator, weigh
from cluster.services.ring_keeper import RingKeeper
from cluster.services.traffic import Traffic
from cluster.wire.codec import Codec, FrameLimits
from cluster.wire.handshake import LocalNode

__all__ = ["Node"]

REPLICATOR_BATCHES: Final = 4096
REPLICATOR_BYTES: Final = 64 << 20
"""Frames that may wait for the replicator; beyond it they are answered `OVERLOADED`."""

ROUND_BYTES: Final = 1 << 20
"""What one round carries at most, so that small requests do not wait behind a huge frame."""

DRAIN_TIMEOUT_S: Final = 3.0

TRACE_PREFIX_BITS: Final = 24
TRACE_RECORDS: Final = 5_000
"""What the flight recorder holds: 1.4 MB, or half a second of a busy node."""


class Node:
    """One node in one environment. Runs once; `bound` and `serving` tell how far it is."""

    def __init__(
        self,
        config: Config,
        environment: Environment,
        *,
        http_listener: socket.socket | None = None,
        threads: bool = False,
        above: BootId = 0,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            config: all options.
            environment: clocks, randomness and network.
            http_listener: where the HTTP face serves; None: there is none.
            threads: whether files may be written in threads; never under virtual time.
            above: a boot of this node that others know; its own will be later.
        """
        self.config: Final = config
        self.environment: Final = environment
        self.registry: Final = Registry()
        rng = environment.random(f"node/{config.node_id}")
        self.boot: Final = new_boot_id(environment.wall_ms(), rng, above)
        self.outdated_by: BootId = 0
        """A later boot of this node that a peer knows: the node ends."""
        self._outdated = ""
        self._told_to_stop = False
        self.bound: Final = trio.Event()
        self.serving: Final = trio.Event()
        self.address = ""
        self._threads: Final = threads
        self._http_listener: Final = http_listener
        self.http_address: Final = "" if http_listener is None else bound_address(http_listener)
        self._bind = config.bind
        self._limits: Final = FrameLimits(frame_bytes_max=config.frame_max_bytes)
        self._log: Final = logger.bind(node=config.node_id)
        trace = TraceLog(
            config.node_id,
            prefix=rng.getrandbits(TRACE_PREFIX_BITS),
            capacity=TRACE_RECORDS,
            boot_id=self.boot,
            anchor_s=environment.wall_ms() / 1000 - environment.now(),
        )
        self.system: Final = ActorSystem(
            config.node_id,
            self._tree(),
            rng=rng,
            trace=trace,
            on_crash=self._on_crash,
            on_slow=self._on_slow,
        )
        self.face: Final = ControlFace(
            config,
            self.system,
            environment,
            self.registry,
            http_address=self.http_address,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start everything, serve until `stop`. Started once every port is bound.

        Raises:
            NodeFailed: a part could not start (its port is taken), or failed for good; the trace
                file cannot be made; a peer knows a later boot of this node (`outdated_by`).
        """
        config, trace = self.config, self.system.trace
        try:
            async with recording(config.trace, trace, config.trace_sample, threads=self._threads):
                await self.system.run(task_status=task_status)
        except (StartFailed, RestartLimit) as error:
            raise NodeFailed(_why(error)) from error
        if self._outdated and not self._told_to_stop:
            raise NodeFailed(f"this boot cannot go on, start the node again: {self._outdated}")

    async def stop(self) -> None:
        """Stop in order: refuse new requests, finish those that are pending, then end the tree."""
        self._told_to_stop = True
        try:
            await self._front_door().ask(Drain(), timeout_s=DRAIN_TIMEOUT_S)
            await self._replicator().ask(WaitIdle(), timeout_s=DRAIN_TIMEOUT_S)
        except AskError as error:
            self._log.warning("stopping with requests pending: {}", error)
        self.system.stop()

    # ------------------------------------------------------------------ the tree

    def _tree(self) -> SupervisorSpec:
        """The children in the order in which they start; they stop in reverse."""
        replicator = ChildSpec(
            "replicator",
            self._make_replicator,
            mailbox=MailboxSpec(
                capacity=REPLICATOR_BATCHES,
                overflow=Overflow.REJECT,
                weigh=weigh,
                weight_max=REPLICATOR_BYTES,
            ),
        )
        faces = [ChildSpec("front_door", self._make_front_door)]
        if self._http_listener is not None:
            faces.append(ChildSpec("http", self._make_http))
        knowing = (
            ChildSpec("pulse", lambda: Pulse(self.registry)),
            ChildSpec("ring_keeper", self._make_ring_keeper),
            ChildSpec("peers", self._make_peers),
        )
        return SupervisorSpec(
            "",
            (SupervisorSpec("", knowing), replicator, SupervisorSpec("", tuple(faces))),
            intensity=0,
        )

    def _ref(self, name: str) -> Callable[[], Ref[Any]]:
        return lambda: self.system.ref(name)

    def _replicator(self) -> Ref[Any]:
        return self.system.ref("replicator")

    def _front_door(self) -> Ref[Any]:
        return self.system.ref("front_door")

    def _make_ring_keeper(self) -> RingKeeper:
        config = self.config

        def state(address: str) -> RingState:
            return RingState(
                RingMember(config.node_id, address, config.weight, config.zone),
                virtual_nodes=config.virtual_nodes,
                replication_factor=config.replication_factor,
                bootstrap_expect=config.founders,
            )

        return RingKeeper(
            state,
            self.registry,
            expected=config.founders,
            subscribers=lambda: [self.system.ref(n) for n in ("replicator", "front_door", "peers")],
            peers=self._ref("peers"),
            sources=lambda: [self._front_door(), self._replicator()],
            log=self._say,
        )

    def _make_peers(self) -> Peers:
        config = self.config

        def entry(address: str) -> MemberEntry:
            return MemberEntry(config.node_id, address, self.boot, config.zone, config.weight)

        def options(address: str) -> LinkOptions:
            return LinkOptions(
                self.environment,
                self._local(address).hello(),
                Codec("json" if config.codec == "json" else "msgpack", self._limits),
                Traffic(self.registry, "peer"),
                self._say,
                self._on_outdated,
            )

        return Peers(
            entry,
            config.seeds,
            options,
            self.registry,
            wall_ms=self.environment.wall_ms,
            clock_offset_max_ms=config.clock_offset_max_ms,
            subscribers=lambda: [self._replicator(), self._front_door()],
            ring_keeper=self._ref("ring_keeper"),
            front_door=self._front_door,
            log=self._say,
        )

    def _make_replicator(self) -> Replicator:
        config = self.config
        settings = Settings(
            node_id=config.node_id,
            boot=self.boot,
            value_max=config.value_max_bytes,
            round_bytes_max=min(ROUND_BYTES, config.frame_max_bytes // 2),
            reply_bytes_max=config.frame_max_bytes // 2,
        )
        return Replicator(
            settings,
            self.environment,
            self.registry,
            self.system.trace.new_id,
            partitions=config.virtual_nodes,
            clock_offset_max_ms=config.clock_offset_max_ms,
            ring_keeper=self._ref("ring_keeper"),
            on_serving=self.serving.set,
        )

    def _make_front_door(self) -> FrontDoor:
        return FrontDoor(
            FrontDoorOptions(
                bind=lambda: self._bind,
                local=self._local,
                limits=self._limits,
                environment=self.environment,
                registry=self.registry,
                answer=self.face.answer,
                replicator=self._replicator,
                peers=self._ref("peers"),
                ring_keeper=self._ref("ring_keeper"),
                on_bound=self._on_bound,
                log=self._say,
            )
        )

    def _make_http(self) -> HttpFace:
        assert self._http_listener is not None, "there is no HTTP face without a listener"
        return HttpFace(make_app(self.face), self._http_listener)

    def _local(self, bound: str) -> LocalNode:
        config = self.config
        return LocalNode(
            cluster=config.cluster_name,
            node_id=config.node_id,
            boot=self.boot,
            virtual_nodes=config.virtual_nodes,
            replication_factor=config.replication_factor,
            value_max=config.value_max_bytes,
            frame_max=config.frame_max_bytes,
            address=advertised(config.advertise, bound),
        )

    # ------------------------------------------------------------------ what is told to people

    def _on_bound(self, address: str) -> None:
        self.address = self._bind = address
        self.bound.set()

    def _on_outdated(self, known: BootId, reason: str) -> None:
        """Nobody counts what this boot answers, for good: end, and let the next one do better."""
        self.outdated_by, self._outdated = max(known, self.outdated_by), reason
        self.system.stop()

    def _say(self, level: str, text: str) -> None:
        self._log.log(level.upper(), "{}", text)

    def _on_crash(self, report: CrashReport) -> None:
        at_the_door = report.path == self._front_door().path
        if at_the_door and isinstance(report.error, OSError) and not self.bound.is_set():
            return  # a port that is taken is no crash; `NodeFailed` tells of it in one line
        lines = last_lines(report, self.system.trace)
        self._log.opt(exception=report.error).error(
            "{} crashed; the last of its trace:\n{}", report.path, lines
        )

    def _on_slow(self, slow: SlowHandler) -> None:
        self._log.warning("{} took {:.0f} ms for {}", slow.path, slow.took_s * 1000, slow.type)


def _why(error: StartFailed | RestartLimit) -> str:
    """What a person can mend, else the innermost group that gave up and what its child died of."""
    while isinstance(error.__cause__, RestartLimit):
        error = error.__cause__
    cause = error.__cause__
    if isinstance(error, StartFailed) and isinstance(cause, OSError) and cause.strerror:
        taken = "; stop what runs there, or choose another port with --bind"
        return cause.strerror + (taken if cause.errno == errno.EADDRINUSE else "")
    if isinstance(error, RestartLimit) and cause is not None:
        return f"{error}: {type(cause).__name__}: {cause}"
    return str(error)


def advertised(wanted: str, bound: str) -> str:
    """The address that others dial: `wanted`, where port 0 stands for the bound one."""
    if not wanted:
        return bound
    host, port = parse_address(wanted)
    if port == 0 and bound:
        port = parse_address(bound)[1]
    return format_address(host, port)
