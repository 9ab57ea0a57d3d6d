"""One model of a table, and what it becomes: a terminal table, Markdown, or CSV."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Cell = str | int | float | None
NOTHING = "–"
"""Shown for None and NaN in a column of numbers."""


@dataclass(frozen=True)
class Column:
    """Heading of a column; with ``digits``, how many decimals its numbers show."""

    heading: str
    digits: int = 3
    numeric: bool = True
    """Numbers are aligned to the right, words to the left."""


@dataclass(frozen=True)
class Table:
    """Plain cells under headings."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows} - {len(self.columns)}
        if widths:
            raise ValueError(f"table {self.title!r}: {len(self.columns)} columns, but a row of {widths.pop()} cells")

    @property
    def text(self) -> tuple[tuple[str, ...], ...]:
        """The cells as a reader sees them."""
        return tuple(tuple(map(_shown, row, self.columns)) for row in self.rows)

    def without_empty(self, *headings: str) -> "Table":
        """The table without those of the named columns that say nothing in any row."""
        cells = [[row[at] for row in self.rows] for at in range(len(self.columns))]
        kept = [
            at
            for at, column in enumerate(self.columns)
            if column.heading not in headings or not all(_is_nothing(cell) for cell in cells[at])
        ]
        rows = tuple(tuple(row[at] for at in kept) for row in self.rows)
        return Table(tuple(self.columns[at] for at in kept), rows, self.title)


def mean_and_spread(mean: float, std: float, digits: int = 3) -> str:
    """``0.912 ± 0.034``; the mean alone where a spread is not defined."""
    if math.isnan(mean):
        return NOTHING
    return f"{mean:.{digits}f}" if math.isnan(std) else f"{mean:.{digits}f} ± {std:.{digits}f}"


def to_markdown(table: Table) -> str:
    """A pipe table, with its title above in bold."""
    rule = ["--:" if column.numeric else ":--" for column in table.columns]
    lines = [[_markdown(column.heading) for column in table.columns], rule]
    lines += [[_markdown(cell) for cell in row] for row in table.text]
    title = f"**{_markdown(table.title)}**\n\n" if table.title else ""
    return title + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def to_csv(table: Table) -> str:
    """Comma-separated values, numbers in full precision, words as they are; None and NaN are empty, titles left out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.heading for column in table.columns])
    writer.writerows([["" if _is_nothing(cell) else cell for cell in row] for row in table.rows])
    return text.getvalue()


def to_terminal(table: Table) -> "RichTable":
    """A table that a rich console prints."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=Text(table.title) if table.title else None, box=SIMPLE_HEAD, title_justify="left")
    for column in table.columns:
        drawn.add_column(Text(column.heading), justify="right" if column.numeric else "left", overflow="fold")
    for row in table.text:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def _shown(cell: Cell, column: Column) -> str:
    if _is_nothing(cell):
        return NOTHING if column.numeric else ""
    return f"{cell:.{column.digits}f}" if isinstance(cell, float) else str(cell)


def _is_nothing(cell: Cell) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


def _markdown(text: str) -> str:
    escaped: Sequence[tuple[str, str]] = (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("\n", " "), ("*", "\\*"))
    for character, replacement in escaped:
        text = text.replace(character, replacement)
    return text
