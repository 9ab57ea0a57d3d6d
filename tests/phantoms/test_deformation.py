import numpy as np
import pytest

from lowshot.imaging.grid import Grid
from lowshot.phantoms.deformation import Deformation
from lowshot.phantoms.variability import Variability

GRID = Grid((40, 32, 24), np.array([[-9.0, 0, 0, 175], [0, -9, 0, 140], [0, 0, 12, -120], [0, 0, 0, 1]]))


def scanner_points(grid):
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij"), axis=-1)
    return np.moveaxis(indices @ grid.affine[:3, :3].T + grid.affine[:3, 3], -1, 0)


def test_the_average_subject_lies_straight_in_the_scanner():
    points = Deformation.draw(Variability(5, amount=0.0)).body_points(GRID)
    np.testing.assert_allclose(points, scanner_points(GRID), atol=1e-4)


def test_pose_and_size_are_undone_before_the_warp_is_added():
    deformation = Deformation.draw(Variability(5))
    upright = (scanner_points(GRID) - deformation.shift_mm.reshape(3, 1, 1, 1)).astype(np.float64)
    body = np.einsum("ba,bijk->aijk", deformation.axes, upright) / deformation.size.reshape(3, 1, 1, 1)
    warp = deformation.warp_mm * np.stack([noise(body.astype(np.float32)) for noise in deformation.warp])
    np.testing.assert_allclose(deformation.body_points(GRID), body + warp, atol=0.15)  # interpolated warp


def test_neighbours_stay_in_order():
    smallest = []
    for seed in range(20):
        points = Deformation.draw(Variability(seed)).body_points(GRID).astype(np.float64)
        columns = [np.gradient(points, step, axis=axis) for axis, step in enumerate((-9.0, -9.0, 12.0), start=1)]
        smallest.append(np.linalg.det(np.moveaxis(np.stack(columns), (0, 1), (-1, -2))).min())
    assert min(smallest) > 0.2


def test_subjects_differ():
    one, other = (Deformation.draw(Variability(seed)).body_points(GRID) for seed in (0, 1))
    assert np.linalg.norm(one - other, axis=0).mean() > 5


def test_one_slice_is_a_grid_too():
    thin = Grid((40, 32, 1), GRID.affine)
    deformation = Deformation.draw(Variability(5))
    np.testing.assert_allclose(deformation.body_points(thin)[..., 0], deformation.body_points(GRID)[..., 0], atol=0.15)


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_seeds_give_equal_bodies(seed):
    one, other = (Deformation.draw(Variability(seed)).body_points(GRID) for _ in range(2))
    np.testing.assert_array_equal(one, other)
