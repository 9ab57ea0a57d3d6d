"""How sure the differences between a benchmark's systems are: one table over all of its folds, one of every test."""

from collections.abc import Iterator, Sequence

from lowshot.benchmarking.cell import Record
from lowshot.benchmarking.comparison import Comparison, Tested, compare
from lowshot.benchmarking.selection import present
from lowshot.benchmarking.tables import shown_interval, shown_p
from lowshot.protocols.protocol import Protocol
from lowshot.reporting.tables import Cell, Column, Table

DIGITS = 6
"""Of a p-value in a table of every test; elsewhere \"< 0.001\" is said instead."""


def comparison_table(protocol: Protocol, records: Sequence[Record]) -> Table | None:
    """Each system against the reference: difference, interval, tests and what they could show at best.

    None where there is nothing to compare.
    """
    against = compare(records, protocol.reference, protocol.patient_of)
    if not against:
        return None
    columns = (
        *(Column("system", numeric=False), Column(f"Dice − {protocol.reference}"), Column("95 % interval")),
        *(Column("folds", 0), Column("pairs", 0), Column("p"), Column("p (Holm)"), Column("p (Bonferroni)")),
        *(Column("smallest p possible (Holm)"), Column("p of t-test (Holm)")),
        *(Column("scans", 0), Column("p over scans (Holm)"), Column("smallest p over scans (Holm)")),
    )
    lines = [_row(name, against[name]) for name in present(protocol, records) if name in against]
    title = f"{protocol.name}: differences from {protocol.reference} over common folds, seeds, scans and structures"
    return Table(columns, tuple(lines), title)


def _row(name: str, found: Comparison) -> tuple[Cell, ...]:
    pairs, scans = found.over_pairs, found.over_scans
    signed_rank = pairs.wilcoxon
    corrected = (signed_rank.raw, signed_rank.holm, signed_rank.bonferroni, pairs.smallest, pairs.t.holm)
    p = [shown_p(each) for each in corrected]
    over_scans = (scans.pairs, shown_p(scans.wilcoxon.holm), shown_p(scans.smallest))
    difference = (f"{found.difference:+.3f}", shown_interval(found.interval, "+"))
    return name, *difference, found.folds, pairs.pairs, *p, *over_scans


def significance_table(protocol: Protocol, records: Sequence[Record]) -> Table | None:
    """Both paired tests of each system, over pairs and over scans, with both corrections: for a benchmark's own files.

    None where there is nothing to compare.
    """
    against = compare(records, protocol.reference, protocol.patient_of)
    if not against:
        return None
    columns = (
        *(
            Column("system", numeric=False),
            Column("over", numeric=False),
            Column("n", 0),
            Column("test", numeric=False),
        ),
        *(Column(f"p{of}", DIGITS) for of in ("", " (Holm)", " (Bonferroni)")),
        Column("smallest p possible (Holm)", DIGITS),
    )
    lines = [
        line
        for name in present(protocol, records)
        if name in against
        for over, tested in (("pairs", against[name].over_pairs), ("scans", against[name].over_scans))
        for line in _tests(name, over, tested)
    ]
    return Table(columns, tuple(lines), f"{protocol.name}: paired tests against {protocol.reference}")


def _tests(name: str, over: str, tested: Tested) -> Iterator[tuple[Cell, ...]]:
    """The t-test has no smallest p."""
    for test, p, smallest in (("Wilcoxon", tested.wilcoxon, tested.smallest), ("t", tested.t, None)):
        yield name, over, tested.pairs, test, p.raw, p.holm, p.bonferroni, smallest
