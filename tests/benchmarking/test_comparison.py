import math

import pytest
from scipy import stats

from benchmarking.test_tables import record
from lowshot.benchmarking.comparison import compare

WORSE = ((0.7, 0.5), (0.3, None))


def on(fold, **about):
    return {**record(**about), "fold": {"name": fold}}


def test_a_difference_is_taken_over_the_seeds_that_both_have():
    ours = [record(), record(seed=1, dice=((0.0, 0.0), (0.0, 0.0)))]
    found = compare([*ours, record("unet", dice=WORSE)], "mre-net")["unet"]
    assert found.difference == pytest.approx(-0.1)
    assert found.pairs == 3


def test_p_values_are_corrected_for_the_number_of_rows():
    found = compare([record(), *(record(name, dice=WORSE) for name in ("a", "b"))], "mre-net")
    assert found["a"].p == found["b"].p == pytest.approx(0.5)  # 2 × 0.25: three pairs allow no less
    tested = found["a"].over_pairs
    assert (tested.wilcoxon.raw, tested.wilcoxon.bonferroni, tested.smallest) == pytest.approx((0.25, 0.5, 0.5))


def test_bonferroni_is_never_below_holm_nor_the_correction_below_its_bound():
    steps = (-0.1, -0.2, 0.05, 0.3, -0.15)
    others = [
        record(f"row {n}", dice=tuple((0.5 + n * step / 9, 0.5 - n * step) for step in steps)) for n in range(1, 5)
    ]
    reference = record(dice=((0.5, 0.52),) * 5)
    for found in compare([reference, *others], "mre-net").values():
        for tested in (found.over_pairs, found.over_scans):
            assert tested.smallest <= tested.wilcoxon.holm <= tested.wilcoxon.bonferroni
            assert tested.t.raw <= tested.t.holm <= tested.t.bonferroni


def test_scans_are_tested_by_the_mean_of_their_differences():
    """Four scans, in each of which the second structure is better and the first is worse by less."""
    reference = record(dice=((0.5, 0.5),) * 4)
    other = record("unet", dice=((0.4, 0.7), (0.3, 0.8), (0.45, 0.75), (0.49, 0.53)))
    found = compare([reference, other], "mre-net")["unet"]
    assert (found.over_scans.pairs, found.over_pairs.pairs) == (4, 8)
    assert found.over_scans.wilcoxon.raw == found.over_scans.smallest == 0.125
    assert found.over_pairs.wilcoxon.raw > found.over_pairs.smallest == pytest.approx(2 / 2**8)
    assert found.interval.low < found.difference < found.interval.high


def test_a_scan_of_several_folds_is_one_scan():
    both = [on(fold, system=system) for fold in ("a", "b") for system in ("mre-net", "unet")]
    found = compare(both, "mre-net")["unet"]
    assert (found.folds, found.pairs, found.over_scans.pairs) == (2, 6, 2)
    assert math.isnan(found.interval.low)  # of two scans


def test_a_fold_with_fewer_common_seeds_counts_as_well():
    """Seeds 0 and 1 on the one fold, without a difference, and seed 0 alone on the other, where it is 0.1."""
    ours = [on("a", seed=seed) for seed in (0, 1)] + [on("b", seed=seed) for seed in (0, 1)]
    theirs = [on("a", system="unet", seed=seed) for seed in (0, 1)] + [on("b", system="unet", dice=WORSE)]
    found = compare([*ours, *theirs], "mre-net")["unet"]
    assert found.pairs == 6
    assert found.difference == pytest.approx(-0.05)


def test_scans_of_one_patient_count_as_one():
    four = ((0.5, 0.5),) * 4
    records = [record(dice=four), record("unet", dice=((0.4, 0.4), (0.6, 0.6), (0.7, 0.7), (0.8, 0.8)))]
    found = compare(records, "mre-net", lambda case: "early" if case in ("s1", "s2") else case)["unet"]
    assert (found.pairs, found.over_scans.pairs) == (8, 3)
    assert found.over_scans.t.raw == pytest.approx(stats.ttest_1samp([0.0, 0.2, 0.3], 0).pvalue)


def test_systems_without_a_common_seed_are_not_compared():
    assert compare([record(), record("unet", seed=1)], "mre-net") == {}
    assert compare([record()], "nobody") == {}
