"""What stands beside the tables of a benchmark: spread over scans, figures, ``tables.tex``, and all as one page."""

from collections.abc import Sequence
from pathlib import Path

from lowshot.atomic import atomic_path
from lowshot.benchmarking.cases import Cases
from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.document import command, origin, what_differs
from lowshot.benchmarking.figures import chart_pictures
from lowshot.benchmarking.latex import latex_tables
from lowshot.benchmarking.query_pictures import picture_queries
from lowshot.benchmarking.spread_table import spread_table
from lowshot.benchmarking.write import write_csv
from lowshot.progress import Progress
from lowshot.protocols.protocol import Protocol
from lowshot.reporting.tables import Table
from lowshot.reporting.tables_page import tables_page


def write_report(
    protocol: Protocol, records: Sequence[Record], tables: Sequence[Table], cases: Cases, root: Path, progress: Progress
) -> dict[str, str]:
    """Write ``tables.tex``, ``tables.html`` and the files in ``figures/``; returns what is where. Nothing of no cell.

    Raises:
        OutputError: full disk, no permission.
    """
    if not records:
        return {}
    folds = [fold.name for fold in protocol.folds if any(r["fold"]["name"] == fold.name for r in records)]
    spread = [spread_table(protocol, records, fold) for fold in folds]
    for table in spread:
        write_csv(table, root)
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
        tables=[*tables, *spread],
        pictures=pictures,
        origin=origin(records),
    )
    _write(root / "tables.html", page.encode())
    files = {"page": root / "tables.html", "LaTeX": root / "tables.tex", "figures": root / "figures"}
    return {what: str(path) for what, path in files.items()}


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
