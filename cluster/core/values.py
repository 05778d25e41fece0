"""The small values that everything else is made of: identities, limits, partitions and levels.

Keys and stamps are plain `bytes`, boot ids and clock readings plain `int`: there are millions of
them, and they cross the wire as they are. What makes a `bytes` a key is the check at the edge
(`check_key`), done once, where it comes in from outside.

This module does not know records (`record`), clocks (`clock`) or who owns a partition
(`placement`).
"""

import enum
import random
import re
from typing import Final, TypeAlias

import xxhash

NodeId: TypeAlias = str
"""Configured, stable name of a node: 1 to 64 characters of letters, digits, `.`, `_`, `:`, `-`."""

BootId: TypeAlias = int
"""One life of a node's memory: 48 bits of milliseconds above 16 random bits."""

Stamp: TypeAlias = bytes
"""Version of a record: hybrid clock and boot id, 8 bytes big-endian each. Ordered as bytes."""

KEY_BYTES_MAX: Final = 1024
NODE_ID_CHARS_MAX: Final = 64
VIRTUAL_NODES_MIN: Final = 256
VIRTUAL_NODES_MAX: Final = 65_536
VIRTUAL_NODES_DEFAULT: Final = 1024

COUNTER_BITS: Final = 16
"""Low bits of a clock reading that count events within one millisecond."""

WALL_MS_MAX: Final = (1 << 48) - 1
"""Largest wall clock reading in milliseconds that fits a stamp: the year 10889."""

_HASH_BITS: Final = 64
_NODE_ID: Final = re.compile(rf"[A-Za-z0-9._:-]{{1,{NODE_ID_CHARS_MAX}}}")

hash_of = xxhash.xxh3_64_intdigest
"""The hash that places keys: 64-bit xxh3 of the key with seed 0. The same on every machine."""


class CoreError(ValueError):
    """Root of what the core raises about data from outside. Never raised itself."""


class InvalidKeyError(CoreError):
    """Raised for a key that is no bytes, empty or too long."""


class InvalidNodeIdError(CoreError):
    """Raised for a node id with characters or a length that are not allowed."""


class Level(enum.IntEnum):
    """How many owners of a key must have answered before an operation counts."""

    ONE = 1
    QUORUM = 2
    ALL = 3

    def needed(self, owners: int) -> int:
        """Number of answers this level waits for among `owners` replicas, alive or not."""
        if self is Level.ONE:
            return 1
        return quorum(owners) if self is Level.QUORUM else owners


def quorum(owners: int) -> int:
    """Smallest number of replicas of which any two choices share one: floor(n/2) + 1.

    `owners` counts the owners in the table, never those that happen to be alive.
    """
    assert owners >= 1, "a partition has at least one owner"
    return owners // 2 + 1


def check_key(key: bytes) -> bytes:
    """Returns `key` if it may be stored.

    Raises:
        InvalidKeyError: it is not `bytes` of 1 to `KEY_BYTES_MAX` bytes.
    """
    if type(key) is not bytes:
        raise InvalidKeyError(f"a key is bytes, not {type(key).__name__}")
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise InvalidKeyError(f"a key has 1 to {KEY_BYTES_MAX} bytes, not {len(key)}")
    return key


def check_node_id(node_id: str) -> NodeId:
    """Returns `node_id` if it may name a node.

    Raises:
        InvalidNodeIdError: it is no `str` of 1 to `NODE_ID_CHARS_MAX` of the allowed characters.
    """
    if type(node_id) is not str or _NODE_ID.fullmatch(node_id) is None:
        raise InvalidNodeIdError(
            f"a node id has 1 to {NODE_ID_CHARS_MAX} letters, digits, '.', '_', ':' or '-', "
            f"unlike {node_id!r:.80}"
        )
    return node_id


def new_boot_id(wall_ms: int, rng: random.Random, above: BootId = 0) -> BootId:
    """Makes the boot id of a life that starts now.

    Args:
        wall_ms: wall clock, milliseconds since the epoch.
        rng: source of the 16 random bits.
        above: highest boot id known of the same node; the new one is higher even if the wall clock
            was set back in between.

    Raises:
        ValueError: no 64-bit boot id is left above `above`.
    """
    ms = max(wall_ms, (above >> COUNTER_BITS) + 1)
    if not 0 < ms <= WALL_MS_MAX:
        raise ValueError(f"no boot id above {above} at wall clock {wall_ms} ms")
    return ms << COUNTER_BITS | rng.getrandbits(COUNTER_BITS)


def partition_shift(partitions: int) -> int:
    """Number of low hash bits that do not matter for the partition: 64 - log2(partitions).

    Raises:
        ValueError: `partitions` is no power of two from 1 to `VIRTUAL_NODES_MAX`.
    """
    if not 0 < partitions <= VIRTUAL_NODES_MAX or partitions & (partitions - 1):
        raise ValueError(f"partitions: a power of two to {VIRTUAL_NODES_MAX}, not {partitions}")
    return _HASH_BITS - (partitions.bit_length() - 1)


def partition_of(key: bytes, shift: int) -> int:
    """Partition of a key: the top bits of its hash. `shift` comes from `partition_shift`."""
    return hash_of(key) >> shift
