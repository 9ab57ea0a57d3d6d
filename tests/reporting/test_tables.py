import csv
import io

import pytest
from rich.console import Console

from lowshot.reporting.tables import Column, Table, mean_and_spread, to_csv, to_markdown, to_terminal

NAN = float("nan")
TABLE = Table(
    (Column("structure", numeric=False), Column("Dice", digits=2), Column("n"), Column("remark", numeric=False)),
    (("liver", 0.98765, 3, ""), ("a|b <i>*", NAN, 0, None)),
    title="Scores",
)


def test_text_has_the_column_s_digits_and_a_dash_for_nothing():
    assert TABLE.text == (("liver", "0.99", "3", ""), ("a|b <i>*", "–", "0", ""))


def test_rows_must_fit_the_columns():
    with pytest.raises(ValueError, match="2 columns, but a row of 1"):
        Table((Column("a"), Column("b")), ((1,),))


def test_columns_that_say_nothing_can_be_left_out():
    rows = ((1.0, NAN, ""), (NAN, None, ""))
    table = Table((Column("a"), Column("b"), Column("c")), rows).without_empty("a", "c")
    assert [column.heading for column in table.columns] == ["a", "b"]
    assert len(table.rows[0]) == 2


@pytest.mark.parametrize(
    ("mean", "std", "shown"), [(0.9123, 0.0345, "0.912 ± 0.035"), (0.5, NAN, "0.500"), (NAN, NAN, "–")]
)
def test_mean_and_spread(mean, std, shown):
    assert mean_and_spread(mean, std) == shown


def test_markdown():
    assert to_markdown(TABLE) == (
        "**Scores**\n\n"
        "| structure | Dice | n | remark |\n"
        "| :-- | --: | --: | :-- |\n"
        "| liver | 0.99 | 3 |  |\n"
        "| a\\|b &lt;i>\\* | – | 0 |  |\n"
    )


def test_csv_keeps_full_precision_and_awkward_text():
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows == [["structure", "Dice", "n", "remark"], ["liver", "0.98765", "3", ""], ["a|b <i>*", "", "0", ""]]


def test_terminal_does_not_read_names_as_markup():
    console = Console(width=80, file=io.StringIO())
    console.print(to_terminal(Table((Column("[red]name", numeric=False),), (("[bold]x[/bold]",),), title="[b]t")))
    printed = console.file.getvalue()
    assert all(text in printed for text in ("[red]name", "[bold]x[/bold]", "[b]t"))
