"""The scores of every structure, on one fold or over the folds of one setting, what papers print below ours."""

from collections.abc import Callable, Iterator, Sequence

from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.measures import MEASURES
from lowshot.benchmarking.overview import name_of
from lowshot.benchmarking.results import Row, rows
from lowshot.benchmarking.scans import by_scan
from lowshot.benchmarking.selection import by_system, of_fold, present
from lowshot.benchmarking.tables import first_printed, in_common, measure_columns, places_of, published_text
from lowshot.evaluation.statistics import Summary
from lowshot.imaging.names import sideless
from lowshot.protocols.protocol import Fold, Measure, Protocol, System
from lowshot.protocols.published import Figure
from lowshot.reporting.tables import Cell, Column, Table, mean_and_spread

PER_STRUCTURE = "per structure"
"""In the title of every such table."""
Mean = Callable[[Sequence[Row], Measure], float]
"""Of the scores of one system on one fold."""


def structure_tables(protocol: Protocol, records: Sequence[Record], folds: Sequence[Fold]) -> Iterator[Table]:
    """Dice of every structure, and of the protocol's other measures those that the paper prints for one.

    One column for each system that has all of the folds, which are of one setting: means over queries and seeds on one
    fold, mean and deviation over several; then one for each that is only quoted. Means that leave some structures out
    come last.
    """
    own = {
        name: [of_fold(each, fold.name) for fold in folds]
        for name, each in by_system(protocol, records).items()
        if all(of_fold(each, fold.name) for fold in folds)
    }
    here = [record for cells in own.values() for cell in cells for record in cell]
    systems = {name: system for name, system in present(protocol, here).items() if name in own}
    scored = {name: [rows(cell) for cell in own[name]] for name in systems}
    means = _means(protocol, scored)
    quoted = protocol.quoted_on(folds[0].name)  # the same on all folds of a setting
    over = f", mean ± deviation over {len(folds)} folds" if len(folds) > 1 else ""
    where = name_of(folds) if len(folds) > 1 else folds[0].name
    for measure, heading in zip(protocol.measures, measure_columns(protocol, here), strict=True):
        lines, printed = list[tuple[Cell, ...]](), False
        for structure, mean in means.items():
            reached = [Summary.of([mean(fold, measure) for fold in scored[name]]) for name in systems]
            theirs = [_printed(protocol, systems[name], own[name], folds, measure, structure) for name in systems]
            theirs += [first_printed(protocol, [where], measure, [structure]) for where in quoted.values()]
            ours = (_shown(each, len(folds), measure) for each in reached)
            lines.append((structure, *ours, *[None] * len(quoted)))
            if any(theirs):
                lines.append((f"published {structure}", *(published_text(figure, measure) for figure in theirs)))
                printed = True
        if lines and (printed or measure == "dice"):
            columns = (Column(name, heading.digits) for name in (*systems, *quoted))
            title = f"{protocol.name}, {where}: {heading.heading} {PER_STRUCTURE}{over}"
            table = Table((Column("structure", numeric=False), *columns), tuple(lines), title)
            yield table.without_empty(*quoted)


def _means(protocol: Protocol, scored: dict[str, list[list[Row]]]) -> dict[str, Mean]:
    """By the name of its line, the mean over a structure, or over several."""
    every = [row.structure for folds in scored.values() for fold in folds for row in fold]
    merged = sideless(every) if protocol.merge_sides else {}
    alike: dict[str, set[str]] = {}
    for structure in every:
        alike.setdefault(merged.get(structure, structure), set()).add(structure)
    partial = {
        name: _of_scans(set(every) - set(left_out))
        for name, left_out in protocol.partial_means.items()
        if set(left_out) & set(every)
    }
    return {name: _of_scores(own) for name, own in alike.items()} | partial


def _of_scores(structures: set[str]) -> Mean:
    def mean(found: Sequence[Row], measure: Measure) -> float:
        return Summary.of([getattr(row, measure) for row in found if row.structure in structures]).mean

    return mean


def _of_scans(structures: set[str]) -> Mean:
    """Over the structures of each scan first, as all means over structures are."""

    def mean(found: Sequence[Row], measure: Measure) -> float:
        chosen = [row for row in found if row.structure in structures]
        return Summary.of(list(by_scan(chosen, measure).values())).mean

    return mean


def _shown(reached: Summary, folds: int, measure: Measure) -> Cell:
    return reached.mean if folds == 1 else mean_and_spread(reached.mean, reached.std, MEASURES[measure].digits)


def _printed(
    protocol: Protocol,
    system: System,
    cells: Sequence[Sequence[Record]],
    folds: Sequence[Fold],
    measure: Measure,
    structure: str,
) -> Figure | None:
    """What is printed for the row, where it is the same for all of these folds."""
    return in_common(
        first_printed(protocol, places_of(protocol, system, cell, fold.name), measure, [structure])
        for cell, fold in zip(cells, folds, strict=True)
    )
