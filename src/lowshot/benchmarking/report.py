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
    tests, spread = _tests(protocol, records), _spread(protocol, records)
    for table in (*tests, *spread):
        write_csv(table, root)
    differs = what_differs(protocol, records)
    _write(root / "tables.tex", latex_tables([*tables, *tests, *spread], differs).encode())
    pictures = [*chart_pictures(protocol, records, root), *picture_queries(protocol, records, cases, root, progress)]
    for picture in pictures:
        _write(root / "figures" / picture.name, picture.data)
    page = tables_page(
        title=protocol.name,
        summary=f"{protocol.summary}.",
        command=command(protocol, records),
        remarks=differs,
        tables=[*tables, *tests, *spread],
        pictures=pictures,
        origin=origin(records),
    )
    _write(root / "tables.html", page.encode())
    files = {"page": root / "tables.html", "LaTeX": root / "tables.tex", "figures": root / "figures"}
    return {what: str(path) for what, path in files.items()}


def _tests(protocol: Protocol, records: Sequence[Record]) -> list[Table]:
    found = (significance_table(part, own) for part, own in kinds(protocol, records))
    return [table for table in found if table is not None]


def _spread(protocol: Protocol, records: Sequence[Record]) -> list[Table]:
    return [
        spread_table(part, own, fold.name)
        for part, own in kinds(protocol, records)
        for fold in protocol.folds
        if any(record["fold"]["name"] == fold.name for record in own)
    ]


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
