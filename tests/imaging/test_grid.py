import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lowshot.imaging.grid import Grid

SHEAR = np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]])


def grid(linear, shape=(4, 5, 6), origin=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, origin
    return Grid(shape, affine)


def test_spacing_and_volume_of_an_oblique_grid():
    turned = grid(Rotation.from_euler("xyz", (30, 40, 50), degrees=True).as_matrix() * (0.5, 2, 3))
    assert turned.spacing == pytest.approx((0.5, 2, 3))
    assert turned.voxel_volume_mm3 == pytest.approx(3)


def test_shear_lengthens_an_axis_and_keeps_the_volume():
    assert grid(SHEAR).spacing == pytest.approx((1, np.sqrt(1.25), 1))
    assert grid(SHEAR).voxel_volume_mm3 == pytest.approx(1)


def test_corners():
    corners = grid(np.diag([1, 2, 3]), origin=(10, 0, 0)).corners()
    assert corners.shape == (8, 3)
    assert corners.min(0).tolist() == [10, 0, 0]
    assert corners.max(0).tolist() == [13, 8, 15]


def test_header_noise_is_the_same_grid_and_a_shift_is_not():
    one = grid(np.eye(3), (200, 200, 200))
    noise = np.random.default_rng(0).normal(0, 1e-8, (3, 3))
    assert one.same_as(grid(np.eye(3) + noise, (200, 200, 200)))
    assert not one.same_as(grid(np.eye(3), (200, 200, 200), origin=(0.2, 0, 0)))
    assert not one.same_as(grid(np.diag([-1, 1, 1]), (200, 200, 200), origin=(199, 0, 0)))
    # A turn of a tenth of a degree moves the far corner by more than a third of a voxel.
    assert not one.same_as(grid(Rotation.from_euler("z", 0.1, degrees=True).as_matrix(), (200, 200, 200)))


def test_other_shapes_are_infinitely_far():
    assert grid(np.eye(3)).distance_mm(grid(np.eye(3), (4, 5, 7))) == np.inf


@pytest.mark.parametrize("shape", [(4, 5, 0), (4, -1, 6)])
def test_impossible_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected three positive sizes"):
        grid(np.eye(3), shape)


def test_impossible_affines_are_refused():
    with pytest.raises(ValueError, match=r"expected \(4, 4\) float64, got \(3, 3\)"):
        Grid((4, 5, 6), np.eye(3))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(), (1,), (0, 2), (0, 1, 2)])
def test_voxels_stored_in_another_order_are_put_where_they_belong(axes, flips):
    """An oblique grid whose every voxel holds its own place in the body."""
    here = grid(Rotation.from_euler("xyz", (10, -20, 30), degrees=True).as_matrix() * (1, 2, 3), (4, 5, 6), (7, 8, 9))
    matrix = np.eye(4)[:, [*axes, 3]]
    for axis in flips:
        matrix[:, 3] += matrix[:, axis] * (here.shape[axes[axis]] - 1)
        matrix[:, axis] *= -1
    there = Grid(tuple(here.shape[axis] for axis in axes), here.affine @ matrix)
    found = here.reordering(there)
    assert found == (axes, flips)
    place = np.stack(np.meshgrid(*(np.arange(n) for n in here.shape), indexing="ij"), axis=-1)
    reordered = np.flip(place.transpose(*found[0], 3), found[1])
    indices = np.moveaxis(np.indices(there.shape), 0, -1)
    world = indices @ there.affine[:3, :3].T + there.affine[:3, 3]
    assert np.allclose(reordered @ here.affine[:3, :3].T + here.affine[:3, 3], world)


def test_a_shifted_turned_or_finer_grid_is_no_other_order():
    here = grid(np.eye(3), (4, 5, 6))
    assert here.reordering(grid(np.eye(3), (4, 5, 6), origin=(1, 0, 0))) is None
    assert here.reordering(grid(np.diag([-1, 1, 1]), (4, 5, 6))) is None
    assert here.reordering(grid(np.eye(3) / 2, (8, 10, 12))) is None
    assert here.reordering(grid(Rotation.from_euler("z", 30, degrees=True).as_matrix(), (4, 5, 6))) is None
