import math

import pytest
import torch

from lowshot.transforms.spatial import (
    SpatialRanges,
    SpatialTransform,
    apply_spatial,
    draw_spatial,
    rotation_matrices,
)

EXTENT = (30.0, 30.0, 30.0)
CUBIC = (1.0, 1.0, 1.0)


def draw(ranges, count=50, extent_mm=EXTENT, spacing=CUBIC, seed=0):
    return draw_spatial(ranges, count, extent_mm, spacing, torch.Generator().manual_seed(seed))


def positions(count=1):
    axis = torch.arange(3.0) - 1
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).expand(count, 3, 3, 3, 3)


def test_zero_ranges_are_the_identity():
    transform = draw(SpatialRanges())
    assert torch.equal(transform.matrix, torch.eye(3).expand(50, 3, 3))
    assert not transform.shift_mm.any()
    assert transform.elastic_mm is None
    assert torch.equal(apply_spatial(transform, positions(50)), positions(50))


def test_rotations_are_rotations():
    matrices = rotation_matrices(torch.randn(100, 3))
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3).expand(100, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(100))


@pytest.mark.parametrize(
    ("axis", "start", "end"), [(0, (0, 1, 0), (0, 0, 1)), (1, (0, 0, 1), (1, 0, 0)), (2, (1, 0, 0), (0, 1, 0))]
)
def test_a_quarter_turn(axis, start, end):
    angles = torch.zeros(1, 3)
    angles[0, axis] = math.pi / 2
    turned = rotation_matrices(angles)[0] @ torch.tensor(start, dtype=torch.float32)
    torch.testing.assert_close(turned, torch.tensor(end, dtype=torch.float32), atol=1e-6, rtol=0)


def test_rotations_come_about_x_then_y_then_z():
    angles = torch.tensor([[0.3, -0.2, 0.5]])
    x, y, z = (rotation_matrices(angles * torch.eye(3)[axis]) for axis in range(3))
    torch.testing.assert_close(rotation_matrices(angles), z @ y @ x)


def test_angles_stay_within_their_range():
    matrices = draw(SpatialRanges(rotation_degrees=12.0), count=500).matrix
    z_angles = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 10 < z_angles.max() <= 12 + 1e-4
    assert -12 - 1e-4 <= z_angles.min() < -10


@pytest.mark.parametrize(
    ("extent_mm", "spacing", "axis"),
    [
        ((30.0, 30.0, 30.0), (1.0, 1.0, 5.0), 2),
        ((30.0, 30.0, 30.0), (5.0, 1.0, 1.0), 0),  # a sagittal stack
        ((30.0, 30.0, 30.0), (1.0, 5.0, 1.0), 1),  # a coronal stack
        ((30.0, 30.0, 0.0), (1.0, 1.0, 1.0), 2),  # a 2-D image
    ],
)
def test_slices_turn_in_their_plane_alone(extent_mm, spacing, axis):
    matrices = draw(SpatialRanges(rotation_degrees=30.0), extent_mm=extent_mm, spacing=spacing).matrix
    alone = torch.eye(3)[axis].expand(50, 3)
    torch.testing.assert_close(matrices[:, axis], alone)
    torch.testing.assert_close(matrices[:, :, axis], alone)
    assert (matrices - torch.eye(3)).abs().amax((1, 2)).median() > 0.1


def test_scale_is_common_and_stretch_is_not():
    scaled = draw(SpatialRanges(scale=0.25), count=500).matrix
    factors = torch.diagonal(scaled, dim1=1, dim2=2)
    torch.testing.assert_close(torch.diag_embed(factors), scaled)
    torch.testing.assert_close(factors, factors[:, :1].expand(-1, 3))
    assert 0.8 - 1e-6 <= factors.min() < 0.82
    assert 1.22 < factors.max() <= 1.25 + 1e-6
    stretched = torch.diagonal(draw(SpatialRanges(stretch=0.25)).matrix, dim1=1, dim2=2)
    assert not torch.allclose(stretched, stretched[:, :1].expand(-1, 3))


def test_shear_keeps_volume():
    matrices = draw(SpatialRanges(shear=0.3)).matrix
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(50))
    assert (matrices - torch.eye(3)).abs().max() > 0.2


def test_shift_is_in_millimetres_whatever_the_spacing():
    ranges = SpatialRanges(shift_mm=5.0)
    fine, coarse = (draw(ranges, spacing=spacing).shift_mm for spacing in (CUBIC, (2.0, 2.0, 2.0)))
    assert torch.equal(fine, coarse)
    assert 4 < fine.abs().max() <= 5


def test_a_point_is_turned_and_then_shifted():
    quarter = rotation_matrices(torch.tensor([[0.0, 0.0, math.pi / 2]]))
    transform = SpatialTransform(quarter, torch.tensor([[10.0, 0.0, 0.0]]), None)
    moved = apply_spatial(transform, torch.tensor([1.0, 0.0, 2.0]).reshape(1, 1, 1, 1, 3))
    torch.testing.assert_close(moved.flatten(), torch.tensor([10.0, 1.0, 2.0]))


def test_elastic_displacement_is_as_strong_as_told_and_smooth():
    transform = draw(SpatialRanges(elastic_mm=2.0, elastic_spacing_mm=10.0), count=20)
    assert transform.elastic_mm.shape == (20, 3, 4, 4, 4)
    grid = torch.zeros(20, 31, 31, 31, 3)
    displacement = apply_spatial(transform, grid)
    assert float(transform.elastic_mm.std()) == pytest.approx(2.0, rel=0.1)
    assert torch.equal(displacement[:, 0, 0, 0], transform.elastic_mm[:, :, 0, 0, 0])
    # Linear between control points ten voxels apart.
    assert displacement.diff(dim=1).abs().max() <= transform.elastic_mm.diff(dim=2).abs().max() / 10 + 1e-4


def test_the_generator_decides_alone():
    ranges = SpatialRanges(10.0, 0.1, 0.1, 0.1, 5.0, 2.0)
    for first, second in zip(draw(ranges, seed=3), draw(ranges, seed=3), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(draw(ranges, seed=3).matrix, draw(ranges, seed=4).matrix)


def test_within_slices_nothing_moves_from_one_to_another():
    ranges = SpatialRanges(20.0, 0.3, 0.3, 0.2, 5.0, elastic_mm=3.0)
    drawn = draw(ranges)
    flat, at = drawn.within((9, 9, 1)), positions(50)
    moved = apply_spatial(flat, at)
    assert torch.equal(moved[..., 2], at[..., 2])
    assert torch.equal(flat.matrix[:, :2, :2], drawn.matrix[:, :2, :2])
    assert torch.equal(flat.shift_mm[:, :2], drawn.shift_mm[:, :2])
    assert not torch.allclose(moved[..., :2], at[..., :2])
    whole = drawn.within((9, 9, 9))
    assert all(torch.equal(one, other) for one, other in zip(whole, drawn, strict=True))
