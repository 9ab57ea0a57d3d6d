import math

import numpy as np
import pytest

from lowshot.evaluation.overlap import dice, false_positive_ratio, true_positive_ratio


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


def test_ratios_by_hand():
    prediction, truth = np.zeros((2, 4, 4, 1), dtype=bool)
    truth[:2] = True  # 8 pixels
    prediction[1:] = True  # 4 of them, and 8 beside
    assert true_positive_ratio(prediction, truth) == 0.5
    assert false_positive_ratio(prediction, truth) == 1.0
    assert dice(prediction, truth) == pytest.approx(2 * 0.5 / (1 + 0.5 + 1.0))


def test_ratios_need_a_truth():
    empty, full = np.zeros((2, 2, 1), dtype=bool), np.ones((2, 2, 1), dtype=bool)
    assert (true_positive_ratio(empty, full), false_positive_ratio(empty, full)) == (0, 0)
    for ratio in (true_positive_ratio, false_positive_ratio):
        assert math.isnan(ratio(full, empty))
        assert math.isnan(ratio(empty, empty))
