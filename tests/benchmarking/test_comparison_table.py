import pytest

from benchmarking.balls import BALLS
from benchmarking.test_tables import cells_of, record
from lowshot.benchmarking.comparison_table import comparison_table, significance_table


def test_each_row_is_set_against_the_reference():
    reference = record(dice=((0.5, 0.5),) * 5)
    other = record("unet", dice=((0.6, 0.6), (0.7, 0.7), (0.8, 0.8), (0.6, 0.5), (0.7, 0.6)))
    found = cells_of(comparison_table(BALLS, [reference, other]), "unet")
    assert (found["Dice − mre-net"], found["pairs"], found["scans"]) == ("+0.160", "10", "5")
    low, _, high = found["95 % interval"].partition(" to ")
    assert 0.05 <= float(low) < 0.16 < float(high) <= 0.3
    assert (found["p over scans (Holm)"], found["smallest p over scans (Holm)"]) == ("0.062", "0.062")
    assert found["smallest p possible (Holm)"] == "0.002"


def test_files_have_both_tests_over_pairs_and_over_scans_with_both_corrections():
    reference = record(dice=((0.5, 0.5),) * 5)
    others = [
        record(name, dice=tuple((0.5 + step * each, 0.5 + step * each) for each in (1, 2, 3, 4, 6)))
        for name, step in (("unet", 0.05), ("another", 0.04))
    ]
    table = significance_table(BALLS, [reference, *others])
    assert [row[:4] for row in table.rows] == [
        (name, over, n, test)
        for name in ("unet", "another")
        for over, n in (("pairs", 10), ("scans", 5))
        for test in ("Wilcoxon", "t")
    ]
    for *_, raw, holm, bonferroni, _ in table.rows:
        assert bonferroni == pytest.approx(2 * raw)
        assert raw <= holm <= bonferroni
    signed_rank, t = table.rows[2:4]
    assert (signed_rank[4], signed_rank[-1], t[-1]) == (0.0625, 0.125, None)
    assert t[4] == pytest.approx(0.0205, abs=1e-4)  # of 0.05, 0.1, 0.15, 0.2 and 0.3: t = 3.72 with 4 degrees


def test_without_the_reference_there_is_no_table():
    assert significance_table(BALLS, [record("unet")]) is None
    assert comparison_table(BALLS, [record("unet")]) is None
