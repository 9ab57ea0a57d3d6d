import math
from dataclasses import replace

import numpy as np
import pytest

from lowshot.evaluation.scores import CaseScores, Evaluation, Score
from lowshot.evaluation.summary import ALL_STRUCTURES, quality_correlation, summarise, units

NAN = float("nan")


def row(case, structure, dice, hd95=1.0, *, empty="none", unit="mm", expected=NAN, missing=False):
    volume_unit = "ml" if unit == "mm" else "voxels"
    return Score(case, structure, dice, hd95, unit, 12.0, 10.0, volume_unit, empty, missing, expected)


def evaluation(*rows):
    cases = dict.fromkeys(each.case for each in rows)
    return Evaluation(tuple(CaseScores(case, tuple(r for r in rows if r.case == case)) for case in cases), pairs=[])


ROWS = (
    row("a", "liver", 0.9, 2.0),
    row("a", "spleen", 0.5, 6.0),
    row("b", "liver", 0.7, 4.0),
    row("b", "spleen", NAN, NAN, empty="both"),
    row("c", "liver", 0.0, 50.0, empty="prediction", missing=True),
    row("c", "spleen", 0.0, 50.0, empty="truth"),
)


def test_per_structure():
    liver, spleen, _ = summarise(evaluation(*ROWS))
    assert liver.dice.mean == pytest.approx(np.mean([0.9, 0.7, 0]))
    assert liver.dice.std == pytest.approx(np.std([0.9, 0.7, 0], ddof=1))
    assert liver.hd95.mean == pytest.approx(np.mean([2, 4, 50]))  # the diagonal of the missed one is in the mean
    assert liver.volume_difference.mean == pytest.approx(2)
    assert (liver.empty_predictions, liver.missing, liver.both_empty) == (1, 1, 0)
    assert (spleen.dice.n, spleen.dice.left_out, spleen.both_empty, spleen.empty_truths) == (2, 1, 1, 1)


def test_over_structures_means_each_case_first():
    overall = summarise(evaluation(*ROWS))[-1]
    assert overall.structure == ALL_STRUCTURES
    assert overall.dice.mean == pytest.approx(np.mean([0.7, 0.7, 0]))  # not the mean of all rows, 0.42
    assert overall.hd95.mean == pytest.approx(np.mean([4, 4, 50]))
    assert (overall.dice.n, overall.empty_predictions, overall.empty_truths, overall.both_empty) == (3, 1, 1, 1)


def test_millimetres_and_voxels_are_never_averaged():
    mixed = evaluation(row("a", "liver", 0.9), row("b", "liver", 0.7, unit="voxels"))
    assert units(mixed.scores) == ("mixed", "mixed")
    liver, overall = summarise(mixed)
    assert liver.dice.mean == pytest.approx(0.8)
    for summary in (liver.hd95, liver.volume_difference, overall.hd95):
        assert math.isnan(summary.mean)


def test_ratios_are_averaged_where_they_are_defined():
    made = [replace(row("a", "lesion", 0.9), true_positive_ratio=0.8, radial_error=0.1), row("b", "lesion", 0.5)]
    lesion, overall = summarise(evaluation(*made, replace(made[0], case="c", true_positive_ratio=0.6)))
    assert (lesion.true_positive_ratio.mean, lesion.true_positive_ratio.left_out) == (pytest.approx(0.7), 1)
    assert (lesion.radial_error.mean, overall.radial_error.n) == (pytest.approx(0.1), 2)
    assert math.isnan(overall.false_positive_ratio.mean)


def test_over_structures_ratios_are_means_of_each_case_first():
    ratios = (("a", "liver", 0.9), ("a", "spleen", 0.5), ("b", "liver", 0.1))
    rows = [replace(row(case, structure, 0.9), true_positive_ratio=ratio) for case, structure, ratio in ratios]
    assert summarise(evaluation(*rows))[-1].true_positive_ratio.mean == pytest.approx(0.4)  # of all rows it is 0.5


def test_quality_correlation_counts_its_pairs():
    rows = [row("a", str(k), dice, expected=e) for k, (dice, e) in enumerate([(0.1, 0.2), (0.5, 0.3), (0.9, 0.8)])]
    correlation, pairs = quality_correlation([*rows, row("a", "x", 0.0), row("a", "y", NAN, expected=0.9)])
    assert (correlation, pairs) == (pytest.approx(1), 3)
