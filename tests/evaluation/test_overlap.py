import math

import numpy as np
import pytest

from lowshot.evaluation.overlap import dice


def test_hand_computed():
    prediction, truth = np.zeros((2, 4, 4, 4), dtype=bool)
    truth[0, 0, :4] = True  # 4 voxels
    prediction[0, 0, 2:] = True  # 2 of them
    prediction[1, 1, 1] = True  # and one beside
    assert dice(prediction, truth) == pytest.approx(2 * 2 / (4 + 3))


def test_both_empty_says_nothing_and_one_empty_is_zero():
    empty, full = np.zeros((2, 2, 1), dtype=bool), np.ones((2, 2, 1), dtype=bool)
    assert math.isnan(dice(empty, empty))
    assert dice(empty, full) == dice(full, empty) == 0
    assert dice(full, full) == 1
