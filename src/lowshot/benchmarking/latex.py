"""The tables of a benchmark in LaTeX: each of our columns beside what the paper prints, what differs as notes."""

from collections.abc import Sequence

from lowshot.reporting.latex import PACKAGES, to_latex
from lowshot.reporting.tables import Table

PUBLISHED = "published "
HEAD = f"% Written by lowshot bench. The document has to load two packages: {PACKAGES}\n"
AT_ONCE = 10
"""Tables after which all are printed before the text goes on: LaTeX keeps no more than 18 waiting, 52 if it is new."""


def latex_tables(tables: Sequence[Table], differs: Sequence[str]) -> str:
    """One after the other; below those with published figures stands what differs from them."""
    typeset = [to_latex(beside_published(each), differs if _prints(each) else ()) for each in tables]
    for last in range(AT_ONCE, len(typeset), AT_ONCE):
        typeset[last] = f"\\clearpage\n{typeset[last]}"
    return "\n".join([HEAD, *typeset])


def beside_published(table: Table) -> Table:
    """The table with each published column right after ours of the same name, whatever unit ours tells."""
    headings = [column.heading for column in table.columns]
    order: list[int] = []
    for at, heading in enumerate(headings):
        if heading.startswith(PUBLISHED) and _own(heading, headings) is not None:
            continue
        order.append(at)
        order += [other for other, each in enumerate(headings) if _own(each, headings) == at]
    rows = tuple(tuple(row[at] for at in order) for row in table.rows)
    return Table(tuple(table.columns[at] for at in order), rows, table.title)


def _own(heading: str, headings: Sequence[str]) -> int | None:
    """Where our column is that a published one belongs to."""
    name = heading.removeprefix(PUBLISHED)
    if name == heading:
        return None
    return next((at for at, each in enumerate(headings) if name in (each, each.partition(" (")[0])), None)


def _prints(table: Table) -> bool:
    """Whether it has published figures, in a column or in a line of their own."""
    words = (*(column.heading for column in table.columns), *(str(row[0]) for row in table.rows))
    return any(each.startswith(PUBLISHED) for each in words)
