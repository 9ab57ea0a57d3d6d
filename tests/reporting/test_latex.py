import re

import pytest

from lowshot.protocols.registry import PROTOCOLS
from lowshot.reporting.latex import escaped, to_latex
from lowshot.reporting.tables import Column, Table

TABLE = Table(
    (Column("system", numeric=False), Column("Dice (%)"), Column("published")),
    (("mre_net & co", -0.5, "0.78 ± 0.01"), ("[a] #1", float("nan"), "< 0.001")),
    title="100 % of $\\alpha$ & {b}",
)


def test_a_table_is_booktabs_with_a_row_for_each_line():
    lines = to_latex(TABLE).splitlines()
    assert lines[0] == r"\begin{table}[htbp]"
    assert r"\begin{tabular}{lrr}" in lines
    assert lines[-3:] == [r"\end{tabular}", r"\end{adjustbox}", r"\end{table}"]
    rows = [line for line in lines if line.endswith(r"\\")]
    assert rows == [
        r"system & Dice (\%) & published \\",
        r"mre\_net \& co & $-$0.500 & 0.78 $\pm$ 0.01 \\",
        r"{[a] \#1} & -- & $<$ 0.001 \\",
    ]


def test_what_is_begun_is_ended_in_order():
    open_ones = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", to_latex(TABLE, ["not the same"])):
        if kind == "begin":
            open_ones.append(name)
        else:
            assert open_ones.pop() == name
    assert open_ones == []


def test_braces_and_dollars_are_balanced():
    text = to_latex(TABLE, ["20 % of {x_1} cost 3 $"])
    bare = re.sub(r"\\[{}$&%#_\\]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0


@pytest.mark.parametrize(
    ("plain", "latex"),
    [
        ("a\\b", r"a\textbackslash{}b"),
        ("x^2~y", r"x\textasciicircum{}2\textasciitilde{}y"),
        ("{_#$%&}", r"\{\_\#\$\%\&\}"),
        ("3×3 − 1 ± 2 | 500–600", r"3$\times$3 $-$ 1 $\pm$ 2 \textbar{} 500--600"),
        ("two\nlines", "two lines"),
        ("weight λ", r"weight $\lambda$"),
        ("Gehirn, größer", "Gehirn, größer"),
    ],
)
def test_escaping(plain, latex):
    assert escaped(plain) == latex


def test_notes_stand_below_the_rows():
    text = to_latex(TABLE, ["data: 8 brains", "budget: 5 %"])
    assert text.index(r"\bottomrule") < text.index("data: 8 brains.") < text.index(r"budget: 5 \%.")
    assert "flushleft" not in to_latex(TABLE)


def test_all_that_protocols_say_can_be_typeset():
    """Beyond Latin-1 common fonts lack letters."""
    told = [sentence for each in PROTOCOLS.values() for sentence in (each.summary, *each.differs)]
    assert {character for text in told for character in escaped(text) if ord(character) > 255} == set()
