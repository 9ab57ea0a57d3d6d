import math
from dataclasses import astuple

import pytest

from lowshot.evaluation.statistics import Summary, holm, rank_correlation, wilcoxon

NAN = float("nan")


def test_summary_leaves_out_what_is_not_defined_and_counts_it():
    summary = Summary.of([0.5, NAN, 0.9, 0.7])
    assert astuple(summary) == pytest.approx((0.7, 0.2, 0.5, 0.9, 3, 1))


def test_one_value_has_no_standard_deviation():
    summary = Summary.of([0.5])
    assert (summary.mean, summary.n) == (0.5, 1)
    assert math.isnan(summary.std)


def test_nothing_defined():
    summary = Summary.of([NAN, NAN])
    assert math.isnan(summary.mean)
    assert (summary.n, summary.left_out) == (0, 2)


def test_rank_correlation_sees_order_alone():
    assert rank_correlation([1.0, 2.0, 3.0, NAN], [10.0, 100.0, 101.0, 0.0]) == pytest.approx(1)
    assert rank_correlation([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 1.0, 2.0]) == pytest.approx(-0.8)


@pytest.mark.parametrize(
    ("x", "y"), [([1.0, 2.0], [1.0, 2.0]), ([1.0] * 3, [1.0, 2.0, 3.0]), ([NAN] * 3, [1.0, 2.0, 3.0])]
)
def test_rank_correlation_of_too_little_is_not_defined(x, y):
    assert math.isnan(rank_correlation(x, y))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    corrected = holm([0.02, float("nan"), 0.01])
    assert corrected[0] == pytest.approx(0.02)
    assert math.isnan(corrected[1])
    assert corrected[2] == pytest.approx(0.02)


def test_wilcoxon_of_few_pairs_is_exact():
    assert wilcoxon([0.1, 0.2, 0.3]) == pytest.approx(0.25)  # 2 / 2**3
    assert wilcoxon([0.0, 0.0]) == 1.0
    assert math.isnan(wilcoxon([]))
