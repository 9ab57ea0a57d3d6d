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
    assert one.same_as(grid(np.eye(3) + noise, (200, 200, 200)), tolerance=1e-5)
    assert not one.same_as(grid(np.eye(3), (200, 200, 200), origin=(0.2, 0, 0)), tolerance=0.1)
    assert not one.same_as(grid(np.eye(3), (200, 200, 200), origin=(0.6, 0, 0)))
    assert not one.same_as(grid(np.diag([-1, 1, 1]), (200, 200, 200), origin=(199, 0, 0)))
    # A turn of a fifth of a degree moves the far corner by nearly a voxel.
    assert not one.same_as(grid(Rotation.from_euler("z", 0.2, degrees=True).as_matrix(), (200, 200, 200)))


def test_a_header_rounded_to_three_digits_is_of_the_same_grid():
    exact, rounded = (grid(np.diag([side, side, 5]), (512, 512, 40)) for side in (0.48828125, 0.488))
    assert exact.distance_mm(rounded) == pytest.approx(0.203, abs=1e-3)
    assert exact.same_as(rounded)
    assert not exact.same_as(grid(np.diag([0.49, 0.49, 5]), (512, 512, 40)))


def test_other_shapes_are_infinitely_far():
    assert grid(np.eye(3)).distance_mm(grid(np.eye(3), (4, 5, 7))) == np.inf


@pytest.mark.parametrize("shape", [(4, 5, 0), (4, -1, 6)])
def test_impossible_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected three positive sizes"):
        grid(np.eye(3), shape)


def test_impossible_affines_are_refused():
    with pytest.raises(ValueError, match=r"expected \(4, 4\) float64, got \(3, 3\)"):
        Grid((4, 5, 6), np.eye(3))


def places(of):
    """Of every voxel of a grid its place in the body, (i, j, k, 3)."""
    return np.moveaxis(np.indices(of.shape), 0, -1) @ of.affine[:3, :3].T + of.affine[:3, 3]


def reordered(here, axes, flips):
    """The same voxels along other axes."""
    matrix = np.eye(4)[:, [*axes, 3]]
    for axis in flips:
        matrix[:, 3] += matrix[:, axis] * (here.shape[axes[axis]] - 1)
        matrix[:, axis] *= -1
    return Grid(tuple(here.shape[axis] for axis in axes), here.affine @ matrix)


def oblique():
    return grid(Rotation.from_euler("xyz", (10, -20, 30), degrees=True).as_matrix() * (1, 2, 3), (4, 5, 6), (7, 8, 9))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(), (1,), (0, 2), (0, 1, 2)])
def test_voxels_stored_in_another_order_are_put_where_they_belong(axes, flips):
    """An oblique grid whose every voxel holds one coordinate of its own place in the body."""
    here = oblique()
    there = reordered(here, axes, flips)
    found = here.arrangement(there)
    assert (found.axes, found.flips, found.start) == (axes, flips, (0, 0, 0))
    assert found.covers(here.shape)
    assert found.keeps_order == (axes == (0, 1, 2) and not flips)
    for coordinate in range(3):
        moved = found.apply(places(here)[..., coordinate], 0)
        assert np.allclose(moved, places(there)[..., coordinate])


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(), (0, 2)])
def test_a_box_of_voxels_is_put_where_it_was_cut_out(axes, flips):
    there = reordered(oblique(), axes, flips)
    box = oblique().part((1, 2, 0), (2, 3, 5))
    found = box.arrangement(there)
    assert not found.covers(box.shape)
    moved = np.stack([found.apply(places(box)[..., k], -1000) for k in range(3)], axis=-1)
    inside = (moved != -1000).all(axis=-1)
    assert inside.sum() == 2 * 3 * 5
    assert np.allclose(moved[inside], places(there)[inside])


def test_what_lies_around_a_box_may_need_a_larger_type():
    found = grid(np.eye(3), (1, 1, 1)).arrangement(grid(np.eye(3), (1, 1, 2)))
    assert found.apply(np.array([[[200]]], dtype=np.uint8), -1024).tolist() == [[[200, -1024]]]
    assert found.apply(np.array([[[True]]]), False).dtype == np.bool_


def test_a_shifted_turned_or_finer_grid_is_no_other_order():
    here = grid(np.eye(3), (4, 5, 6))
    assert here.arrangement(grid(np.eye(3), (4, 5, 6), origin=(1, 0, 0))) is None
    assert here.arrangement(grid(np.diag([-1, 1, 1]), (4, 5, 6))) is None
    assert here.arrangement(grid(np.eye(3) / 2, (8, 10, 12))) is None
    assert here.arrangement(grid(Rotation.from_euler("z", 30, degrees=True).as_matrix(), (4, 5, 6))) is None


def test_a_box_must_lie_within_and_between_no_voxels():
    large = grid(np.eye(3), (8, 8, 8))
    assert grid(np.eye(3), (4, 5, 6), origin=(4, 3, 2)).arrangement(large).start == (4, 3, 2)
    assert grid(np.eye(3), (4, 5, 6), origin=(5, 3, 2)).arrangement(large) is None
    assert grid(np.eye(3), (4, 5, 6), origin=(-1, 0, 0)).arrangement(large) is None
    assert grid(np.eye(3), (4, 5, 6), origin=(1.3, 0, 0)).arrangement(large) is None
