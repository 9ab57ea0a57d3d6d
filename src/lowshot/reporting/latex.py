"""A table in LaTeX, as journals set it: booktabs, no vertical lines, notes below; too large a one is made smaller."""

import re
from collections.abc import Sequence

from lowshot.reporting.tables import Column, Table

ESCAPED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_"},
    **{"<": "$<$", ">": "$>$", "|": r"\textbar{}", "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "≤": r"$\le$"},
    **{"–": "--", "ⁿ": "$^n$", "λ": r"$\lambda$", "\n": " "},
}
"""What would mean something else, or is missing in common fonts."""
PACKAGES = r"\usepackage{booktabs,adjustbox}"
FITTED = r"\begin{adjustbox}{max width=\textwidth,max totalheight=0.8\textheight}"
"""Leaves room for the caption; notes may still go over the end of a page."""


def to_latex(table: Table, notes: Sequence[str] = ()) -> str:
    """A ``table`` with its title as caption and the notes below; the document has to load ``PACKAGES``."""
    kinds = "".join("r" if column.numeric else "l" for column in table.columns)
    caption = [rf"\caption{{{escaped(table.title)}}}"] if table.title else []
    lines = [
        *(r"\begin{table}[htbp]", r"\centering", *caption, FITTED, rf"\begin{{tabular}}{{{kinds}}}"),
        *(r"\toprule", _line([column.heading for column in table.columns], table.columns), r"\midrule"),
        *(_line(row, table.columns) for row in table.text),
        *(r"\bottomrule", r"\end{tabular}", r"\end{adjustbox}", *_below(notes), r"\end{table}"),
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(ESCAPED.get(character, character) for character in text)


def _line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    texts = [_cell(cell, column) for cell, column in zip(cells, columns, strict=True)]
    # At the start of a line these would belong to the line break before it.
    return " & ".join(f"{{{text}}}" if text.startswith(("[", "*")) else text for text in texts) + r" \\"


def _cell(cell: str, column: Column) -> str:
    text = escaped(cell)
    return re.sub(r"-(?=\d)", "$-$", text) if column.numeric else text


def _below(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    sentences = (f"{escaped(note)}." for note in notes)
    return [r"\begin{flushleft}", r"\footnotesize", "\n\n".join(sentences), r"\end{flushleft}"]
