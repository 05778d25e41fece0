"""Every error that HyperCache raises at its users: one root, one docstring each.

Three channels are never mixed: assertions for our bugs, replies (`core.operations.Failure`,
`Refused`) for expected refusals inside the cluster, and these exceptions where a caller has to be
told. A message names what happened, to whom (key, level, answered of asked) and what to do.
"""

from collections.abc import Mapping
from typing import Any

from cluster.core.operations import FailureCode

__all__ = [
    "BatchError",
    "ClockSkew",
    "ClusterError",
    "ConfigError",
    "ConnectionLost",
    "Draining",
    "HandshakeRefused",
    "InternalError",
    "InvalidKey",
    "InvalidValue",
    "NodeFailed",
    "NotOwner",
    "Overloaded",
    "ProtocolError",
    "Timeout",
    "Unavailable",
    "ValueTooLarge",
    "error_for",
]


class ClusterError(Exception):
    """Root of every error of this package."""

    executed: bool | None = False
    """Whether the operation may have taken effect: False certainly not, None unknown."""


class Unavailable(ClusterError):
    """Too few owners of the key are reachable for the level, or no node at all.

    Nothing was attempted.
    """


class Timeout(ClusterError):
    """The deadline passed.

    A write may or may not have taken effect; read it back or write again.
    """

    executed = None


class Overloaded(ClusterError):
    """A node reached one of its limits and refused at once.

    Nothing was attempted; try after `retry_after_s`.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ClockSkew(ClusterError):
    """A clock was further ahead than `clock_offset_max`.

    Nothing was attempted; set the clocks of the nodes.
    """


class Draining(ClusterError):
    """The node is leaving and takes no new requests. Nothing was attempted; another node will."""


class NotOwner(ClusterError):
    """The node asked has another ring than the one who asks.

    Nothing was attempted.
    """


class InvalidKey(ClusterError):
    """A key is empty, longer than 1,024 bytes, or neither `str` nor `bytes`."""


class InvalidValue(ClusterError):
    """A value cannot be encoded, or a ttl, level or timeout is out of its range."""


class ValueTooLarge(ClusterError):
    """A value is larger than the limit of the node (`--value-max`)."""


class InternalError(ClusterError):
    """A node failed while it worked on the request. A write may or may not have taken effect."""

    executed = None


class ProtocolError(ClusterError):
    """The other side sent what the protocol does not allow.

    The connection ends, nothing else does.
    """


class HandshakeRefused(ClusterError):
    """The other side refused the connection.

    Another cluster name, protocol version or number of partitions.
    """


class ConnectionLost(ClusterError):
    """A connection ended. Raised inside the transport; users see `Timeout` or `Unavailable`."""

    executed = None


class ConfigError(ClusterError):
    """An option is unknown, has a bad value, or contradicts another. The message names it."""


class NodeFailed(ClusterError):
    """A part of this node could not start, or failed for good; the node ends."""


class BatchError(ClusterError):
    """Some keys of a batch failed.

    Attributes:
        results: what was done, by key.
        errors: the error of each key that failed.
    """

    executed = None

    def __init__(
        self, message: str, results: Mapping[Any, Any], errors: Mapping[Any, ClusterError]
    ) -> None:
        super().__init__(message)
        self.results = dict(results)
        self.errors = dict(errors)


_BY_CODE: dict[FailureCode, type[ClusterError]] = {
    FailureCode.UNAVAILABLE: Unavailable,
    FailureCode.TIMEOUT: Timeout,
    FailureCode.OVERLOADED: Overloaded,
    FailureCode.CLOCK_SKEW: ClockSkew,
    FailureCode.DRAINING: Draining,
    FailureCode.NOT_OWNER: NotOwner,
    FailureCode.INVALID: InvalidValue,
    FailureCode.VALUE_TOO_LARGE: ValueTooLarge,
    FailureCode.INTERNAL: InternalError,
}


def error_for(code: FailureCode, message: str, retry_after_s: float = 0.0) -> ClusterError:
    """The exception for a failure that a node answered."""
    if code is FailureCode.OVERLOADED:
        return Overloaded(message, retry_after_s)
    return _BY_CODE[code](message)
