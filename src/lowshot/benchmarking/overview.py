"""All folds of a benchmark in one table: what each system reaches on each of them, and on average."""

from collections.abc import Sequence

from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.results import rows
from lowshot.benchmarking.tables import as_part, is_as_compared, present
from lowshot.evaluation.statistics import Summary
from lowshot.protocols.protocol import Protocol, System
from lowshot.protocols.published import OVER_STRUCTURES, published
from lowshot.reporting.tables import Cell, Column, Table


def overview_table(protocol: Protocol, records: Sequence[Record], folds: Sequence[str]) -> Table:
    """Mean Dice over scans, structures and seeds; the mean over folds only of systems that have all of them.

    Where each fold has another new structure, what is printed as the mean over structures stands beside our mean.
    """
    columns = (Column("system", numeric=False), *map(Column, folds), Column("mean"), Column("published mean"))
    lines = []
    for name, system in present(protocol, records).items():
        own = [record for record in records if record["system"] == name]
        each = [_mean([record for record in own if record["fold"]["name"] == fold]) for fold in folds]
        lines.append((name, *each, sum(each) / len(each), _printed(protocol, system, own)))
    table = Table(columns, tuple(lines), f"{protocol.name}: Dice on each fold, mean over seeds")
    return table.without_empty("published mean")


def _mean(records: Sequence[Record]) -> float:
    return Summary.of([row.dice for row in rows(records)]).mean


def _printed(protocol: Protocol, system: System, records: Sequence[Record]) -> Cell:
    """Of a system whose preset is the compared one, in a protocol whose every fold has a new structure."""
    where = system.published.get("")
    fits = all(fold.new for fold in protocol.folds) and all(is_as_compared(protocol, record) for record in records)
    if where is None or not fits:
        return None
    figure = published(protocol, where, "dice", OVER_STRUCTURES)
    return None if figure is None else as_part(figure, figure.mean)
