"""The tables of a benchmark as files: ``tables.md`` for people, ``tables/*.csv`` for spreadsheets.

Means with their deviation are words there, too; every score in full precision stands in ``results.csv``.
"""

from collections.abc import Sequence
from pathlib import Path

from lowshot.atomic import atomic_path
from lowshot.benchmarking.cell import slug
from lowshot.reporting.tables import Table, to_csv


def write_tables(page: str, tables: Sequence[Table], folder: Path) -> dict[str, str]:
    """Write them, the page with all of them first; returns what is where, the result files included.

    Raises:
        OutputError: full disk, no permission.
    """
    with atomic_path(folder / "tables.md") as temporary:
        temporary.write_text(page, encoding="utf-8")
    for table in tables:
        write_csv(table, folder)
    files = {"tables": folder / "tables.md", "results": folder / "results.jsonl", "scores": folder / "results.csv"}
    return {what: str(path) for what, path in files.items()}


def write_csv(table: Table, folder: Path) -> None:
    """Write one table, named after its title, into ``tables/``.

    Raises:
        OutputError: full disk, no permission.
    """
    with atomic_path(folder / "tables" / f"{slug(table.title.partition('; ')[0])}.csv") as temporary:
        temporary.write_text(to_csv(table), encoding="utf-8")
