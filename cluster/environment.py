"""The only door to the world: clocks, randomness and the network of one process or simulated node.

Whoever needs time, random numbers or a connection gets an `Environment` handed in; so the same
code runs for real and, under a virtual clock and from one seed, in simulation. No other module
reads a clock or entropy. Random numbers come in named streams, each a function of seed and name, so
that one more draw in one place changes nothing elsewhere.
"""

import hashlib
import os
import random
import time
from typing import Final, Protocol

import trio

from cluster.net.base import Transport

_SEED_BYTES: Final = 8


class Clock(Protocol):
    """A clock in seconds; `actors.testing.VirtualClock` is one."""

    def current_time(self) -> float:
        """The time, from an arbitrary start; it never goes back."""


class Environment(Protocol):
    """What a node or client sees of the world."""

    @property
    def transport(self) -> Transport:
        """The network."""

    def now(self) -> float:
        """Seconds on a clock that never goes back; the clock of all deadlines."""

    def wall_ms(self) -> int:
        """Wall clock, milliseconds since the epoch; may jump."""

    def random(self, name: str) -> random.Random:
        """A new generator of the stream `name`; the same name starts the same stream again."""


class RealEnvironment:
    """The machine's clocks, and entropy of the operating system unless a seed is given."""

    def __init__(self, seed: int | None, transport: Transport) -> None:
        self.seed: Final = int.from_bytes(os.urandom(_SEED_BYTES), "big") if seed is None else seed
        self._transport = transport

    @property
    def transport(self) -> Transport:
        """The network."""
        return self._transport

    def now(self) -> float:
        """Seconds on trio's clock."""
        return trio.current_time()

    def wall_ms(self) -> int:
        """The machine's wall clock."""
        return time.time_ns() // 1_000_000

    def random(self, name: str) -> random.Random:
        """A new generator of the stream `name`."""
        return random_stream(self.seed, name)


class SimulatedEnvironment:
    """A virtual clock and a seed; one per simulated node, each with its own error of the clock.

    Attributes:
        seed: of all random streams of this node.
        skew_ms: how far its wall clock is ahead; may be changed while the node runs.
    """

    def __init__(
        self, seed: int, transport: Transport, clock: Clock, wall_start_ms: int, skew_ms: int = 0
    ) -> None:
        self.seed: Final = seed
        self.skew_ms = skew_ms
        self._transport = transport
        self._clock = clock
        self._wall_start_ms = wall_start_ms

    @property
    def transport(self) -> Transport:
        """The network."""
        return self._transport

    def now(self) -> float:
        """Seconds on the virtual clock."""
        return self._clock.current_time()

    def wall_ms(self) -> int:
        """Wall clock at virtual time 0, plus virtual time, plus skew."""
        return self._wall_start_ms + int(self._clock.current_time() * 1000) + self.skew_ms

    def random(self, name: str) -> random.Random:
        """A new generator of the stream `name`."""
        return random_stream(self.seed, name)


def random_stream(seed: int, name: str) -> random.Random:
    """The generator that is a function of seed and name, on every machine and in every process."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=_SEED_BYTES).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311 - reproducible on purpose
