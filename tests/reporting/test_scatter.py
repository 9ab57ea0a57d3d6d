import pytest

from lowshot.evaluation.scores import CaseScores, Evaluation, Score
from lowshot.reporting.scatter import expectation_chart, volume_charts


def score(case, predicted=10.0, true=10.0, dice=0.5, expected=float("nan"), missing=False, unit="ml", empty="none"):
    distance = "mm" if unit == "ml" else "voxels"
    return Score(case, "liver", dice, 1.0, distance, float(predicted), float(true), unit, empty, missing, expected)


def evaluation(*scores):
    return Evaluation(tuple(CaseScores(each.case, (each,)) for each in scores), [])


def test_volumes_by_hand():
    """Differences 1, 3, 5 over means 10.5, 21.5, 32.5: bias 3, limits 3 ± 1.96 · 2."""
    [chart] = volume_charts(evaluation(score("a", 11, 10), score("b", 23, 20), score("c", 35, 30)))
    assert chart.captions == ("bias +3 ml, n = 3", "limits -0.92 to +6.92")
    assert [dot.x for dot in chart.dots] == [chart.across.at(mean) for mean in (10.5, 21.5, 32.5)]
    assert [dot.y for dot in chart.dots] == [chart.up.down(difference) for difference in (1.0, 3.0, 5.0)]
    heights = {(line.kind, line.start[1]) for line in chart.lines}
    assert heights == {("zero", chart.up.down(0.0)), ("bias", chart.up.down(3.0)),
                       ("limit", chart.up.down(-0.92)), ("limit", chart.up.down(6.92))}  # fmt: skip
    assert chart.up.low <= -0.92
    assert chart.up.high >= 6.92
    assert chart.dots[0].words == "a: 11 ml, true 10"


def test_a_larger_volume_stands_higher():
    [chart] = volume_charts(evaluation(score("small", 5, 10), score("large", 15, 10)))
    small, large = chart.dots
    assert large.y < small.y
    assert len(chart.captions) == 1  # no limits from two


def test_a_missing_prediction_says_nothing_of_volumes():
    [chart] = volume_charts(evaluation(score("a"), score("gone", 0, 10, missing=True, empty="prediction")))
    assert [dot.case for dot in chart.dots] == ["a"]
    assert volume_charts(evaluation(score("gone", 0, 10, missing=True, empty="prediction"))) == ()


def test_mixed_units_have_no_volumes():
    assert volume_charts(evaluation(score("a"), score("b", unit="voxels"))) == ()


def test_expected_dice_goes_across_and_the_true_one_up():
    chart = expectation_chart(evaluation(score("a", dice=0.2, expected=0.9), score("b")))
    [dot] = chart.dots
    assert (dot.x, dot.y) == (chart.across.at(0.9), chart.up.down(0.2))
    assert dot.words == "a, liver: expected 0.90, true 0.20"
    [line] = chart.lines
    middle = [(start + end) / 2 for start, end in zip(line.start, line.end, strict=True)]
    assert middle == pytest.approx([chart.across.at(0.5), chart.up.down(0.5)])


def test_no_chart_where_nothing_was_expected():
    assert expectation_chart(evaluation(score("a"))) is None
