import numpy as np
import pytest
import torch

from lowshot.imaging.grid import Grid
from lowshot.registration.affine import Picture
from lowshot.registration.working_grid import MARGIN_MM, working_grid


def atlas(shape=(40, 30, 20), spacing=(1.0, 2.0, 3.0)):
    voxels = torch.zeros(1, *shape)
    voxels[:, 10:21, 5:16, : max(1, shape[2] // 2)] = 1.0
    return Picture.of("atlas", voxels, Grid(shape, np.diag([*spacing, 1.0])))


def test_it_is_around_the_body_with_a_margin_in_multiples():
    grid = working_grid(atlas(), None, None, multiple=8)
    assert all(size % 8 == 0 for size in grid.shape)
    assert grid.spacing == pytest.approx((1.0, 2.0, 3.0))
    ends = grid.corners()
    assert (ends.min(0) <= np.array([10.0, 10.0, 0.0]) - MARGIN_MM + 1.5).all()
    assert (ends.max(0) >= np.array([20.0, 30.0, 27.0]) + MARGIN_MM - 1.5).all()
    np.testing.assert_allclose(ends.mean(0), [15.0, 20.0, 13.5], atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 16, 8), (15, 17, 9)])
def test_a_crop_at_the_atlas_own_spacing_interpolates_nothing(shape):
    picture = atlas()
    found = np.linalg.inv(picture.grid.affine) @ working_grid(picture, None, shape, multiple=8).affine
    np.testing.assert_array_equal(found[:3, 3], np.round(found[:3, 3]))


def test_at_another_spacing_the_body_is_in_the_middle():
    grid = working_grid(atlas(), (1.5, 1.5, 1.5), (16, 16, 16), multiple=8)
    np.testing.assert_allclose(grid.corners().mean(0), [15.0, 20.0, 13.5], atol=1e-6)


def test_something_small_has_a_small_margin():
    found = working_grid(atlas(spacing=(0.001, 0.001, 0.001)), None, None, multiple=1).shape
    assert all(size < 20 for size in found)


def test_the_spacing_and_the_least_size_are_kept():
    grid = working_grid(atlas(), (4.0, 4.0, 4.0), None, multiple=4, least=12)
    assert grid.spacing == pytest.approx((4.0, 4.0, 4.0))
    assert min(grid.shape) >= 12


def test_a_given_shape_lies_around_the_centroid():
    grid = working_grid(atlas(), None, (16, 16, 8), multiple=8)
    assert grid.shape == (16, 16, 8)
    assert (abs(grid.corners().mean(0) - [15.0, 20.0, 13.5]) <= np.array(grid.spacing) / 2 + 1e-6).all()


def test_a_slice_stays_one():
    grid = working_grid(atlas((40, 30, 1)), (2.0, 2.0, 2.0), None, multiple=8, least=24)
    assert grid.shape[2] == 1
    assert grid.spacing == pytest.approx((2.0, 2.0, 3.0))
