"""Entry of the `hypercache` command: parse, run one command, turn its end into an exit code."""

import argparse
import os
import runpy
import sys
import time
from collections.abc import Sequence

import trio

from cluster.cli import data, dev, doctor, survey
from cluster.cli.control_link import ask_node
from cluster.cli.exits import DONE, INTERRUPTED, USAGE, exit_code
from cluster.cli.output import Output
from cluster.cli.parsing import PROGRAMS, command_line
from cluster.cli.shell import ClientOptions, Shell
from cluster.client import connect
from cluster.config import refuse_unknown_variables
from cluster.errors import ClusterError, ConfigError
from cluster.options import LineParser, resolve

__all__ = ["main", "parser", "run_command"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in PROGRAMS:
        return _run_program(given[0], given[1:])
    try:
        refuse_unknown_variables(os.environ)
        parsed = parser().parse_args(given)
        options = resolve(ClientOptions, vars(parsed), os.environ)
        return _run(parsed, options)
    except ConfigError as error:
        sys.stderr.write(f"hypercache: {error}\n")
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has enough; nothing of it is lost on anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def parser() -> LineParser:
    """The whole command line."""
    made, commands = command_line()
    dev.add_commands(commands)
    data.add_commands(commands)
    survey.add_commands(commands)
    doctor.add_commands(commands)
    return made


async def run_command(shell: Shell, arguments: argparse.Namespace) -> int:
    """Run one client command; an error is told and becomes the exit code."""
    try:
        code: int = await arguments.run(shell, arguments)
    except ClusterError as error:
        shell.output.error(error)
        return exit_code(error)
    return code


def _run(arguments: argparse.Namespace, options: ClientOptions) -> int:
    if arguments.command in PROGRAMS:
        raise ConfigError(f"{arguments.command}: its options come after the name, none before")
    if arguments.command == "dev":
        return trio.run(dev.run, arguments)
    shell = Shell(
        options=options,
        output=Output(
            data=sys.stdout.buffer,
            remarks=sys.stderr,
            as_json=options.as_json,
            for_people=sys.stdout.isatty(),
        ),
        connect=connect,
        ask_node=ask_node,
        read_input=sys.stdin.buffer.read,
        wall_s=time.time,
    )
    return trio.run(run_command, shell, arguments)


def _run_program(name: str, arguments: Sequence[str]) -> int:
    """Run a module as `python -m` would; it ends with its own exit code."""
    module = PROGRAMS[name][0]
    sys.argv = [f"hypercache {name}", *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return DONE
