import math

import numpy as np
import pytest
import torch

from lowshot.errors import GridMismatch, InputError, UnknownLabel
from lowshot.evaluation.comparable import with_blank_scan
from lowshot.evaluation.evaluate import evaluate, evaluate_case
from lowshot.evaluation.scores import Pair
from lowshot.evaluation.surface import image_diagonal
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation

NAMES = Names.of({5: "liver", 9: "spleen"})
SPACED = np.diag([1.0, 1.0, 3.0, 1.0])


def segmentation(boxes, names=NAMES, affine=SPACED, shape=(12, 12, 12)):
    """Boxes of one index each: {index: slices}."""
    labels = torch.zeros(shape, dtype=torch.int16)
    for index, slices in boxes.items():
        labels[slices] = index
    return Segmentation(labels, names, affine)


def box(i, j, k, size=4):
    return slice(i, i + size), slice(j, j + size), slice(k, k + size)


def by_structure(case):
    return {score.structure: score for score in case.scores}


def test_shifted_cube_by_hand():
    truth = segmentation({1: box(2, 2, 2)})
    [liver, spleen] = evaluate_case(segmentation({1: box(2, 2, 4)}), truth, "a").scores
    assert liver.dice == pytest.approx(0.5)
    assert (liver.hd95, liver.hd95_unit) == (pytest.approx(6), "mm")
    assert (liver.volume_truth, liver.volume_unit) == (pytest.approx(4**3 * 3 / 1000), "ml")
    assert liver.volume_difference == pytest.approx(0)
    assert liver.empty == "none"
    assert spleen.empty == "both"
    assert math.isnan(spleen.dice)
    assert math.isnan(spleen.hd95)


def test_one_empty_is_dice_zero_and_the_image_diagonal():
    scores = by_structure(evaluate_case(segmentation({1: box(0, 0, 0)}), segmentation({2: box(0, 0, 0)}), "a"))
    diagonal = image_diagonal((12, 12, 12), SPACED)
    assert (scores["liver"].dice, scores["liver"].hd95, scores["liver"].empty) == (0, diagonal, "truth")
    assert (scores["spleen"].dice, scores["spleen"].hd95, scores["spleen"].empty) == (0, diagonal, "prediction")


def test_unknown_spacing_counts_voxels():
    truth = with_blank_scan(segmentation({1: box(2, 2, 2)}), "a", spacing_known=False)
    liver, _ = evaluate_case(segmentation({1: box(2, 2, 4)}), truth, "a").scores
    assert (liver.hd95, liver.hd95_unit) == (pytest.approx(2), "voxels")
    assert (liver.volume_truth, liver.volume_unit) == (64, "voxels")


def test_structures_are_matched_by_name():
    """The prediction numbers them the other way round, and knows one more; only names count."""
    other = Names.of({1: "spleen", 2: "liver", 3: "kidney"})
    prediction = segmentation({2: box(2, 2, 2), 1: box(7, 7, 7), 3: box(0, 8, 0)}, other)
    truth = segmentation({1: box(2, 2, 2), 2: box(7, 7, 7)})
    assert [score.dice for score in evaluate_case(prediction, truth, "a").scores] == [1, 1]


def test_nothing_in_common():
    with pytest.raises(UnknownLabel, match=r"a: no structure in common.*heart.*liver, spleen"):
        evaluate_case(segmentation({}, Names.of({1: "heart"})), segmentation({}), "a")


def test_unknown_voxels_count_neither_as_right_nor_as_wrong():
    truth = segmentation({1: box(2, 2, 2)})
    prediction = segmentation({1: box(2, 2, 0, size=6)})  # 6×6×6, starting two slices below
    known = torch.zeros(12, 12, 12, dtype=torch.bool)
    known[2:6, 2:6, 2:6] = True  # only here does anybody know
    labelled = LabelledScan(with_blank_scan(truth, "a").scan, truth, known)
    assert evaluate_case(prediction, truth, "a").scores[0].dice < 0.5
    liver = evaluate_case(prediction, labelled, "a").scores[0]
    assert (liver.dice, liver.hd95) == (1, 0)
    assert liver.volume_prediction == liver.volume_truth == pytest.approx(4**3 * 3 / 1000)


def test_structures_nobody_looked_for_are_not_scored():
    truth = segmentation({1: box(2, 2, 2)})
    labelled = LabelledScan(with_blank_scan(truth, "a").scan, truth, annotated=frozenset({"liver"}))
    assert [score.structure for score in evaluate_case(truth, labelled, "a").scores] == ["liver"]


def test_another_grid_is_refused_by_name():
    truth = segmentation({1: box(2, 2, 2)})
    moved = SPACED.copy()
    moved[0, 3] = 5
    with pytest.raises(GridMismatch, match=r"case 7: .*differ \(by 5 mm"):
        evaluate_case(segmentation({1: box(2, 2, 2)}, affine=moved), truth, "case 7")
    with pytest.raises(GridMismatch, match=r"case 7: .*\(12, 12, 11\)"):
        evaluate_case(segmentation({}, shape=(12, 12, 11)), truth, "case 7")


def test_header_noise_is_not_another_grid():
    truth = segmentation({1: box(2, 2, 2)})
    assert evaluate_case(segmentation({1: box(2, 2, 2)}, affine=SPACED + 1e-8), truth, "a").scores[0].dice == 1


def test_a_missing_prediction_is_scored_as_empty_and_listed():
    truth = segmentation({1: box(2, 2, 2)})
    evaluation = evaluate([Pair("here", truth, truth), Pair("gone", None, truth)])
    assert evaluation.missing == ("gone",)
    rows = by_structure(evaluation.cases[1])
    assert (rows["liver"].dice, rows["liver"].empty, rows["liver"].missing) == (0, "prediction", True)
    assert rows["liver"].hd95 == image_diagonal((12, 12, 12), SPACED)
    assert rows["spleen"].empty == "both"


def test_variants_are_there_when_asked_for():
    truth = segmentation({1: box(2, 2, 2)})
    prediction = segmentation({1: box(2, 2, 4)})
    plain = evaluate_case(prediction, truth, "a").scores[0]
    assert math.isnan(plain.hd95_pooled_voxels)
    assert math.isnan(plain.hd95_in_plane)
    both = evaluate_case(prediction, truth, "a", variants=True).scores[0]
    assert both.hd95_pooled_voxels == pytest.approx(2)
    assert both.hd95_in_plane == pytest.approx(6)


def test_expected_dice_stands_beside_the_true_one():
    truth = segmentation({1: box(2, 2, 2)})
    liver, spleen = evaluate_case(truth, truth, "a", {"liver": 0.9, "spleen": None}).scores
    assert liver.expected_dice == 0.9
    assert math.isnan(spleen.expected_dice)


class OneBad(list):
    """A lazy sequence whose second pair cannot be read."""

    def __getitem__(self, position):
        if position == 1:
            raise InputError("b.nii.gz: truncated")
        return super().__getitem__(position)


def test_one_bad_pair_does_not_stop_the_others():
    truth = segmentation({1: box(2, 2, 2)})
    evaluation = evaluate(OneBad(Pair(name, truth, truth) for name in "abc"))
    assert [case.case for case in evaluation.cases] == ["a", "c"]
    assert [case.position for case in evaluation.cases] == [0, 2]
    assert evaluation.failed == ("b.nii.gz: truncated",)


def test_unusable_lists_of_pairs():
    truth = segmentation({1: box(2, 2, 2)})
    nobody = LabelledScan(with_blank_scan(truth, "a").scan, truth, annotated=frozenset())
    with pytest.raises(InputError, match="no pair"):
        evaluate([])
    with pytest.raises(InputError, match="a: no structure is annotated"):
        evaluate([Pair("a", truth, nobody)])
    with pytest.raises(InputError, match="called a;"):
        evaluate([Pair("a", truth, truth), Pair("a", truth, truth)])
    with pytest.raises(GridMismatch):
        evaluate([Pair("a", segmentation({}, shape=(3, 3, 3)), truth)])


def test_worst_come_first_and_empty_cases_last():
    truth = segmentation({1: box(2, 2, 2)})
    pairs = [
        Pair("good", truth, truth),
        Pair("nothing there", segmentation({}), segmentation({})),
        Pair("bad", segmentation({1: box(2, 2, 4)}), truth),
    ]
    assert [case.case for case in evaluate(pairs).worst_first()] == ["bad", "good", "nothing there"]


def test_a_two_dimensional_image():
    flat = segmentation({1: (slice(2, 6), slice(2, 6))}, affine=np.eye(4), shape=(10, 10, 1))
    shifted = segmentation({1: (slice(2, 6), slice(3, 7))}, affine=np.eye(4), shape=(10, 10, 1))
    scan = Scan("a", torch.zeros(1, 10, 10, 1), np.eye(4), spacing_known=False)
    score = evaluate_case(shifted, LabelledScan(scan, flat), "a").scores[0]
    assert (score.dice, score.hd95, score.hd95_unit) == (0.75, 1, "voxels")
    assert (score.true_positive_ratio, score.false_positive_ratio) == (0.75, 0.25)
    assert 0.2 < score.radial_error < 0.35  # of the rays, half end on sides that moved by half of their distance


def test_a_stretched_image_has_the_radial_error_of_its_shape_in_mm():
    affine = np.diag([4.0, 1.0, 1.0, 1.0])
    truth = segmentation({1: (slice(4, 8), slice(8, 24))}, affine=affine, shape=(12, 32, 1))  # 16×16 mm
    larger = segmentation({1: (slice(2, 10), slice(0, 32))}, affine=affine, shape=(12, 32, 1))  # 32×32 mm
    assert evaluate_case(larger, truth, "a").scores[0].radial_error == pytest.approx(1, abs=0.02)


def test_volumes_have_ratios_and_no_radial_error():
    liver, spleen = evaluate_case(segmentation({1: box(2, 2, 4)}), segmentation({1: box(2, 2, 2)}), "a").scores
    assert (liver.true_positive_ratio, liver.false_positive_ratio) == (0.5, 0.5)
    assert math.isnan(liver.radial_error)
    assert math.isnan(spleen.true_positive_ratio)


def test_what_is_predicted_on_slices_without_the_structure_is_counted_in_ml():
    """4×4 voxels of 3 mm³ on each of four slices, two of which show the liver."""
    liver, spleen = evaluate_case(segmentation({1: box(2, 2, 4)}), segmentation({1: box(2, 2, 2)}), "a").scores
    assert liver.volume_elsewhere == pytest.approx(2 * 16 * 3 / 1000)
    assert spleen.volume_elsewhere == 0
    beside = evaluate_case(segmentation({1: box(8, 8, 2)}), segmentation({1: box(2, 2, 2)}), "a").scores[0]
    assert (beside.dice, beside.volume_elsewhere) == (0, 0)


def test_where_no_slice_shows_a_structure_all_of_it_is_elsewhere():
    _, spleen = evaluate_case(segmentation({2: box(2, 2, 4)}), segmentation({1: box(2, 2, 2)}), "a").scores
    assert spleen.volume_elsewhere == spleen.volume_prediction == pytest.approx(64 * 3 / 1000)


def test_elsewhere_counts_voxels_where_their_size_is_unknown_and_none_that_are_unknown():
    truth = with_blank_scan(segmentation({1: box(2, 2, 2)}), "a", spacing_known=False)
    known = torch.ones(12, 12, 12, dtype=torch.bool)
    known[..., 7] = False
    partly = LabelledScan(truth.scan, truth.truth, known)
    found = [
        evaluate_case(segmentation({1: box(2, 2, 4)}), each, "a").scores[0].volume_elsewhere for each in (truth, partly)
    ]
    assert found == [32, 16]


def test_without_a_prediction_nothing_is_elsewhere():
    assert evaluate_case(None, segmentation({1: box(2, 2, 2)}), "a").scores[0].volume_elsewhere == 0


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("slices", [1, 5])
def test_one_known_slice_of_a_volume_is_scored_as_the_picture_it_is(axis, slices):
    """A square of 4 with a corner of 2 beside it: the square's inner pixels are no border."""
    spacing = np.array([1.0, 2.0])
    truth, found = torch.zeros(2, 20, 20, dtype=torch.int16)
    truth[4:8, 4:8] = found[4:8, 4:8] = found[12:14, 4:6] = 1

    def within(picture):
        shape, affine = [20, 20], np.eye(4)
        shape.insert(axis, slices)
        affine[:3, :3] = np.diag(np.insert(spacing, axis, 7.0))
        labels = torch.zeros(shape, dtype=torch.int16)
        labels.select(axis, slices // 2)[:] = picture
        return Segmentation(labels, NAMES, affine)

    known = torch.zeros(within(truth).labels.shape, dtype=torch.bool)
    known.select(axis, slices // 2)[:] = True
    labelled = LabelledScan(with_blank_scan(within(truth), "a").scan, within(truth), known)
    flat = Segmentation(truth[..., None], NAMES, np.diag([1.0, 2.0, 7.0, 1.0]))
    [liver, spleen] = evaluate_case(within(found), labelled, "a").scores
    [same, nowhere] = evaluate_case(Segmentation(found[..., None], NAMES, flat.affine), flat, "a").scores
    assert liver.hd95 == same.hd95 > 5
    assert (liver.dice, liver.volume_truth, liver.radial_error) == (same.dice, same.volume_truth, same.radial_error)
    assert spleen.empty == nowhere.empty == "both"
    missed, _ = evaluate_case(None, labelled, "a").scores
    assert missed.hd95 == pytest.approx(math.hypot(20, 40))  # the slice's diagonal, not the volume's
