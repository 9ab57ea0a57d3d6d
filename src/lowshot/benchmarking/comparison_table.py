"""How sure the differences between a benchmark's systems are: one table over all of its folds."""

from collections.abc import Sequence

from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.comparison import Comparison, compare
from lowshot.benchmarking.tables import present, shown_interval, shown_p
from lowshot.protocols.protocol import Protocol
from lowshot.reporting.tables import Cell, Column, Table


def comparison_table(protocol: Protocol, records: Sequence[Record]) -> Table | None:
    """Each system against the reference: difference, interval, tests and what they could show at best.

    None where there is nothing to compare.
    """
    against = compare(records, protocol.reference)
    if not against:
        return None
    columns = (
        *(Column("system", numeric=False), Column(f"Dice − {protocol.reference}"), Column("95 % interval")),
        *(Column("pairs", 0), Column("p"), Column("p (Holm)"), Column("p (Bonferroni)")),
        *(Column("smallest p possible (Holm)"), Column("p of t-test (Holm)")),
        *(Column("scans", 0), Column("p over scans (Holm)"), Column("smallest p over scans (Holm)")),
    )
    lines = [_row(name, against[name]) for name in present(protocol, records) if name in against]
    title = f"{protocol.name}: differences from {protocol.reference} over common folds, seeds, scans and structures"
    return Table(columns, tuple(lines), title)


def _row(name: str, found: Comparison) -> tuple[Cell, ...]:
    pairs, scans = found.over_pairs, found.over_scans
    p = [shown_p(each) for each in (pairs.raw, pairs.holm, pairs.bonferroni, pairs.smallest, found.t)]
    over_scans = (scans.pairs, shown_p(scans.holm), shown_p(scans.smallest))
    return name, f"{found.difference:+.3f}", shown_interval(found.interval, "+"), pairs.pairs, *p, *over_scans
