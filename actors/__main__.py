"""`python -m actors TRACE...`: look into trace files.

Files are read as streams and merged by time; only `--tree` (one chain) and `--stats` (one entry
an actor) keep anything. A bad or cut-off file is shown as far as it goes, and the exit status is 2.
"""

from __future__ import annotations

import argparse
import heapq
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Final

import attrs

from actors import _show_lines, _show_stats, _show_tree
from actors._errors import TraceFormatError
from actors._show_lines import Entry
from actors._trace import TraceRecord
from actors._trace_file import TraceReader

EXIT_BAD_FILE: Final = 2
EXIT_PIPE: Final = 141  # as a program that SIGPIPE has ended


def _id(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no id: ids are hexadecimal") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m actors", description="Show trace files of actor systems."
    )
    parser.add_argument("files", nargs="+", metavar="TRACE", help="trace files, one a node")
    parser.add_argument("--chain", type=_id, metavar="ID", help="only this request (hexadecimal)")
    parser.add_argument("--actor", metavar="PATH", help="only this actor and those below it")
    parser.add_argument("--type", metavar="T", help="only messages of this type")
    parser.add_argument("--node", metavar="N", help="only this node")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--tree", action="store_true", help="one request as a tree; needs --chain")
    shape.add_argument("--stats", action="store_true", help="statistics per actor")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


@attrs.frozen
class Filter:
    """Which entries are shown; None for any."""

    chain: int | None = None
    actor: str | None = None
    type: str | None = None
    node: str | None = None

    def lets(self, entry: Entry) -> bool:
        """Whether an entry is shown."""
        record = entry.record
        return (
            (self.chain is None or record.chain_id == self.chain)
            and (self.type is None or record.type == self.type)
            and (self.node is None or entry.node == self.node)
            and (self.actor is None or _below(record, self.actor.rstrip("/")))
        )


def _below(record: TraceRecord, path: str) -> bool:
    return record.actor == path or record.actor.startswith(f"{path}/")


def _entries(reader: TraceReader, errors: list[str]) -> Iterator[Entry]:
    """The entries of one file as far as it is good."""
    header = reader.header
    try:
        for record in reader:
            yield Entry(header.anchor_s + record.at, header.node, record)
    except TraceFormatError as error:
        errors.append(str(error))


def _output(entries: Iterable[Entry], args: argparse.Namespace) -> Iterator[str]:
    """The lines to print."""
    if args.tree:
        tree = _show_tree.gather(entries, args.chain)
        return _show_tree.as_json_lines(tree) if args.json else _show_tree.text(tree)
    if args.stats:
        sums = _show_stats.sum_up(entries)
        return _show_stats.as_json_lines(sums) if args.json else _show_stats.table(sums)
    return map(_show_lines.as_json if args.json else _show_lines.text, entries)


def _open(files: list[str], stack: ExitStack, errors: list[str]) -> list[TraceReader]:
    readers: list[TraceReader] = []
    for name in files:
        try:
            readers.append(stack.enter_context(TraceReader(name)))
        except OSError as error:
            errors.append(f"{name}: {error.strerror}")
        except TraceFormatError as error:
            errors.append(str(error))
    return readers


def main(argv: list[str] | None = None) -> int:
    """Print what was asked for; the exit status is 0, or 2 if a file was bad."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.tree and args.chain is None:
        parser.error("--tree shows one request: say which with --chain ID")
    wanted = Filter(args.chain, args.actor, args.type, args.node)
    errors: list[str] = []
    with ExitStack() as stack:
        streams = [_entries(reader, errors) for reader in _open(args.files, stack, errors)]
        merged = heapq.merge(*streams, key=lambda entry: entry.wall_s)
        try:
            for line in _output(filter(wanted.lets, merged), args):
                sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader (head, less) has left. Python would complain once more when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_PIPE
    for error in errors:
        sys.stderr.write(f"error: {error}\n")
    return EXIT_BAD_FILE if errors else 0


if __name__ == "__main__":
    sys.exit(main())
