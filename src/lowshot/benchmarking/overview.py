"""A benchmark over its folds: Dice on each of them, and mean and deviation over those of one setting."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.measures import MEASURES
from lowshot.benchmarking.selection import by_system, of_fold, present
from lowshot.benchmarking.tables import (
    in_common,
    mean_over_seeds,
    measure_columns,
    published_columns,
    published_figure,
    published_text,
)
from lowshot.evaluation.statistics import Summary
from lowshot.protocols.protocol import Fold, Measure, Protocol
from lowshot.reporting.tables import Cell, Column, Table, mean_and_spread


def overview_table(protocol: Protocol, records: Sequence[Record]) -> Table:
    """Mean Dice over scans, structures and seeds on every fold of the protocol."""
    columns = (Column("system", numeric=False), *(Column(fold.name) for fold in protocol.folds))
    lines: list[tuple[Cell, ...]] = [
        (name, *(mean_over_seeds(of_fold(own, fold.name), "dice") for fold in protocol.folds))
        for name, own in by_system(protocol, records).items()
    ]
    return Table(columns, tuple(lines), f"{protocol.name}: Dice on each fold, mean over seeds")


def setting_tables(protocol: Protocol, records: Sequence[Record]) -> Iterator[Table]:
    """For each setting of several folds what papers print of it: mean and deviation over them.

    Where every fold has a new structure, the means over structures come first, without a deviation. In each table are
    the systems that have all of its folds; none where no system has.
    """
    groups = settings_of(protocol.folds)
    if len(groups) > 1 and all(fold.new for fold in protocol.folds):
        folds = "" if len(protocol.folds) == len(groups) else ", each the mean over its folds"
        title = f"overview: mean over {len(groups)} structures{folds}"
        yield from _table(protocol, records, groups, title)
    for group in groups:
        if len(group) > 1:
            title = f"overview of {name_of(group)}: mean ± deviation over {len(group)} folds, each the mean over seeds"
            yield from _table(protocol, records, [group], title)


def settings_of(folds: Sequence[Fold]) -> list[list[Fold]]:
    """Folds of one setting together, in their order: the same new structure, or as many scans that teach.

    As many are annotated, in the pool, and segmented; but where every scan is segmented once, folds are the parts of a
    cross-validation, whose sizes may differ by the one scan that is left.
    """
    queries = [case for fold in folds for case in fold.queries]
    once = len(set(queries)) == len(queries)
    found: dict[tuple[object, ...], list[Fold]] = defaultdict(list)
    for fold in folds:
        sizes = () if fold.new or once else (fold.shots, len(fold.unlabelled), len(fold.queries))
        found[fold.new, *sizes].append(fold)
    return list(found.values())


def name_of(group: Sequence[Fold]) -> str:
    """What the folds of one setting have in common."""
    if group[0].new:
        return group[0].new
    shots, pool = {fold.shots for fold in group}, len(group[0].unlabelled)
    annotated = f"{min(shots)} annotated" if len(shots) == 1 else f"{min(shots)} to {max(shots)} annotated"
    return f"{annotated}, {pool} unlabelled" if pool else annotated


def _table(
    protocol: Protocol, records: Sequence[Record], groups: Sequence[Sequence[Fold]], title: str
) -> Iterator[Table]:
    folds = [fold for group in groups for fold in group]
    complete = {
        name: [record for fold in folds for record in of_fold(own, fold.name)]
        for name, own in by_system(protocol, records).items()
        if all(of_fold(own, fold.name) for fold in folds)
    }
    shown = [record for own in complete.values() for record in own]
    ours, theirs = measure_columns(protocol, shown), published_columns(protocol)
    lines = [
        (
            name,
            *(_reached(groups, own, measure) for measure in protocol.measures),
            *(_printed(protocol, name, folds, own, measure) for measure in protocol.measures),
        )
        for name, own in complete.items()
    ]
    if lines:
        table = Table((Column("system", numeric=False), *ours, *theirs), tuple(lines), f"{protocol.name}, {title}")
        yield table.without_empty(*(column.heading for column in theirs))


def _reached(groups: Sequence[Sequence[Fold]], own: Sequence[Record], measure: Measure) -> Cell:
    """Of one setting mean and deviation over its folds; of several the mean over their means."""
    each = [Summary.of([mean_over_seeds(of_fold(own, fold.name), measure) for fold in group]) for group in groups]
    if len(each) == 1:
        return mean_and_spread(each[0].mean, each[0].std, MEASURES[measure].digits)
    return Summary.of([setting.mean for setting in each]).mean


def _printed(protocol: Protocol, name: str, folds: Sequence[Fold], own: Sequence[Record], measure: Measure) -> Cell:
    """What is printed for the row, where it is the same for all of these folds."""
    system = present(protocol, own)[name]
    figures = (published_figure(protocol, system, own, fold.name, measure) for fold in folds)
    return published_text(in_common(figures), measure)
