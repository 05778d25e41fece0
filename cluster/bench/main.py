"""The command: options to a plan, a progress bar, a report. Also `hypercache bench`.

Exit codes: 0 measured, 2 a bad option, 3 a cluster that does not start or answer, or an operation
that failed, 130 ended with Ctrl-C.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cluster.bench.contest import Plan, run
from cluster.bench.report import print_report
from cluster.bench.results import Results
from cluster.bench.workload import Cell, Kind
from cluster.errors import ClusterError

__all__ = ["main", "make_parser", "make_plan"]

EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 3
EXIT_STOPPED: Final = 130
IN_FLIGHT: Final = (1, 32, 128)
BATCHES: Final = (100, 1_000)
MEMORY_RECORDS: Final = 1_000_000
REFRESH_HZ: Final = 2
"""The bar shares the cores with what is measured."""

REPORT_COLUMNS: Final = 120
IN_FLIGHT_MAX: Final = 10_000
PORT_MAX: Final = 65_535
BATCH_MAX: Final = 10_000
VALUE_BYTES_MAX: Final = 1024 * 1024
KEYS_MAX: Final = 10_000_000
SECONDS_MAX: Final = 3_600.0
DATA_BYTES_MAX: Final = 8 * 1024**3
"""Of one copy: more would be a test of the machine's swap."""


def make_parser() -> argparse.ArgumentParser:
    """The options, with their limits."""
    parser = _Parser(
        prog="hypercache bench",
        description="Measure a cluster next to the bare stack: the same hops, no promises.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--target",
        action="append",
        metavar="HOST:PORT",
        type=_address,
        help="a node of a running cluster (repeatable); without it a private one of 3 processes. "
        "Implies --no-bare: ratios are for one machine",
    )
    add(
        "--workload",
        action="append",
        choices=[kind.value for kind in Kind],
        help="what to do (repeatable); without it all; mixed is half set, half get",
    )
    add(
        "--in-flight",
        action="append",
        type=partial(_whole, 1, IN_FLIGHT_MAX),
        metavar="N",
        help=f"calls in flight for single keys (repeatable); without it {IN_FLIGHT}",
    )
    add(
        "--batch",
        action="append",
        type=partial(_whole, 1, BATCH_MAX),
        metavar="N",
        help=f"keys per call of set_many and get_many (repeatable); without it {BATCHES}",
    )
    add(
        "--value-size",
        type=partial(_whole, 0, VALUE_BYTES_MAX),
        default=100,
        metavar="BYTES",
        help="bytes per value",
    )
    add("--keys", type=partial(_whole, 1, KEYS_MAX), default=100_000, help="number of keys")
    add("--seconds", type=_seconds, default=4.0, help="time per figure and side")
    add("--no-bare", action="store_true", help="leave out the bare stack, and with it all ratios")
    add("--only-bare", action="store_true", help="measure the bare stack alone")
    add(
        "--memory",
        nargs="?",
        type=partial(_whole, 1, KEYS_MAX),
        const=MEMORY_RECORDS,
        default=0,
        metavar="RECORDS",
        help=f"measure memory per record, with {MEMORY_RECORDS:,} unless said otherwise",
    )
    add("--log-dir", type=Path, metavar="DIR", help="keep what the nodes print and log there")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


def make_plan(options: argparse.Namespace) -> Plan:
    """The measurements that the options ask for.

    Given only `--in-flight`, batches are left out, and the other way round; given only `--memory`
    nothing else is measured.

    Raises:
        ValueError: options contradict each other; the message names them.
    """
    if options.no_bare and options.only_bare:
        raise ValueError("--no-bare and --only-bare leave nothing to measure")
    if options.target and (options.only_bare or options.memory):
        raise ValueError("--target does not go with --only-bare or --memory")
    if options.only_bare and options.memory:
        raise ValueError("--memory is about the product, --only-bare leaves it out")
    if options.keys * options.value_size > DATA_BYTES_MAX:
        raise ValueError(f"--keys times --value-size is above {DATA_BYTES_MAX:,} bytes")
    cells = _cells(options)
    if (largest := max((cell.batch for cell in cells), default=0)) > options.keys:
        raise ValueError(f"--batch {largest} needs at least as many --keys, not {options.keys}")
    return Plan(
        cells=cells,
        keys=options.keys,
        value_bytes=options.value_size,
        seconds=options.seconds,
        targets=options.target or (),
        product=bool(cells) and not options.only_bare,
        bare=not options.no_bare and not options.target and bool(cells),
        memory_records=options.memory,
        log_dir=options.log_dir,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report; the exit code."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        plan = make_plan(options)
    except ValueError as error:
        parser.error(str(error))
    failures: list[BaseException] = []
    try:
        results = _measure(plan)
    except* (ClusterError, OSError, KeyboardInterrupt) as group:
        failures.append(group)
    if failures:
        return _fail(failures[0])
    if options.json:
        sys.stdout.write(json.dumps(results.as_json()) + "\n")
    else:
        # What is piped has no width of its own; a terminal has, and the tables fit into 100.
        print_report(results, Console(width=None if sys.stdout.isatty() else REPORT_COLUMNS))
    return 0


def _measure(plan: Plan) -> Results:
    """Run the plan under a progress bar, which goes to standard error and leaves nothing there."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, refresh_per_second=REFRESH_HZ, transient=True) as bar:
        task = bar.add_task("starting", total=plan.steps)

        def begin(what: str, done: int) -> None:
            bar.update(task, description=what, completed=done)

        return trio.run(run, plan, begin)


def _fail(failure: BaseException) -> int:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    stopped = isinstance(failure, KeyboardInterrupt)
    sys.stderr.write(f"hypercache bench: {'stopped' if stopped else failure}\n")
    return EXIT_STOPPED if stopped else EXIT_UNAVAILABLE


def _cells(options: argparse.Namespace) -> list[Cell]:
    picked = options.workload or options.in_flight or options.batch
    if options.memory and not picked:
        return []
    kinds = [Kind(name) for name in options.workload or [kind.value for kind in Kind]]
    singles = options.in_flight or (() if options.batch else IN_FLIGHT)
    batches = options.batch or (() if options.in_flight else BATCHES)
    return [
        *(Cell(kind, in_flight, 0) for kind in kinds for in_flight in singles),
        *(Cell(kind, 1, batch) for kind in kinds for batch in batches if kind is not Kind.MIXED),
    ]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage that hides it."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def _whole(least: int, most: int, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} to {most:,}")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time above 0 up to {SECONDS_MAX:g} seconds"
        )
    return number


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is no address like 127.0.0.1:7946")
    return text
