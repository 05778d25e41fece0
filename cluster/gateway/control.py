"""The control face: answers questions about this node, by topic, for every way in.

The websocket sessions, HTTP and a simulated world all ask here, so they all show the same bodies.
An answer is gathered from the actors by asking them; nothing is kept here. Bodies are JSON-like:
None, bool, int, float, str, lists and mappings. Bytes that are no UTF-8 are `{"b64": ...}`.

What each topic answers is said at its method.
"""

import base64
import fnmatch
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import attrs
import trio

from actors import ActorSystem, AskError, AskFailed, AskRefused, AskTimeout, Ref, Request
from cluster.config import Config
from cluster.core import record as records
from cluster.core.metrics import Registry
from cluster.core.values import CoreError, Stamp
from cluster.environment import Environment
from cluster.errors import ClusterError, InternalError, InvalidValue, Overloaded, Timeout
from cluster.gateway.arguments import Arguments
from cluster.gateway.bodies import (
    ENCODING_NAMES,
    STATE_ALIVE,
    members_body,
    plain,
    ring_body,
    ring_head,
    stamp_text,
    text_or_b64,
    trace_row,
)
from cluster.gateway.metrics_page import latency_body, stats_body
from cluster.options import release
from cluster.services.local import (
    GetMembers,
    GetRecord,
    GetReplicatorStatistics,
    GetRing,
    RecordPage,
    RingStatus,
    ScanKeys,
)
from cluster.wire.handshake import PROTOCOL_VERSION

__all__ = ["ControlFace", "OwnCopy"]

R = TypeVar("R")
_Method: TypeAlias = Callable[[Arguments, float], Awaitable[Any]]

KEYS_LIMIT_DEFAULT: Final = 100
KEYS_LIMIT_MAX: Final = 1000
"""Keys of one page: with keys of 1,024 bytes a page is 1 MiB."""
KEYS_ASKS_MAX: Final = 64
"""Slices looked through for one page, before an unfinished page is answered with its cursor."""
RETRY_AFTER_S: Final = 1.0
TRACE_RECORDS_MAX: Final = 2000
"""Newest records of a chain that one answer holds."""


@attrs.frozen
class OwnCopy:
    """This node's own visible copy of a key."""

    value: bytes
    encoding: int
    stamp: Stamp
    expires_at_ms: int
    """Milliseconds since the epoch; 0: never."""


class ControlFace:
    """Answers control questions of one node.

    The actors are found by name below the root of the system: `ring_keeper`, `peers`, `replicator`.

    Attributes:
        registry: where the node counts.
        http_address: where HTTP is bound; empty: nowhere.
        timeout_s: how long a question may take if its asker has no limit.
    """

    def __init__(
        self,
        config: Config,
        system: ActorSystem,
        environment: Environment,
        registry: Registry,
        *,
        http_address: str = "",
    ) -> None:
        """Know where to ask.

        Args:
            config: of this node.
            system: of this node; its static actors exist already.
            environment: clocks.
            registry: where the node counts.
            http_address: where HTTP is bound; empty: nowhere.
        """
        self._config = config
        self._system = system
        self._environment = environment
        self.registry: Final = registry
        self.timeout_s: Final = config.request_timeout_s
        self.http_address: Final = http_address
        self._started_at = environment.now()
        self._topics: dict[str, _Method] = {
            "status": self._status,
            "members": self._members,
            "ring": self._ring,
            "stats": self._stats,
            "latency": self._latency,
            "record": self._record,
            "keys": self._keys,
            "config": self._configuration,
            "actors": self._actors,
            "trace": self._trace,
        }

    async def answer(self, topic: str, arguments: Mapping[str, Any], timeout_s: float) -> Any:
        """The body of a topic.

        Raises:
            InvalidValue: the topic is unknown or an argument is bad; the message names it.
            InvalidKey: the key is missing, empty or too long.
            Timeout: an actor did not answer in time.
            Overloaded: the mailbox of an actor is full.
            InternalError: an actor failed or has stopped.
        """
        method = self._topics.get(topic)
        if method is None:
            raise InvalidValue(f"unknown topic {topic!r:.80}; known: {', '.join(self._topics)}")
        try:
            with trio.fail_after(timeout_s):
                return await method(Arguments(topic, arguments), timeout_s)
        except trio.TooSlowError:
            raise Timeout(f"{topic}: no answer within {timeout_s:g} s") from None

    async def readiness(self, timeout_s: float) -> str:
        """Why this node does not serve; empty: it does."""
        return self._reason(await self._ask("ring_keeper", GetRing(), timeout_s))

    async def own_copy(self, key: bytes, timeout_s: float) -> OwnCopy | None:
        """This node's own copy of a key; None if absent, deleted or expired."""
        held = await self._ask("replicator", GetRecord(key), timeout_s)
        if held is None or not records.is_visible(held, self._environment.wall_ms()):
            return None
        return OwnCopy(
            value=records.value_of(held),
            encoding=records.flags_of(held) & records.ENCODING_MASK,
            stamp=records.stamp_of(held),
            expires_at_ms=records.expiry_of(held),
        )

    async def _status(self, given: Arguments, timeout_s: float) -> Any:
        """What this node says of itself: identity, ring, readiness, clock, sizes."""
        given.allow()
        ring = await self._ask("ring_keeper", GetRing(), timeout_s)
        members = await self._ask("peers", GetMembers(), timeout_s)
        held = await self._ask("replicator", GetReplicatorStatistics(), timeout_s)
        own = next((each for each in members if each.id == self._config.node_id), None)
        reason = self._reason(ring)
        return {
            "node": self._config.node_id,
            "boot": 0 if own is None else own.boot,
            "address": "" if own is None else own.address,
            "http": self.http_address,
            "cluster": self._config.cluster_name,
            "release": release(),
            "protocol": PROTOCOL_VERSION,
            "ready": not reason,
            "reason": reason,
            "ring": ring_head(ring.view),
            "members": len(members),
            "members_alive": sum(each.state == STATE_ALIVE for each in members),
            "records": held["records"],
            "bytes": held["records_bytes"],
            "wall_ms": self._environment.wall_ms(),
            "uptime_s": round(self._environment.now() - self._started_at, 3),
            "clock_offset_max_ms": self._config.clock_offset_max_ms,
        }

    async def _members(self, given: Arguments, timeout_s: float) -> Any:
        """Every member that this node knows, as it sees it."""
        given.allow()
        return members_body(await self._ask("peers", GetMembers(), timeout_s))

    async def _ring(self, given: Arguments, timeout_s: float) -> Any:
        """Who owns how much; with `key` also its partition and owners, the primary first."""
        given.allow("key", "key_b64")
        key = given.key() if given.has("key", "key_b64") else None
        status = await self._ask("ring_keeper", GetRing(), timeout_s)
        return ring_body(status, key)

    async def _stats(self, given: Arguments, timeout_s: float) -> Any:
        """Every metric."""
        given.allow()
        held = await self._ask("replicator", GetReplicatorStatistics(), timeout_s)
        return stats_body(self.registry, held)

    async def _latency(self, given: Arguments, _timeout_s: float) -> Any:
        """Histograms of operations by op."""
        given.allow()
        return latency_body(self.registry)

    async def _record(self, given: Arguments, timeout_s: float) -> Any:
        """This node's own copy of `key`; None if it holds none that is visible."""
        given.allow("key", "key_b64")
        copy = await self.own_copy(given.key(), timeout_s)
        if copy is None:
            return None
        return {
            "value": {"b64": base64.b64encode(copy.value).decode()},
            "encoding": ENCODING_NAMES[copy.encoding],
            "stamp": stamp_text(copy.stamp),
            "expires_at_ms": copy.expires_at_ms or None,
        }

    async def _keys(self, given: Arguments, timeout_s: float) -> Any:
        """A page of this node's own keys: `cursor`, `limit`, `prefix`, `match` (a glob)."""
        given.allow("cursor", "limit", "prefix", "prefix_b64", "match", "match_b64")
        limit = given.whole("limit", KEYS_LIMIT_DEFAULT, 1, KEYS_LIMIT_MAX)
        prefix, match = given.raw("prefix"), given.raw("match")
        like = _glob(match)
        cursor = given.text("cursor")
        keys: list[bytes] = []
        for _ in range(KEYS_ASKS_MAX):
            request = ScanKeys(cursor=cursor, limit=limit - len(keys), prefix=prefix)
            page: RecordPage = await self._ask("replicator", request, timeout_s)
            keys += [key for key in page.keys if like(key)]
            cursor = page.cursor
            if not cursor or len(keys) >= limit:
                break
        return {"keys": [text_or_b64(key) for key in keys], "cursor": cursor or None}

    async def _configuration(self, given: Arguments, _timeout_s: float) -> Any:
        """Every option of this node, with the unit in its name."""
        given.allow()
        return self._config.as_json()

    async def _actors(self, given: Arguments, _timeout_s: float) -> Any:
        """The tree of actors with state, queue and times."""
        given.allow()
        return plain(self._system.introspect())

    async def _trace(self, given: Arguments, _timeout_s: float) -> Any:
        """The newest records in memory of one request: `chain`, hexadecimal as it is printed."""
        given.allow("chain")
        chain = given.hexadecimal("chain")
        found = self._system.trace.chain(chain)
        return {
            "chain": f"{chain:x}",
            "records": [trace_row(each) for each in found[-TRACE_RECORDS_MAX:]],
            "left_off": max(0, len(found) - TRACE_RECORDS_MAX),
        }

    def _reason(self, ring: RingStatus) -> str:
        if ring.view is None:
            return f"no ring yet: {ring.known} members known" + (
                f", {ring.expected} expected"
                if ring.expected
                else ", looking for a cluster to join"
            )
        if ring.conflict:
            return f"the ring is in conflict: {ring.conflict}"
        if ring.view.member(self._config.node_id) is None:
            return "this node owns nothing in the ring"
        return ""

    async def _ask(self, name: str, request: Request[R], timeout_s: float) -> R:
        ref: Ref[Any] = self._system.ref(name)
        try:
            return await ref.ask(request, timeout_s=timeout_s)
        except AskTimeout as error:
            raise Timeout(str(error)) from error
        except AskRefused as error:
            raise Overloaded(str(error), RETRY_AFTER_S) from error
        except AskFailed as error:
            if isinstance(error.error, CoreError):
                raise InvalidValue(str(error.error)) from error
            if isinstance(error.error, ClusterError):
                raise error.error from error
            raise InternalError(str(error)) from error
        except AskError as error:
            raise InternalError(str(error)) from error


def _glob(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether a key is like the pattern: `*`, `?`, `[a-z]`, `[!a-z]`; nothing: every key is."""
    if not pattern:
        return lambda _: True
    # Latin-1 maps each byte to one character, so that this works on any bytes.
    found = re.compile(fnmatch.translate(pattern.decode("latin-1"))).match
    return lambda key: found(key.decode("latin-1")) is not None
