"""Scores as other scorers compute them: by hand, and against the lines of their code that decide."""

import math

import numpy as np
import pytest

from lowshot.evaluation.overlap import dice
from lowshot.evaluation.surface import VOXELS, hd95_in_plane, hd95_pooled_voxels, image_diagonal
from lowshot.evaluation.variants import dice_of_slices, variants_of

SHAPE = (6, 5, 4)


def mask(*voxels):
    found = np.zeros(SHAPE, dtype=bool)
    for voxel in voxels:
        found[voxel] = True
    return found


NOTHING = mask()


def test_every_slice_counts_the_same():
    truth = mask((1, 1, 0), (1, 2, 0), (1, 3, 0), (1, 1, 1))
    prediction = mask((1, 1, 0), (1, 2, 0), (1, 3, 0), (2, 2, 2))
    # Slice 0: 1; slice 1 was not found; slice 2 shows none; slice 3 shows nothing in either and does not count.
    assert dice_of_slices(prediction, truth) == pytest.approx(1 / 3)
    assert dice(prediction, truth) == pytest.approx(6 / 8)
    assert math.isnan(dice_of_slices(NOTHING, NOTHING))


def test_dice_of_slices_is_that_of_the_volume_where_there_is_one_slice():
    generator = np.random.default_rng(0)
    prediction, truth = (generator.random((7, 8, 1)) < 0.4 for _ in range(2))
    assert dice_of_slices(prediction, truth) == pytest.approx(dice(prediction, truth))


@pytest.mark.parametrize(
    ("prediction", "truth", "scores"),
    [
        (mask((1, 1, 1)), NOTHING, (1, 0)),
        (NOTHING, mask((1, 1, 1)), (0, 0)),
        (NOTHING, NOTHING, (0, 0)),
        (mask((1, 1, 1)), mask((1, 1, 1)), (1, 0)),
        (mask((1, 1, 1)), mask((3, 1, 1)), (0, 2)),
    ],
)
def test_empty_masks_count_as_in_the_scorer_of_mt_unet(prediction, truth, scores):
    found = variants_of(prediction, truth, VOXELS)
    assert (found["dice_legacy_empty"], found["hd95_legacy_empty"]) == pytest.approx(scores)


def test_each_has_its_name():
    prediction, truth = mask((1, 1, 1), (2, 1, 1)), mask((1, 1, 1), (4, 4, 2))
    found = variants_of(prediction, truth, np.diag([2.0, 1.0, 1.0, 1.0]))
    assert found["hd95_in_plane"] == hd95_in_plane(prediction, truth, np.diag([2.0, 1.0, 1.0, 1.0]))
    assert found["hd95_pooled_voxels"] == found["hd95_legacy_empty"] == hd95_pooled_voxels(prediction, truth)
    assert variants_of(NOTHING, truth, VOXELS)["hd95_pooled_voxels"] == image_diagonal(SHAPE)
