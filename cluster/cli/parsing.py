"""The command line of `hypercache`: its subcommands and what each runs.

A client command gets the shared options (`--target` and so on) and a coroutine function to run with
a `Shell`. A program is another module of this package that brings its own command line (`node`,
`bench`): everything after its name is left to it.
"""

import argparse
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from cluster.cli.shell import ClientOptions, Shell
from cluster.options import LineParser, add_options, options_of, release

if TYPE_CHECKING:
    from argparse import _SubParsersAction

__all__ = ["PROGRAMS", "Commands", "Run", "command_line"]

Run: TypeAlias = Callable[[Shell, argparse.Namespace], Awaitable[int]]

PROGRAMS: Final[Mapping[str, tuple[str, str]]] = {
    "node": ("cluster.node", "run one node in the foreground"),
    "bench": ("cluster.bench", "measure a cluster, against the practical limit of its stack"),
}
"""Name of the command: the module to run as a program, and what it does."""

_EXIT_CODES: Final = (
    "Exit codes: 0 done, 1 not found, 2 usage, 3 unavailable or timeout.\n"
    "Client options can also come from HYPERCACHE_TARGET (comma-separated), HYPERCACHE_TIMEOUT,\n"
    "HYPERCACHE_CONSISTENCY and HYPERCACHE_JSON in the environment."
)


@attrs.define
class Commands:
    """The subcommands while they are being declared."""

    _subparsers: "_SubParsersAction[LineParser]"

    def add(self, name: str, run: Run, text: str) -> argparse.ArgumentParser:
        """Add a client command; its own arguments are added to the parser that is returned."""
        parser = self._subparsers.add_parser(name, help=text, description=text)
        parser.set_defaults(run=run)
        add_options(parser, options_of(ClientOptions))
        return parser

    def add_local(self, name: str, text: str) -> argparse.ArgumentParser:
        """Add a command that has no cluster to talk to."""
        return self._subparsers.add_parser(name, help=text, description=text)


def command_line() -> tuple[LineParser, Commands]:
    """The parser of the whole command, and the place to add subcommands."""
    parser = LineParser(
        prog="hypercache",
        description="HyperCache: a replicated in-memory key-value store.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"hypercache {release()}")
    add_options(parser, options_of(ClientOptions))
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, text) in PROGRAMS.items():
        # Only for the list of commands: `main` hands these over before it parses.
        subparsers.add_parser(name, help=f"{text} (python -m {module})", add_help=False)
    return parser, Commands(subparsers)
