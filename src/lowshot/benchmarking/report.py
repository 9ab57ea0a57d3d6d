"""What stands beside the tables of a benchmark: tests, spread over scans, figures, LaTeX, and all as one page."""

from collections.abc import Sequence
from pathlib import Path

from lowshot.atomic import atomic_path
from lowshot.benchmarking.cases import Cases
from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.comparison_table import significance_table
from lowshot.benchmarking.document import command, origin, what_differs
from lowshot.benchmarking.figures import chart_pictures
from lowshot.benchmarking.kinds import kinds
from lowshot.benchmarking.latex import latex_tables
from lowshot.benchmarking.query_pictures import picture_queries
from lowshot.benchmarking.selection import of_fold
from lowshot.benchmarking.spread_table import spread_table
from lowshot.progress import Progress
from lowshot.protocols.protocol import Protocol
from lowshot.reporting.tables import Table
from lowshot.reporting.tables_page import tables_page


def further_tables(protocol: Protocol, records: Sequence[Record]) -> list[Table]:
    """Those that would make a page of several protocols too long: every test, and the spread of every structure."""
    shown = list(kinds(protocol, records))
    tests = (significance_table(part, own) for part, own in shown)
    spread = [
        spread_table(part, own, fold.name) for part, own in shown for fold in protocol.folds if of_fold(own, fold.name)
    ]
    return [*filter(None, tests), *spread]


def write_report(
    protocol: Protocol, records: Sequence[Record], tables: Sequence[Table], cases: Cases, root: Path, progress: Progress
) -> dict[str, str]:
    """Write ``tables.tex`` and ``tables.html`` with these tables, and the files in ``figures/``; returns what is where.

    Nothing is written of no cell.

    Raises:
        OutputError: full disk, no permission.
    """
    if not records:
        return {}
    differs = what_differs(protocol, records)
    _write(root / "tables.tex", latex_tables(tables, differs).encode())
    pictures = [*chart_pictures(protocol, records, root), *picture_queries(protocol, records, cases, root, progress)]
    for picture in pictures:
        _write(root / "figures" / picture.name, picture.data)
    page = tables_page(
        title=protocol.name,
        summary=f"{protocol.summary}.",
        command=command(protocol, records),
        remarks=differs,
        tables=tables,
        pictures=pictures,
        origin=origin(records),
    )
    _write(root / "tables.html", page.encode())
    files = {"page": root / "tables.html", "LaTeX": root / "tables.tex", "figures": root / "figures"}
    return {what: str(path) for what, path in files.items()}


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
