"""How commands print: tables for people, tab-separated lines in a pipe, JSON on request.

Data goes to standard output and nothing else does, so that a pipe gets exactly the data; remarks
and errors go to standard error. Keys and values can be any bytes: what is no UTF-8 is written as it
is into a pipe or file, and as `{"b64": ...}` in JSON.
"""

import base64
import json
from collections.abc import Sequence
from typing import Any, BinaryIO, TextIO

import attrs
from rich.console import Console
from rich.table import Table

from cluster.errors import BatchError, ClusterError

__all__ = ["Output", "json_ready", "readable"]


def json_ready(value: Any) -> Any:
    """The same value with bytes as text if they are UTF-8, else as `{"b64": ...}`; any depth."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {_json_key(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return value


def readable(value: Any) -> str:
    """One cell of a table: text as it is, bytes with escapes where they are no UTF-8, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return "-" if value is None else json.dumps(json_ready(value), ensure_ascii=False)


def _json_key(key: Any) -> str:
    return key if isinstance(key, str) else readable(key)


@attrs.frozen
class Output:
    """Where a command prints, and how."""

    data: BinaryIO
    remarks: TextIO
    as_json: bool
    for_people: bool
    """Whether standard output is a terminal."""

    def json(self, value: Any) -> None:
        """Print one JSON document on a line of its own."""
        self.line(json.dumps(json_ready(value), ensure_ascii=False))

    def line(self, text: str) -> None:
        """Print a line of data."""
        self.data.write(text.encode(errors="surrogateescape") + b"\n")
        self.data.flush()

    def raw(self, value: Any) -> None:
        """Print a value: bytes exactly, text with a newline, anything else as JSON."""
        if isinstance(value, bytes):
            self.data.write(value)
            if self.for_people:
                self.data.write(b"\n")
            self.data.flush()
        elif isinstance(value, str):
            self.line(value)
        else:
            self.json(value)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
        """Print rows: a table for people, else a line of column names and tab-separated lines."""
        if not self.for_people:
            for row in (columns, *rows):
                self.line("\t".join(readable(cell) for cell in row))
            return
        table = Table(*columns, title=title or None, title_justify="left")
        for row in rows:
            # A cell is data, never markup: a key may well look like `[red]`.
            table.add_row(*(_plain(readable(cell)) for cell in row))
        console = Console()
        with console.capture() as captured:
            console.print(table)
        self.line(captured.get().rstrip("\n"))

    def remark(self, text: str) -> None:
        """Tell a person something that is no data."""
        self.remarks.write(f"hypercache: {text}\n")

    def error(self, error: ClusterError) -> None:
        """Tell what went wrong: one line, in JSON if that was asked for."""
        if self.as_json:
            shown: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
            if isinstance(error, BatchError):
                shown["keys"] = {
                    readable(key): f"{type(each).__name__}: {each}"
                    for key, each in error.errors.items()
                }
            self.remarks.write(json.dumps(shown, ensure_ascii=False) + "\n")
        else:
            self.remark(f"{type(error).__name__}: {error}")


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
