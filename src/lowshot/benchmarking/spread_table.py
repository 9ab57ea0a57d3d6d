"""How the scores of every structure are spread over scans: mean, deviation and range, and over all structures."""

from collections.abc import Sequence

from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.measures import MEASURES
from lowshot.benchmarking.results import Row, rows
from lowshot.benchmarking.scans import by_scan
from lowshot.benchmarking.selection import of_fold, present
from lowshot.evaluation.statistics import Summary
from lowshot.evaluation.summary import ALL_STRUCTURES
from lowshot.protocols.protocol import Measure, Protocol
from lowshot.reporting.tables import Cell, Column, Table


def spread_table(protocol: Protocol, records: Sequence[Record], fold: str) -> Table:
    """One line for each system and structure, over scans; each scan is the mean over the seeds that are finished.

    Over all structures: the mean over structures within each scan first.
    """
    here = of_fold(records, fold)
    columns = [Column("system", numeric=False), Column("structure", numeric=False), Column("scans", 0)]
    for measure in protocol.measures:
        heading, digits = MEASURES[measure].heading, MEASURES[measure].digits
        columns += [Column(f"{heading} {of}", digits) for of in ("mean", "deviation", "lowest", "highest")]
        columns.append(Column(f"{heading} left out", 0))
    found = rows(here)
    lines = [
        line
        for name in present(protocol, here)
        for line in _lines(protocol, name, [r for r in found if r.system == name])
    ]
    return Table(tuple(columns), tuple(lines), f"{protocol.name}, {fold}: spread over scans per structure")


def _lines(protocol: Protocol, name: str, found: Sequence[Row]) -> list[tuple[Cell, ...]]:
    structures = list(dict.fromkeys(row.structure for row in found))
    chosen = {structure: [row for row in found if row.structure == structure] for structure in structures}
    if len(structures) > 1:
        chosen[ALL_STRUCTURES] = list(found)
    return [
        (
            *(name, structure, len({row.case for row in each})),
            *(cell for measure in protocol.measures for cell in _summary(each, measure)),
        )
        for structure, each in chosen.items()
    ]


def _summary(found: Sequence[Row], measure: Measure) -> tuple[Cell, ...]:
    each = Summary.of(list(by_scan(found, measure).values()))
    return each.mean, each.std, each.minimum, each.maximum, each.left_out
