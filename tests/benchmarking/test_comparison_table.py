from benchmarking.balls import BALLS
from benchmarking.test_tables import cells_of, record
from lowshot.benchmarking.comparison_table import comparison_table


def test_each_row_is_set_against_the_reference():
    reference = record(dice=((0.5, 0.5),) * 5)
    other = record("unet", dice=((0.6, 0.6), (0.7, 0.7), (0.8, 0.8), (0.6, 0.5), (0.7, 0.6)))
    found = cells_of(comparison_table(BALLS, [reference, other]), "unet")
    assert (found["Dice − mre-net"], found["pairs"], found["scans"]) == ("+0.160", "10", "5")
    low, _, high = found["95 % interval"].partition(" to ")
    assert 0.05 <= float(low) < 0.16 < float(high) <= 0.3
    assert (found["p over scans (Holm)"], found["smallest p over scans (Holm)"]) == ("0.062", "0.062")
    assert found["smallest p possible (Holm)"] == "0.002"


def test_without_the_reference_there_is_no_table():
    assert comparison_table(BALLS, [record("unet")]) is None
