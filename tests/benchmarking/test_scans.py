import math

import pytest

from benchmarking.balls import BALLS
from benchmarking.test_tables import cells_of, record
from lowshot.benchmarking.results import rows
from lowshot.benchmarking.scans import by_scan
from lowshot.benchmarking.spread_table import spread_table
from lowshot.benchmarking.tables import main_table, scan_table

LEFT_OUT = [record(dice=((0.8, None),)), record(seed=1, dice=((0.9, 0.0),))]
"""One scan: 0.8 from the first seed, as neither has the second structure there; 0.45 from the second."""


def test_structures_are_averaged_within_a_seed_and_then_seeds():
    assert by_scan(rows(LEFT_OUT)) == {"s1": pytest.approx((0.8 + 0.45) / 2)}


def test_of_a_scan_without_a_defined_score_nothing_is_known():
    assert math.isnan(by_scan(rows([record(dice=((None, None),))]))["s1"])


def test_every_table_says_the_same_of_a_structure_that_is_left_out_in_one_seed():
    main = cells_of(main_table(BALLS, LEFT_OUT, "s0"), "mre-net")["Dice"]
    scans = cells_of(scan_table(BALLS, LEFT_OUT, "s0"), "mre-net")["Dice"]
    spread = spread_table(BALLS, LEFT_OUT, "s0").text
    assert main.startswith("0.625")
    assert scans == "0.625"
    assert [line[3] for line in spread if line[1] == "all structures"] == ["0.625"]
