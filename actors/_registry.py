"""Names of actors: a path belongs to one cell until that cell has ended.

Paths look like `/n1/peers/n2`. A name without a leading slash is looked up among the siblings of
the one who asks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from actors._errors import NameTaken, NoSuchActor

if TYPE_CHECKING:
    from actors._cell import Cell

NAME: Final = re.compile(r"[A-Za-z0-9._:@\[\]-]{1,128}")


def join(parent: str, name: str) -> str:
    """The path of a child. An empty name adds no level.

    Raises:
        ValueError: If the name holds a slash, a space or anything else that would make a path
            ambiguous.
    """
    if not name:
        return parent
    if NAME.fullmatch(name) is None:
        raise ValueError(f"an actor's name is 1 to 128 of A-Z a-z 0-9 . _ : @ [ ] -, not {name!r}")
    return f"{parent}/{name}"


class Registry:
    """Cells by path, in the order they were made."""

    def __init__(self) -> None:
        self._cells: dict[str, Cell] = {}

    def add(self, path: str, cell: Cell) -> None:
        """Give a path to a cell.

        Raises:
            NameTaken: If it has an owner that has not ended.
        """
        if path in self._cells:
            raise NameTaken(f"{path} is the path of an actor that has not ended yet")
        self._cells[path] = cell

    def remove(self, path: str) -> None:
        """Free a path. Only the cell that has ended does this."""
        del self._cells[path]

    def find(self, path: str, beside: str = "") -> Cell:
        """The cell of an absolute path, or of one relative to the siblings of `beside`.

        Raises:
            NoSuchActor: If there is none.
        """
        full = path if path.startswith("/") else f"{beside.rpartition('/')[0]}/{path}"
        cell = self._cells.get(full)
        if cell is None:
            raise NoSuchActor(f"there is no actor {full}")
        return cell

    def cells(self) -> list[Cell]:
        """All cells, in the order they were made."""
        return list(self._cells.values())
