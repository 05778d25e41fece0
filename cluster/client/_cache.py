"""The cache that programs use: get, set, delete and touch, one key at a time or in batches.

It turns arguments into operations and outcomes into results or errors. What happens in between is
the driver's and the core's.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import trio

from cluster.client._operation import (
    ControlOperation,
    DeleteOperation,
    Operation,
    ReadOperation,
    TouchOperation,
    WriteOperation,
)
from cluster.client._statistics import Statistics
from cluster.client._trio import Driver
from cluster.client.entry import Consistency, Entry, Stamp
from cluster.client.values import (
    Key,
    Serializer,
    ValueCodec,
    check_level,
    check_timeout,
    encode_key,
    encode_keys,
    expires_at,
    has_value,
    ttl_to_ms,
)
from cluster.core.record import ENCODING_MASK, FLAGS_AT, stamp_of
from cluster.errors import BatchError, ClusterError, InvalidValue, ValueTooLarge

__all__ = ["Cache"]

K = TypeVar("K", str, bytes, str | bytes)


class Cache:
    """A connected client. Made by `connect`; may be shared by any number of tasks.

    Every method takes `consistency` and `timeout` (seconds) for this one call, else those of
    `connect` hold.

    Every method raises, besides what it names: `Unavailable` (not enough owners, or no node, could
    be asked; nothing was done), `Timeout` (the outcome is unknown), `Overloaded`, `ClockSkew`,
    `Draining`, `InternalError`. A batch whose keys did not all succeed raises `BatchError` with
    what was done and what was not.
    """

    def __init__(
        self,
        driver: Driver,
        consistency: Consistency,
        timeout: float,
        serializer: Serializer | None,
    ) -> None:
        self._driver = driver
        self._now = driver.now
        self._consistency = consistency
        self._timeout_s = timeout
        self._values = ValueCodec(serializer)

    # ---------------------------------------------------------------- one key

    async def get(
        self,
        key: Key,
        default: Any = None,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the interface; no scope per call
    ) -> Any:
        """The value of a key, or `default` if it is absent, deleted or expired.

        Raises:
            InvalidKey: it is no key.
            InvalidValue: the value cannot be decoded.
        """
        operation = self._reading([encode_key(key)], consistency, timeout)
        await self._driver.run(operation)
        record = _single(operation.outcomes)
        return self._values.decode(record) if has_value(record) else default

    async def get_entry(
        self,
        key: Key,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> Entry | None:
        """The value of a key with its version, expiry and how it was read; None if there is none.

        Raises:
            InvalidKey: it is no key.
            InvalidValue: the value cannot be decoded.
        """
        operation = self._reading([encode_key(key)], consistency, timeout)
        await self._driver.run(operation)
        record = _single(operation.outcomes)
        if not has_value(record):
            return None
        return Entry(
            value=self._values.decode(record),
            stamp=Stamp(stamp_of(record)),
            expires_at=expires_at(record),
            level=operation.level,
            asked=operation.asked,
            answered=operation.answered,
            epoch=operation.epoch,
        )

    async def set(
        self,
        key: Key,
        value: Any,
        ttl: float | None = None,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> Stamp:
        """Store a value; returns its version.

        Args:
            key: `str` or `bytes`.
            value: `bytes`, `str`, or what msgpack or the plugged-in serializer carries.
            ttl: seconds until it expires; None: never.
            consistency: how many owners must have it before this returns.
            timeout: seconds.

        Raises:
            InvalidKey: it is no key.
            InvalidValue: the value or the ttl is not allowed.
            ValueTooLarge: it is larger than the nodes allow.
        """
        body = self._values.encode(value)
        if len(body) > self._body_bytes_max():
            raise self._too_large(key, body)
        level, deadline = self._how(consistency, timeout)
        ttl_ms = 0 if ttl is None else ttl_to_ms(ttl)
        operation = WriteOperation(level, deadline, [encode_key(key)], [body], ttl_ms)
        await self._driver.run(operation)
        return Stamp(_single(operation.outcomes))

    async def delete(
        self,
        key: Key,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> Stamp:
        """Delete a key, whether or not it is there; returns the version of the tombstone.

        Raises:
            InvalidKey: it is no key.
        """
        level, deadline = self._how(consistency, timeout)
        operation = DeleteOperation(level, deadline, [encode_key(key)])
        await self._driver.run(operation)
        return Stamp(_single(operation.outcomes))

    async def touch(
        self,
        key: Key,
        ttl: float,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> bool:
        """Let a key live until at least `ttl` seconds from now; False if it is not there.

        A touch never shortens a life and never overwrites a newer value.

        Raises:
            InvalidKey: it is no key.
            InvalidValue: the ttl is not allowed.
        """
        if ttl is None:
            raise InvalidValue("touch needs a ttl in seconds")
        level, deadline = self._how(consistency, timeout)
        operation = TouchOperation(level, deadline, [encode_key(key)], ttl_to_ms(ttl))
        await self._driver.run(operation)
        return bool(_single(operation.outcomes))

    # ---------------------------------------------------------------- batches

    async def get_many(
        self,
        keys: Iterable[K],
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> dict[K, Any]:
        """The values of those keys that have one, in the order of `keys`.

        Raises:
            InvalidKey: one of them is no key; nothing was read.
            BatchError: some keys could not be read.
        """
        asked = list(keys)
        encoded = encode_keys(asked)
        operation = self._reading(list(dict.fromkeys(encoded)), consistency, timeout)
        outcomes = await self._run_unique(encoded, operation)
        found: dict[K, Any] = {}
        errors: dict[K, ClusterError] = {}
        decode = self._values.decode
        for key, record in zip(asked, outcomes, strict=True):
            if type(record) is not bytes:
                if record is not None:
                    errors[key] = record
            elif record[FLAGS_AT] & ENCODING_MASK:
                try:
                    found[key] = decode(record)
                except InvalidValue as error:
                    errors[key] = error
        return _all_or_raise("get_many", found, errors, len(asked))

    async def set_many(
        self,
        items: Mapping[K, Any],
        ttl: float | None = None,
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> dict[K, Stamp]:
        """Store several values, in no order and no transaction; returns their versions.

        A `str` key and its UTF-8 bytes are the same key: of two such items the last one is written,
        and both are answered with its version.

        Raises:
            InvalidKey: one of them is no key; nothing was written.
            InvalidValue: a value or the ttl is not allowed; nothing was written.
            ValueTooLarge: a value is larger than the nodes allow; nothing was written.
            BatchError: some keys could not be written.
        """
        keys = list(items)
        encoded = encode_keys(keys)
        bodies = dict(zip(encoded, self._values.encode_all(items.values()), strict=True))
        columns = list(bodies), list(bodies.values())
        limit = self._body_bytes_max()
        if max(map(len, bodies.values()), default=0) > limit:
            raise next(self._too_large(*item) for item in bodies.items() if len(item[1]) > limit)
        ttl_ms = ttl_to_ms(ttl)
        level, deadline = self._how(consistency, timeout)
        operation = WriteOperation(level, deadline, *columns, ttl_ms)
        outcomes = await self._run_unique(encoded, operation)
        return _stamps("set_many", keys, outcomes)

    async def delete_many(
        self,
        keys: Iterable[K],
        *,
        consistency: Consistency | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> dict[K, Stamp]:
        """Delete several keys, there or not; returns the versions of the tombstones.

        Raises:
            InvalidKey: one of them is no key; nothing was deleted.
            BatchError: some keys could not be deleted.
        """
        asked = list(keys)
        encoded = encode_keys(asked)
        level, deadline = self._how(consistency, timeout)
        operation = DeleteOperation(level, deadline, list(dict.fromkeys(encoded)))
        outcomes = await self._run_unique(encoded, operation)
        return _stamps("delete_many", asked, outcomes)

    # ---------------------------------------------------------------- the cluster

    async def control(
        self,
        topic: str,
        /,
        *,
        node: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        **arguments: str | float | bool,
    ) -> Any:
        """Ask a node something by the control protocol, for tools.

        Args:
            topic: `status`, `members`, `ring`, `stats`, ...
            node: id or address of the node to ask; None: any.
            timeout: seconds.
            arguments: of the topic.

        Raises:
            InvalidValue: the node does not know the topic or refuses an argument.
        """
        _, deadline = self._how(None, timeout)
        operation = ControlOperation(
            Consistency.ONE, deadline, [b"control"], topic, arguments, node
        )
        await self._driver.run(operation)
        return _single(operation.outcomes)

    def statistics(self) -> Statistics:
        """Counters and the state of every connection."""
        return self._driver.core.statistics()

    # ---------------------------------------------------------------- inside

    def _how(
        self, consistency: Consistency | None, timeout_s: float | None
    ) -> tuple[Consistency, float]:
        """Level and deadline of one call."""
        level = self._consistency if consistency is None else check_level(consistency)
        wait_s = self._timeout_s if timeout_s is None else check_timeout(timeout_s)
        return level, self._now() + wait_s

    def _reading(
        self, keys: list[bytes], consistency: Consistency | None, timeout_s: float | None
    ) -> ReadOperation:
        level, deadline = self._how(consistency, timeout_s)
        return ReadOperation(level, deadline, keys)

    async def _run_unique(self, encoded: list[bytes], operation: Operation) -> list[Any]:
        """Run an operation of each key once; returns an outcome per key asked for."""
        if not encoded:
            await trio.lowlevel.checkpoint()
            return []
        await self._driver.run(operation)
        if len(operation.keys) == len(encoded):
            return operation.outcomes
        by_key = dict(zip(operation.keys, operation.outcomes, strict=True))
        return [by_key[key] for key in encoded]

    def _body_bytes_max(self) -> int:
        limit = self._driver.core.value_bytes_max
        assert limit is not None, "a cache is handed out once a node has answered"
        return limit + 1  # the encoding

    def _too_large(self, key: Key, body: bytes) -> ValueTooLarge:
        return ValueTooLarge(
            f"the value of key {key!r:.80} has {len(body) - 1} bytes; "
            f"the nodes store at most {self._driver.core.value_bytes_max}"
        )


def _single(outcomes: list[Any]) -> Any:
    outcome = outcomes[0]
    if type(outcome) is not bytes and isinstance(outcome, ClusterError):
        raise outcome
    return outcome


def _stamps(method: str, keys: list[K], outcomes: list[Any]) -> dict[K, Stamp]:
    """The stamp of every key; the keys of one request share one, nearly always."""
    if outcomes and type(outcomes[0]) is bytes and outcomes.count(outcomes[0]) == len(outcomes):
        return dict.fromkeys(keys, Stamp(outcomes[0]))
    made: dict[bytes, Stamp] = {}
    stamps: dict[K, Stamp] = {}
    errors: dict[K, ClusterError] = {}
    for key, outcome in zip(keys, outcomes, strict=True):
        if isinstance(outcome, ClusterError):
            errors[key] = outcome
            continue
        stamp = made.get(outcome)
        if stamp is None:
            stamp = made[outcome] = Stamp(outcome)
        stamps[key] = stamp
    return _all_or_raise(method, stamps, errors, len(keys))


def _all_or_raise(
    method: str, results: dict[K, Any], errors: dict[K, ClusterError], asked: int
) -> dict[K, Any]:
    if errors:
        key, first = next(iter(errors.items()))
        raise BatchError(
            f"{method}: {len(errors)} of {asked} keys failed, the first is {key!r:.80}: {first}",
            results,
            errors,
        )
    return results
