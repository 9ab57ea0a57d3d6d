from lowshot.benchmarking.latex import beside_published, latex_tables
from lowshot.reporting.tables import Column, Table

HEADINGS = ("system", "Dice", "HD95 (mm)", "p", "published Dice", "published HD95", "published mean", "left out")
TABLE = Table(tuple(map(Column, HEADINGS)), (tuple(range(8)),), "main")


def test_what_the_paper_prints_stands_right_after_ours():
    table = beside_published(TABLE)
    assert [column.heading for column in table.columns] == [
        *("system", "Dice", "published Dice", "HD95 (mm)", "published HD95", "p", "published mean", "left out"),
    ]
    assert table.rows == ((0, 1, 4, 2, 5, 3, 6, 7),)


def test_a_table_of_our_figures_alone_has_no_notes_on_what_differs():
    plain = Table((Column("system"),), (("unet",),))
    assert "other scans" not in latex_tables([plain], ["other scans"])
    assert latex_tables([plain, TABLE], ["other scans"]).count("other scans.") == 1
    assert latex_tables([plain], []).startswith("% ")


def test_notes_stand_below_a_table_with_published_lines_too():
    lines = Table((Column("structure"), Column("unet")), (("liver", 0.9), ("published liver", 0.8)))
    assert "other scans." in latex_tables([lines], ["other scans"])


def test_no_more_tables_wait_for_their_place_than_latex_keeps():
    plain = Table((Column("system"),), (("unet",),))
    parts = latex_tables([plain] * 25, []).split(r"\clearpage")
    assert [part.count(r"\begin{table}") for part in parts] == [10, 10, 5]
