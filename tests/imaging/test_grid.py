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
