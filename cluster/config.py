"""The configuration of one node: every option that exists, its unit, limits and meaning.

`Config` is the option table (see `options`): a field is an option, and flags, environment
variables, TOML keys and `--help` are made from it. `load` reads all sources and refuses, in one
line, whatever is unknown, malformed or contradictory. After that the object never changes; it can
be handed to anyone.

An option is listed here only once it does something.
"""

import os
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from cluster.core.placement import WEIGHT_MAX, WEIGHT_MIN
from cluster.core.ring import MEMBERS_MAX
from cluster.core.values import (
    NODE_ID_CHARS_MAX,
    VIRTUAL_NODES_DEFAULT,
    VIRTUAL_NODES_MAX,
    VIRTUAL_NODES_MIN,
)
from cluster.errors import ConfigError
from cluster.option_values import (
    between,
    duration_ms,
    duration_s,
    host_fixed_port,
    host_port,
    is_wildcard,
    name,
    name_or_nothing,
    number,
    off_or,
    one_of,
    path,
    port_of,
    power_of_two,
    size_bytes,
    whole,
)
from cluster.options import (
    ENVIRONMENT_PREFIX,
    LineParser,
    add_options,
    option,
    options_of,
    read_toml,
    release,
    resolve,
    unknown_variables,
)

__all__ = ["CLIENT_VARIABLES", "Config", "load", "node_parser", "refuse_unknown_variables"]

REPLICATION_FACTOR_MAX: Final = 16
FRAME_VALUES_MIN: Final = 2
"""A frame must hold this many values of the largest size: the value itself, base64 under the JSON
codec, and envelope."""

CONFIG_VARIABLE: Final = ENVIRONMENT_PREFIX + "CONFIG"
CLIENT_VARIABLES: Final = frozenset(
    ENVIRONMENT_PREFIX + each for each in ("TARGET", "TIMEOUT", "JSON", "CONSISTENCY")
)
"""Variables of the client commands: a shell that has them set can start a node all the same."""


@attrs.frozen(kw_only=True)
class Config:
    """All options of a node. Built by `load`, or directly with keyword arguments in tests."""

    node_id: str = option(
        "node-id",
        name,
        "NAME",
        None,
        "stable name of this node",
        unset="host name and port of --bind",
        empty="",
    )
    """Stable name of the node: it owns its share of the ring under this name, in this life and the
    next ones. Letters, digits and `. _ : -`, 1 to 64. Two nodes of one cluster never share it.
    Default: `<host name>-<port of bind>`; with port 0 the process id stands for the port, since
    nothing about such a node is stable."""

    cluster_name: str = option("cluster-name", name, "NAME", "default", "name of the cluster")
    """Nodes and clients of another cluster name are refused in the handshake, so that two clusters
    never merge by a mistyped seed."""

    bind: str = option(
        "bind",
        host_port,
        "HOST:PORT",
        "127.0.0.1:7946",
        "where peers and clients connect; port 0 picks a free one",
    )
    """Address of the websocket port. IPv6 as `[::1]:7946`. Port 0 takes a free port, printed in the
    `listening` line."""

    advertise: str = option(
        "advertise",
        host_port,
        "HOST:PORT",
        None,
        "address that others dial to reach this node",
        unset="the bound address",
        empty="",
    )
    """Address handed to peers and clients. Needed when `bind` is a wildcard, which names no
    machine. Port 0 stands for the port that was bound. Empty in the object: the bound address."""

    seeds: tuple[str, ...] = option(
        "seed",
        host_fixed_port,
        "HOST:PORT",
        None,
        "another node of the cluster; repeatable",
        unset="none",
        repeatable=True,
        empty=(),
    )
    """Where to look for the cluster. Names are resolved at every dial; seeds are tried for ever."""

    bootstrap_expect: int | None = option(
        "bootstrap-expect",
        between(whole, "1", str(MEMBERS_MAX)),
        "N",
        None,
        "found a new cluster once N members know each other",
        unset="found alone without seeds, else join",
    )
    """Members that found the cluster together. Unset: with seeds the node only joins, without it is
    a cluster of one."""

    http: str | None = option(
        "http", off_or(host_port), "HOST:PORT", "127.0.0.1:8946", "management port, or off"
    )
    """Address of the HTTP port: health, metrics, members, ring. None: no HTTP."""

    replication_factor: int = option(
        "replication-factor",
        between(whole, "1", str(REPLICATION_FACTOR_MAX)),
        "N",
        "3",
        "copies of every key",
    )
    """Copies of every record, on distinct nodes; fewer while there are fewer members. A quorum is
    floor(n/2)+1 of n = min(replication factor, members). The same on all nodes: the handshake
    refuses a difference."""

    virtual_nodes: int = option(
        "virtual-nodes",
        between(power_of_two, str(VIRTUAL_NODES_MIN), str(VIRTUAL_NODES_MAX)),
        "N",
        str(VIRTUAL_NODES_DEFAULT),
        "partitions of the whole cluster, a power of two",
    )
    """Partitions of the hash ring, in the whole cluster, 256 to 65,536. The same on all nodes.
    Balance is within 5 % as long as each node gets a few dozen copies: virtual_nodes *
    replication_factor / nodes."""

    zone: str = option(
        "zone", name_or_nothing, "NAME", "", "failure domain; copies go to distinct zones"
    )
    """Replicas of a partition are placed in distinct zones where there are enough of them."""

    weight: float = option(
        "weight",
        between(number, str(WEIGHT_MIN), str(WEIGHT_MAX)),
        "NUMBER",
        "1.0",
        "share of this node relative to the others",
    )
    """A node of weight 2 owns twice the copies of one of weight 1, up to one copy per partition."""

    request_timeout_s: float = option(
        "request-timeout",
        between(duration_s, "1ms", "1h"),
        "DURATION",
        "2s",
        "time limit of one HTTP request",
    )
    """Seconds that a request to the management port may take, the questions to actors that it needs
    included. Requests over the websocket, for data and management, carry a deadline of their
    client's."""

    value_max_bytes: int = option(
        "value-max", between(size_bytes, "1B", "64MiB"), "SIZE", "1MiB", "largest value"
    )
    """Largest value in bytes, as the client encoded it. A larger one is refused with
    `ValueTooLarge`."""

    frame_max_bytes: int = option(
        "frame-max",
        between(size_bytes, "64KiB", "256MiB"),
        "SIZE",
        "4MiB",
        "largest frame on a link",
    )
    """Largest websocket message in bytes; nothing larger is ever read or allocated. At least 2 *
    value_max."""

    clock_offset_max_ms: int = option(
        "clock-offset-max",
        between(duration_ms, "1ms", "1h"),
        "DURATION",
        "500ms",
        "how far another clock may be ahead",
    )
    """Milliseconds that a peer's clock may be ahead of this node's before its stamps are refused; a
    client's: half of it."""

    codec: str = option(
        "codec",
        one_of("msgpack", "json"),
        "NAME",
        "msgpack",
        "encoding of frames to peers: msgpack or json",
    )
    """Encoding of the frames that this node dials out with. What it answers follows the other
    side."""

    trace: str | None = option(
        "trace", path, "FILE", None, "write the actor trace log to this file", unset="memory only"
    )
    """File for the trace of all actors (read it with `python -m actors`). Unset: only the flight
    recorder in memory."""

    trace_sample: float = option(
        "trace-sample",
        between(number, "0", "1"),
        "SHARE",
        "1.0",
        "share of request chains written to --trace",
    )
    """Share of chains in the trace file, 0 to 1, chosen by a hash of the chain id, so all nodes
    choose the same."""

    log_level: str = option(
        "log-level",
        one_of("debug", "info", "warning", "error"),
        "LEVEL",
        "info",
        "least severe log lines: debug, info, warning, error",
    )
    """Least severity of the lines on standard error."""

    log_format: str = option(
        "log-format",
        one_of("text", "json"),
        "FORMAT",
        "text",
        "log lines for people (text) or machines (json)",
    )
    """`text` for people, `json` (one object a line) for machines. Each line carries the node id."""

    @property
    def founders(self) -> int:
        """Members that found the cluster together; 0: this node only joins one that exists."""
        if self.bootstrap_expect is not None:
            return self.bootstrap_expect
        return 0 if self.seeds else 1

    def validate(self) -> None:
        """Check the relations between options.

        Raises:
            ConfigError: one line that names both options.
        """
        if is_wildcard(self.bind) and not self.advertise:
            raise ConfigError(
                f"--advertise: needed because --bind {self.bind} is every interface "
                "and names no machine"
            )
        if self.advertise and is_wildcard(self.advertise):
            raise ConfigError(
                f"--advertise: {self.advertise} is every interface and names no machine"
            )
        if self.frame_max_bytes < FRAME_VALUES_MIN * self.value_max_bytes:
            raise ConfigError(
                f"--frame-max: {self.frame_max_bytes} bytes are too few for --value-max "
                f"{self.value_max_bytes} bytes; a frame needs {FRAME_VALUES_MIN} times a value"
            )
        if self.http is not None and port_of(self.http) and self.http == self.bind:
            raise ConfigError(f"--http: {self.http} is the address of --bind")

    def as_json(self) -> dict[str, Any]:
        """Every option by its TOML key, as plain data with the unit in the name of the field."""
        shown: dict[str, Any] = {}
        for each in options_of(type(self)):
            value = getattr(self, each.field)
            shown[each.field] = list(value) if isinstance(value, tuple) else value
        return shown


def node_parser(prog: str) -> LineParser:
    """The command line of a node."""
    parser = LineParser(
        prog=prog,
        description="Run one HyperCache node in the foreground. "
        "SIGTERM or SIGINT stop it in order.",
        epilog="Every option can also come from HYPERCACHE_<OPTION> in the environment (lists\n"
        "comma-separated) or from the TOML file of --config (dashes as underscores); the flag\n"
        "wins, then the environment.\n"
        "Durations: 250ms, 2s, 5m, 3h. Sizes: 512B, 64KiB, 1MiB.",
    )
    parser.add_argument("--version", action="version", version=f"hypercache {release()}")
    parser.add_argument(
        "--config", default=None, metavar="FILE", help="TOML file with options (default: none)"
    )
    add_options(parser, options_of(Config))
    return parser


def load(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    host_name: str = "",
    prog: str = "python -m cluster.node",
) -> Config:
    """The configuration from command line arguments, environment and the TOML file they name.

    `--help` and `--version` print and raise `SystemExit(0)`.

    Raises:
        ConfigError: one line that names the option or key, and where it was written.
    """
    flags = vars(node_parser(prog).parse_args(list(arguments)))
    refuse_unknown_variables(environment)
    file_name = flags.get("config") or environment.get(CONFIG_VARIABLE)
    toml = read_toml(file_name) if file_name else {}
    config = resolve(Config, flags, environment, toml, file_name or "")
    if not config.node_id:
        config = attrs.evolve(config, node_id=_default_node_id(config.bind, host_name))
    config.validate()
    return config


def refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Refuse a `HYPERCACHE_` variable that means nothing: it is most likely misspelt.

    Raises:
        ConfigError: naming the variable.
    """
    for each in unknown_variables(options_of(Config), environment):
        if each != CONFIG_VARIABLE and each not in CLIENT_VARIABLES:
            raise ConfigError(f"{each}: no option has this name; unset it (--help lists them)")


def _default_node_id(bind: str, host_name: str) -> str:
    suffix = f"-{port_of(bind) or os.getpid()}"
    host = re.sub(r"[^A-Za-z0-9._-]", "-", host_name or socket.gethostname()) or "node"
    return host[: NODE_ID_CHARS_MAX - len(suffix)] + suffix
