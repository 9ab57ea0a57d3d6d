import math
from dataclasses import astuple

import numpy as np
import pytest

from lowshot.evaluation.statistics import (
    Summary,
    bonferroni,
    holm,
    interval_over_scans,
    paired_t,
    rank_correlation,
    smallest_wilcoxon_p,
    wilcoxon,
)

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


@pytest.mark.parametrize("pairs", [1, 2, 5, 7, 12])
def test_no_differences_have_a_smaller_p_than_those_of_one_sign(pairs):
    assert wilcoxon([float(step) for step in range(1, pairs + 1)]) == pytest.approx(smallest_wilcoxon_p(pairs))


def test_the_smallest_p_by_hand():
    assert smallest_wilcoxon_p(5) == 0.0625
    assert math.isnan(smallest_wilcoxon_p(0))


def test_paired_t_by_hand():
    """Mean 2, deviation 1, three pairs: t = 2 √3 with two degrees of freedom, whose p is 1 − t / √(t² + 2)."""
    t = 2 * math.sqrt(3)
    assert paired_t([1.0, 2.0, 3.0]) == pytest.approx(1 - t / math.sqrt(t * t + 2))


@pytest.mark.parametrize(("differences", "p"), [([0.0, 0.0], 1.0), ([0.1], NAN), ([0.3, 0.1 + 0.2], NAN), ([], NAN)])
def test_paired_t_of_what_does_not_vary(differences, p):
    assert paired_t(differences) == pytest.approx(p, nan_ok=True)


def test_bonferroni_by_hand():
    assert bonferroni([0.01, NAN, 0.4, 0.3]) == pytest.approx([0.03, NAN, 1.0, 0.9], nan_ok=True)


def test_corrections_agree_with_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    for seed in range(20):
        p = (np.random.default_rng(seed).uniform(size=1 + seed) ** 3).tolist()
        assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])
        assert bonferroni(p) == pytest.approx(multitest.multipletests(p, method="bonferroni")[1])


def test_an_interval_holds_the_mean_and_is_the_same_for_the_same_seed():
    values = np.random.default_rng(0).normal(0.8, 0.1, size=12).tolist()
    scans = [f"s{number}" for number in range(12)]
    found = interval_over_scans(values, scans)
    assert found.low < np.mean(values) < found.high
    assert found == interval_over_scans(values, scans)
    assert found != interval_over_scans(values, scans, seed=1)


def test_an_interval_of_one_value_a_scan_is_scipys():
    from scipy.stats import bootstrap

    values = np.random.default_rng(0).normal(0.8, 0.1, size=12).tolist()
    theirs = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    found = interval_over_scans(values, [f"s{number}" for number in range(12)])
    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=0.005)


def test_structures_of_one_scan_are_no_further_evidence():
    """The same value of ten structures: as wide as one value a scan, not √10 times narrower."""
    values = np.random.default_rng(0).normal(size=8).tolist()
    scans = [f"s{number}" for number in range(8)]
    one, ten = interval_over_scans(values, scans), interval_over_scans(values * 10, scans * 10)
    assert (one.low, one.high) == pytest.approx((ten.low, ten.high))


def test_an_interval_of_few_scans_is_not_defined_and_nan_is_left_out():
    assert math.isnan(interval_over_scans([0.1, 0.2, 0.3], ["a", "a", "b"]).low)
    found = interval_over_scans([0.1, 0.2, 0.3, NAN, NAN], ["a", "b", "c", "c", "d"])
    assert found == interval_over_scans([0.1, 0.2, 0.3], ["a", "b", "c"])
    alike = interval_over_scans([0.5, 0.5, 0.5], ["a", "b", "c"])
    assert (alike.low, alike.high) == (0.5, 0.5)
