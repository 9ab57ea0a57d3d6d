"""One self-contained HTML page of tables and charts, in the look of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

from lowshot.reporting.html import environment
from lowshot.reporting.tables import Table

OPEN_ROWS = 40
"""A table of more rows is folded up."""


@dataclass(frozen=True)
class Picture:
    """A chart or picture, as a file has it."""

    name: str
    """Of its file."""
    title: str
    caption: str
    """How to read it; also what is said to who cannot see it."""
    data: bytes

    @property
    def media_type(self) -> str:
        """What the bytes are."""
        return "image/svg+xml" if self.name.endswith(".svg") else "image/png"


def tables_page(
    title: str,
    summary: str,
    command: str,
    remarks: Sequence[str],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    origin: str,
) -> str:
    """HTML of it all; pictures are in the page itself.

    Args:
        title: the heading.
        summary: one sentence.
        command: what makes the tables again.
        remarks: what the reader has to know, one sentence each.
        tables: each under its own title.
        pictures: below the tables.
        origin: where the figures come from.
    """
    return (
        environment()
        .get_template("tables.html")
        .render(
            title=title,
            summary=summary,
            command=command,
            remarks=remarks,
            tables=tables,
            pictures=pictures,
            origin=origin,
            open_rows=OPEN_ROWS,
        )
    )
