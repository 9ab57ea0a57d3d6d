import numpy as np
import pytest
import torch

from lowshot.registration.fields import (
    compose,
    exponential,
    folded_share,
    in_mm,
    inverse,
    jacobian_determinant,
    resized,
    warp,
)
from registration.blobs import smooth_field

SPACING = (2.0, 3.0, 2.5)
SHAPE = (24, 20, 18)
INNER = (..., slice(5, -5), slice(4, -4), slice(4, -4))


def constant(mm, shape=SHAPE):
    return torch.tensor(mm).reshape(1, 3, 1, 1, 1).expand(1, 3, *shape).clone()


def smooth(mean_mm=3.0, seed=0, shape=SHAPE, spacing=SPACING):
    return smooth_field(shape, spacing, mean_mm, seed=seed)[None]


def linear(A, shape=SHAPE, spacing=SPACING):
    """u(p) = A p, with p in mm from the first voxel."""
    at = torch.from_numpy(np.moveaxis(np.indices(shape), 0, -1) * np.array(spacing))
    return (at @ torch.tensor(A, dtype=torch.float64).T).movedim(-1, 0)[None].float()


def test_a_field_of_whole_voxels_is_a_roll():
    image = torch.rand(1, 2, *SHAPE)
    moved = warp(image, constant([4.0, -3.0, 5.0]), SPACING)  # 2, -1 and 2 voxels
    torch.testing.assert_close(moved[INNER], image.roll((-2, 1, -2), (2, 3, 4))[INNER], atol=1e-5, rtol=0)


def test_what_a_field_fetches_from_outside():
    image = torch.arange(1.0, 6.0).reshape(1, 1, 5, 1, 1)
    field = constant([2.0, 0.0, 0.0], (5, 1, 1))
    assert warp(image, field, (1.0, 1.0, 1.0)).flatten().tolist() == [3, 4, 5, 0, 0]
    assert warp(image, field, (1.0, 1.0, 1.0), outside="border").flatten().tolist() == [3, 4, 5, 5, 5]


def test_no_field_and_no_change():
    image = torch.rand(2, 1, *SHAPE)
    torch.testing.assert_close(warp(image, torch.zeros(2, 3, *SHAPE), SPACING), image, atol=1e-5, rtol=0)


def test_one_composed_field_warps_like_two_one_after_the_other():
    first, second, ramps = smooth(seed=1), smooth(seed=2), linear(np.diag([0.5, -0.7, 0.3]))
    twice = warp(warp(ramps, first, SPACING), second, SPACING)
    torch.testing.assert_close(warp(ramps, compose(first, second, SPACING), SPACING)[INNER], twice[INNER])
    assert not torch.allclose(warp(ramps, compose(second, first, SPACING), SPACING)[INNER], twice[INNER], atol=0.1)


def test_composed_shifts_add_up():
    both = compose(constant([1.0, 2.0, 3.0]), constant([0.5, -4.0, 1.0]), SPACING)
    torch.testing.assert_close(both, constant([1.5, -2.0, 4.0]))


def test_the_inverse_undoes_a_field_from_either_side():
    field = smooth(4.0)
    back = inverse(field, SPACING)
    assert field[INNER].norm(dim=1).max() > 4
    assert compose(field, back, SPACING)[INNER].norm(dim=1).max() < 0.02
    assert compose(back, field, SPACING)[INNER].norm(dim=1).max() < 0.3  # interpolated once more


def test_a_constant_velocity_leads_there_in_a_straight_line():
    velocity = constant([3.0, -7.0, 1.5])
    torch.testing.assert_close(exponential(velocity, SPACING), velocity, atol=1e-5, rtol=1e-5)


def test_the_exponential_of_a_turning_velocity_is_a_turn():
    """v(p) = W p, so that exp(v)(p) = expm(W) p."""
    W = np.array([[0, -0.4, 0], [0.4, 0, 0], [0, 0, 0]])
    shape, spacing = (41, 41, 3), (1.0, 1.0, 1.0)
    middle = torch.tensor(W @ [20, 20, 1]).reshape(1, 3, 1, 1, 1).float()
    field = exponential(linear(W, shape, spacing) - middle, spacing)
    cos, sin = np.cos(0.4), np.sin(0.4)
    expected = linear([[cos - 1, -sin, 0], [sin, cos - 1, 0], [0, 0, 0]], shape, spacing)
    inner = (..., slice(10, 31), slice(10, 31), slice(None))
    expected = expected - expected[..., 20:21, 20:21, 1:2]
    torch.testing.assert_close(field[inner], expected[inner], atol=0.01, rtol=0)


def test_the_exponential_of_the_opposite_velocity_is_the_inverse_and_nothing_folds():
    velocity = smooth(8.0)
    there, back = exponential(velocity, SPACING), exponential(-velocity, SPACING)
    assert compose(there, back, SPACING)[INNER].norm(dim=1).mean() < 0.1
    assert folded_share(there, SPACING) == 0


def test_the_determinant_of_a_linear_field():
    A = [[0.1, 0.2, 0.0], [-0.1, -0.3, 0.05], [0.2, 0.0, 0.4]]
    found = jacobian_determinant(linear(A), SPACING)
    torch.testing.assert_close(found, torch.full((1, *SHAPE), float(np.linalg.det(np.eye(3) + A))), atol=1e-4, rtol=0)


def test_the_determinant_agrees_with_numpys_gradients():
    field = smooth(6.0)
    J = np.eye(3)[:, :, None, None, None] + np.stack([np.gradient(u, *SPACING) for u in field[0].numpy()])
    expected = np.linalg.det(np.moveaxis(J, (0, 1), (-2, -1)))
    np.testing.assert_allclose(jacobian_determinant(field, SPACING)[0], expected, atol=1e-4)


def test_of_a_slice_the_determinant_is_that_of_the_plane():
    A = np.array([[0.5, 0.2, 0], [0.1, -0.5, 0], [0, 0, 0]])
    found = jacobian_determinant(linear(A, (6, 7, 1)), SPACING)
    torch.testing.assert_close(found, torch.full((1, 6, 7, 1), 1.5 * 0.5 - 0.02))


def test_the_share_that_folds():
    """Along i everything beyond the middle is mirrored."""
    field = torch.zeros(1, 3, 10, 4, 4)
    field[0, 0, 5:] = -2 * torch.arange(5.0)[:, None, None]
    folded = jacobian_determinant(field, (1.0, 1.0, 1.0)) <= 0
    assert folded[0, :, 0, 0].tolist() == [False] * 5 + [True] * 5
    assert folded_share(field, (1.0, 1.0, 1.0)) == 0.5
    assert folded_share(torch.zeros_like(field), (1.0, 1.0, 1.0)) == 0


@pytest.mark.parametrize("shape", [(48, 40, 36), (12, 10, 9)])
def test_a_linear_field_stays_one_on_another_grid_over_the_same_box(shape):
    A = [[0.1, 0.2, 0.0], [-0.1, -0.3, 0.05], [0.2, 0.0, 0.4]]
    steps = [mm * old / new for mm, old, new in zip(SPACING, SHAPE, shape, strict=True)]
    first = np.array([(new - old) / 2 for new, old in zip(steps, SPACING, strict=True)])  # of the new grid, in mm
    expected = linear(A, shape, steps) + torch.tensor(A @ first).reshape(1, 3, 1, 1, 1).float()
    inner = (..., slice(1, -1), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(resized(linear(A), shape)[inner], expected[inner], atol=1e-4, rtol=1e-4)


def test_to_its_own_size_a_field_is_itself():
    field = smooth()
    assert resized(field, SHAPE) is field


def test_voxels_become_millimetres():
    assert in_mm(torch.ones(1, 3, 1, 1, 1), (2.0, 2.0, 4.0)).flatten().tolist() == [2.0, 2.0, 4.0]
