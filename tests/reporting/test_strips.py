import numpy as np
import pytest

from lowshot.evaluation.scores import CaseScores, Evaluation, Score
from lowshot.reporting.strips import EVERY_DOT, GUTTER, Box, dice_chart, hd95_chart


def score(case, dice=0.5, hd95=2.0, empty="none", missing=False, structure="liver", unit="mm"):
    volume_unit = "ml" if unit == "mm" else "voxels"
    return Score(case, structure, dice, hd95, unit, 1.0, 1.0, volume_unit, empty, missing=missing)


def evaluation(*scores):
    return Evaluation(tuple(CaseScores(each.case, (each,)) for each in scores), [])


def test_box_by_hand():
    """1 to 9 and 30: quartiles 3.25, 5.5, 7.75; 1.5 boxes above end at 14.5, so 9 is the last within and 30 is not."""
    box = Box.of([*map(float, range(1, 10)), 30.0])
    assert (box.low, box.first, box.median, box.third, box.high) == (1, 3.25, 5.5, 7.75, 9)


def test_dots_stand_where_their_dice_is():
    chart = dice_chart(evaluation(score("a", 0.0), score("b", 0.5), score("c", 1.0)))
    [strip] = chart.strips
    assert [(dot.case, dot.x) for dot in strip.dots] == [("a", 2), ("b", 50), ("c", 98)]
    assert strip.box is None  # three values have no quartiles worth drawing
    assert strip.words == "liver: median 0.5, from 0 (a) to 1 (c), n = 3"


def test_a_missing_prediction_is_marked_and_bends_no_box():
    scored = [score(f"c{k}", 0.8) for k in range(5)]
    [strip] = dice_chart(evaluation(*scored, score("gone", 0.0, empty="prediction", missing=True))).strips
    assert strip.box == Box(0.8, 0.8, 0.8, 0.8, 0.8)
    assert [(dot.case, dot.x, dot.kind) for dot in strip.dots][-1] == ("gone", 2, "missed")
    assert strip.words.endswith("n = 5, 1 without")


def test_a_structure_that_was_not_found_has_a_dice_but_no_distance():
    chart = hd95_chart(evaluation(score("a", hd95=3.0), score("b", 0.0, 500.0, empty="prediction")))
    assert chart.title == "HD95 (mm)"
    assert chart.axis.high < 500
    assert [(dot.x, dot.kind) for dot in chart.strips[0].dots] == [(chart.axis.at(3.0), "scored"), (GUTTER, "missed")]
    dice = dice_chart(evaluation(score("b", 0.0, 500.0, empty="prediction")))
    assert dice.strips[0].dots[0].kind == "scored"


def test_one_stray_voxel_does_not_flatten_the_distances():
    near = [score(f"c{k}", hd95=1.0 + k) for k in range(6)]
    chart = hd95_chart(evaluation(*near, score("far", hd95=300.0)))
    assert chart.axis.high < 20
    assert [dot.case for dot in chart.strips[0].dots if dot.kind == "beyond"] == ["far"]
    assert "300 (far)" in chart.strips[0].words


def test_pairs_that_are_left_out_of_means_are_not_drawn():
    nothing = score("x", float("nan"), float("nan"), empty="both")
    assert len(dice_chart(evaluation(score("a"), nothing)).strips[0].dots) == 1


def test_no_chart_of_distances_where_units_are_mixed_or_nothing_was_found():
    assert hd95_chart(evaluation(score("a"), score("b", unit="voxels"))) is None
    assert hd95_chart(evaluation(score("a", 0.0, 9.0, empty="prediction"))) is None


def test_of_many_scans_only_outliers_are_drawn():
    values = np.linspace(0.7, 0.9, EVERY_DOT)
    scores = [score(f"c{k}", float(value)) for k, value in enumerate(values)]
    assert len(dice_chart(evaluation(*scores)).strips[0].dots) == EVERY_DOT
    [strip] = dice_chart(evaluation(*scores, score("odd", 0.1))).strips
    assert [dot.case for dot in strip.dots] == ["odd"]
    assert strip.box.low == pytest.approx(0.7)
