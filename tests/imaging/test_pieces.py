import numpy as np
import pytest
from scipy import ndimage

from lowshot.imaging.pieces import largest_piece


def test_the_largest_of_three_by_hand():
    mask = np.array([[1, 0, 0, 1, 1], [0, 0, 0, 1, 0], [1, 1, 0, 0, 0]], dtype=bool)
    kept = np.zeros_like(mask)
    kept[0, 3:], kept[1, 3] = True, True
    np.testing.assert_array_equal(largest_piece(mask), kept)


def test_corners_touch_and_of_equal_pieces_the_first_is_kept():
    assert largest_piece(np.eye(3, dtype=bool)).sum() == 3
    np.testing.assert_array_equal(largest_piece(np.array([True, False, True])), [True, False, False])


@pytest.mark.parametrize("value", [False, True])
def test_nothing_and_everything_stay_as_they_are(value):
    mask = np.full((3, 4, 2), value)
    np.testing.assert_array_equal(largest_piece(mask), mask)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_kept_is_one_piece_and_none_is_larger(seed):
    mask = np.random.default_rng(seed).random((9, 8, 7)) < 0.12
    kept = largest_piece(mask)
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    assert not (kept & ~mask).any()
    assert ndimage.label(kept, structure=np.ones((3, 3, 3)))[1] == 1
    assert kept.sum() == max((pieces == n).sum() for n in range(1, count + 1))
