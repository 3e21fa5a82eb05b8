"""Rows → aligned columns, as kubectl prints them: three spaces between, none at the end of a line."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = field(default=())

    def text(self, gap: int = 3, header: bool = True) -> str:
        """Lines that end with a newline each; "" for no lines at all."""
        rows = (self.header, *self.rows) if header else self.rows
        widths = self.widths(rows)
        return "".join(_line(row, widths, gap) + "\n" for row in rows)

    def with_column(self, header: str, cells: Sequence[str], first: bool = False) -> Table:
        """One more column, at its end unless it is to be the first."""
        pairs = zip(self.rows, cells, strict=True)
        rows = tuple((cell, *row) if first else (*row, cell) for row, cell in pairs)
        return Table((header, *self.header) if first else (*self.header, header), rows)

    def widths(self, rows: Sequence[Sequence[str]]) -> tuple[int, ...]:
        return tuple(max((columns(cell) for cell in column), default=0) for column in zip(*rows, strict=True))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    return Table(tuple(header), tuple(tuple(row) for row in rows))


def _line(row: Sequence[str], widths: Sequence[int], gap: int) -> str:
    cells = (cell + " " * (width - columns(cell) + gap) for cell, width in zip(row, widths, strict=True))
    return "".join(cells).rstrip()


def columns(text: str) -> int:
    """Of a terminal: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else not unicodedata.combining(char) for char in text)
