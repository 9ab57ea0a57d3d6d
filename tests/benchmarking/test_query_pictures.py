from benchmarking.test_tables import record
from lowshot.benchmarking.query_pictures import telling_cases


def test_best_median_and_worst_are_by_mean_dice():
    made = record(dice=((0.5, 0.7), (0.9, None), (0.1, 0.1), (None, None), (0.3, 0.3)))
    found = telling_cases(made)
    assert [(what, case) for what, case, _ in found] == [("best", "s2"), ("median", "s1"), ("worst", "s3")]
    assert [round(dice, 3) for *_, dice in found] == [0.9, 0.6, 0.1]


def test_a_single_query_is_all_three():
    assert {case for _, case, _ in telling_cases(record(dice=((0.5, 0.7),)))} == {"s1"}


def test_without_a_score_nothing_is_shown():
    assert telling_cases(record(dice=((None, None),))) == []
