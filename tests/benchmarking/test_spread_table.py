from dataclasses import replace

import pytest

from benchmarking.balls import BALLS
from benchmarking.test_tables import record
from lowshot.benchmarking.spread_table import spread_table

DICE = replace(BALLS, measures=("dice",))


def test_seeds_are_averaged_within_a_scan_before_scans_are_summarised():
    records = [record(dice=((0.8, 0.6), (0.4, None))), record(seed=1, dice=((0.6, 0.6), (0.6, None)))]
    table = spread_table(DICE, records, "s0")
    left, right, overall = table.rows
    # left ball: 0.7 and 0.5; right ball: 0.6, and once left out; of the scans: 0.65 and 0.5
    assert left == ("mre-net", "left ball", 2, *(pytest.approx(x) for x in (0.6, 0.02**0.5, 0.5, 0.7)), 0)
    assert (right[3], right[-1]) == (pytest.approx(0.6), 1)
    assert overall[1] == "all structures"
    assert overall[3:] == (*(pytest.approx(x) for x in (0.575, 0.15 / 2**0.5, 0.5, 0.65)), 0)


def test_a_single_structure_needs_no_line_over_all():
    made = record()
    for case in made["cases"]:
        case["scores"] = case["scores"][:1]
    assert len(spread_table(DICE, [made], "s0").rows) == 1
