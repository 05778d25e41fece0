"""What every client command has in its hands: its options, its output, and the ways into a cluster.

The two ways in are fields, so that a test puts a dict there instead of a cluster.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import attrs

from cluster.cli.output import Output
from cluster.core.values import Level
from cluster.option_values import choice, duration_s, host_fixed_port, truth
from cluster.options import option

__all__ = ["AskNode", "ClientOptions", "Shell", "seconds"]

TARGET_DEFAULT: Final = "127.0.0.1:7946"
TIMEOUT_S_MAX: Final = 3600.0


def seconds(text: str) -> float:
    """Seconds above 0 of a duration; a bare number is seconds."""
    try:
        value = float(text)
    except ValueError:
        value = duration_s(text)
    if not 0 < value < float("inf"):
        raise ValueError(f"{text!r} is no time above 0; write 60, 60s or 5m")
    return value


def _timeout(text: str) -> float:
    value = seconds(text)
    if value > TIMEOUT_S_MAX:
        raise ValueError(f"{text!r} is too long; {TIMEOUT_S_MAX:.0f}s is the most")
    return value


@attrs.frozen(kw_only=True)
class ClientOptions:
    """Options that all client commands share."""

    targets: tuple[str, ...] = option(
        "target",
        host_fixed_port,
        "HOST:PORT",
        TARGET_DEFAULT,
        "a node of the cluster; repeatable, any node will do",
        repeatable=True,
    )
    """Nodes to begin with; the others are found from them."""

    timeout_s: float = option("timeout", _timeout, "DURATION", "2s", "time limit of one operation")
    """Seconds for connecting, and for each operation."""

    consistency: Level = option(  # noqa: RUF009 - makes an attrs field, not a value
        "consistency", choice(Level), "LEVEL", "QUORUM", "owners that must answer: ONE, QUORUM, ALL"
    )
    """Level of reads and writes."""

    as_json: bool = option("json", truth, "", "false", "print JSON", switch=True)
    """Whether data is printed as JSON."""


class AskNode(Protocol):
    """Asks one node one control question."""

    async def __call__(
        self, address: str, topic: str, arguments: Mapping[str, str | int], timeout_s: float
    ) -> Any:
        """The answer.

        Raises:
            ClusterError: the node cannot be reached, did not answer in time, or refused.
        """


@attrs.frozen
class Shell:
    """The surroundings of one command."""

    options: ClientOptions
    output: Output
    connect: Callable[..., AbstractAsyncContextManager[Any]]
    """`cluster.client.connect`, or what stands for it in a test."""
    ask_node: AskNode
    read_input: Callable[[], bytes]
    """All of standard input."""
    wall_s: Callable[[], float]
    """Seconds since the epoch."""

    def cache(self) -> AbstractAsyncContextManager[Any]:
        """A connected client with the options of this command."""
        return self.connect(
            *self.options.targets,
            consistency=self.options.consistency,
            timeout=self.options.timeout_s,
        )

    async def ask(self, address: str, topic: str, **arguments: str | int) -> Any:
        """Ask one node a control question within the time limit of the options."""
        return await self.ask_node(address, topic, arguments, self.options.timeout_s)
