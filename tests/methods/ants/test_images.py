import ants
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from lowshot.imaging.grid import Grid
from lowshot.methods.ants.images import from_ants, placement, to_ants

TURN = Rotation.from_euler("xyz", (10, -20, 30), degrees=True).as_matrix()
GRIDS = {
    "standard": np.diag([1.0, 2.0, 3.0]),
    "oblique": TURN * (1.0, 2.0, 3.0),
    "flipped": TURN @ np.diag([-1.0, 2.0, 3.0]),
    "permuted": np.array([[0.0, 0.0, 2.0], [-1.5, 0.0, 0.0], [0.0, 3.0, 0.0]]),
}
SHEARED = np.array([[1.0, 0.2, 0.0], [0.0, 1.0, 0.1], [0.0, 0.0, 3.0]])
VOXELS = torch.arange(6 * 5 * 4.0).reshape(6, 5, 4)


def grid(linear, shape=(6, 5, 4), origin=(-40.0, 25.0, 300.0)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, origin
    return Grid(shape, affine)


def in_ras(image, index):
    """Where ANTs believes a voxel to lie, in our coordinates."""
    return ants.transform_index_to_physical_point(image, np.array(index)) * (-1, -1, 1)


@pytest.mark.parametrize("linear", GRIDS.values(), ids=GRIDS)
def test_a_voxel_lies_where_its_grid_says(linear):
    image = to_ants(VOXELS, grid(linear))
    for index in ([0, 0, 0], [5, 0, 0], [0, 4, 0], [5, 4, 3]):
        np.testing.assert_allclose(in_ras(image, index), (grid(linear).affine @ [*index, 1])[:3], atol=1e-4)
        told = (placement(grid(linear)).matrix() @ [*index, 1])[:3] * (-1, -1, 1)
        np.testing.assert_allclose(told, in_ras(image, index), atol=1e-4)


@pytest.mark.parametrize("linear", GRIDS.values(), ids=GRIDS)
def test_voxels_come_back_as_they_were(linear):
    assert torch.equal(from_ants(to_ants(VOXELS, grid(linear)), (6, 5, 4)), VOXELS)


def test_a_sheared_grid_becomes_the_nearest_perpendicular_one_around_the_same_centre():
    sheared = grid(SHEARED)
    origin, spacing, direction = placement(sheared)
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-8)
    np.testing.assert_allclose(spacing, sheared.spacing, atol=1e-6)
    half = np.array([2.5, 2.0, 1.5])
    centre = (np.array(origin) + direction @ (spacing * half)) * (-1, -1, 1)
    np.testing.assert_allclose(centre, (sheared.affine @ [*half, 1])[:3], atol=1e-5)
    own = (np.diag([-1, -1, 1]) @ SHEARED) / spacing
    turned = direction @ Rotation.from_euler("z", 3, degrees=True).as_matrix()
    assert np.linalg.norm(direction - own) < np.linalg.norm(turned - own)


def test_rounding_in_a_header_makes_no_difference():
    linear = GRIDS["oblique"]
    noisy = linear * (1 + 1e-14 * np.random.default_rng(0).normal(size=(3, 3)))
    one, other = placement(grid(linear)), placement(grid(noisy))
    assert one.origin == other.origin
    assert one.spacing == other.spacing
    assert np.array_equal(one.direction, other.direction)


def test_a_picture_has_two_axes():
    picture = to_ants(VOXELS[:, :, :1], grid(np.diag([0.5, 0.7, 9.0]), (6, 5, 1)))
    assert (picture.dimension, picture.shape, picture.spacing) == (2, (6, 5), (0.5, 0.7))
    assert torch.equal(from_ants(picture, (6, 5, 1)), VOXELS[:, :, :1])
