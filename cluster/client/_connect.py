"""How a program gets a `Cache`: one async context manager that owns every task of the client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from cluster.client._cache import Cache
from cluster.client._trio import FRAME_BYTES_MAX, Driver
from cluster.client.entry import Consistency
from cluster.client.values import Serializer, check_level, check_timeout
from cluster.environment import Environment, RealEnvironment
from cluster.errors import ConfigError
from cluster.net.addresses import parse_address
from cluster.net.base import ConnectionLimits
from cluster.net.websocket import WebSocketTransport
from cluster.wire.codec import CodecName

__all__ = ["connect"]

TIMEOUT_S_DEFAULT: Final = 2.0


@asynccontextmanager
async def connect(
    *seeds: str,
    codec: CodecName = "msgpack",
    consistency: Consistency = Consistency.QUORUM,
    timeout: float = TIMEOUT_S_DEFAULT,  # noqa: ASYNC109 - the default of all calls
    serializer: Serializer | None = None,
    environment: Environment | None = None,
) -> AsyncIterator[Cache]:
    """A client of the cluster that any of these nodes belongs to.

    It finds the other nodes by itself, and comes back to the seeds, for ever, whenever it has lost
    all others. Leaving the block closes every connection and fails the calls that still wait.

    Args:
        seeds: `host:port` of nodes, at least one.
        codec: `msgpack` or `json`, which is slower but readable on the wire.
        consistency: how many owners must answer, unless a call says otherwise.
        timeout: seconds for connecting, and for each call unless it says otherwise.
        serializer: encodes values that are neither `bytes` nor `str`, in place of msgpack.
        environment: clock, randomness and network; None: the real ones.

    Raises:
        Unavailable: no node answered within `timeout`; the message names each address with its
        reason. ConfigError: there is no seed, or one is no `host:port`, or the codec is unknown.
        InvalidValue: consistency or timeout are not allowed.
    """
    _check(seeds, codec, consistency, timeout)
    world = environment or _real_environment()
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        driver = Driver(seeds, world, nursery, codec)
        try:
            await driver.start(timeout)
            yield Cache(driver, consistency, timeout, serializer)
        except BaseException as error:  # noqa: BLE001 - raised below, without the nursery's group
            failure = error
        driver.close()
        nursery.cancel_scope.cancel("the client is closed")
    if failure is not None:
        raise failure


def _real_environment() -> Environment:
    limits = ConnectionLimits(frame_bytes_max=FRAME_BYTES_MAX)
    return RealEnvironment(None, WebSocketTransport(limits))


def _check(seeds: tuple[str, ...], codec: str, consistency: Consistency, timeout_s: float) -> None:
    check_level(consistency)
    check_timeout(timeout_s)
    if not seeds:
        raise ConfigError("connect needs the address of a node, like 127.0.0.1:7946")
    if codec not in ("msgpack", "json"):
        raise ConfigError(f"codec is msgpack or json, not {codec!r}")
    for seed in seeds:
        try:
            parse_address(seed)
        except ValueError as error:
            raise ConfigError(f"a seed is host:port: {error}") from None
