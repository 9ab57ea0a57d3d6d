import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lowshot.losses.smoothness import diffusion

MILLIMETRES = (1.0, 1.0, 1.0)


def linear(shape, gradient, spacing):
    """u = G p with p in mm."""
    axes = [step * torch.arange(size, dtype=torch.float64) for size, step in zip(shape, spacing, strict=True)]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.einsum("ca,aijk->cijk", gradient, positions)[None]


def test_a_constant_field_is_perfectly_smooth():
    assert float(diffusion(torch.full((2, 3, 4, 5, 6), 7.5), MILLIMETRES)) == 0


def test_a_linear_field_has_its_squared_gradient():
    """‖G‖² / 3, whatever the grid."""
    gradient = torch.tensor([[0.1, 0.2, -0.3], [0.0, 0.5, 0.4], [-0.2, 0.1, 0.6]], dtype=torch.float64)
    for shape, spacing in (((4, 5, 6), (0.7, 1.3, 2.5)), ((2, 3, 2), MILLIMETRES)):
        found = float(diffusion(linear(shape, gradient, spacing), spacing))
        assert found == pytest.approx(float(gradient.square().sum()) / 3)


def test_one_step_by_hand():
    """Along i of 2 mm voxels the first component rises from 0 to 3 mm in one of two lines: mean of 1.5² and 0, by 3."""
    field = torch.zeros(1, 3, 2, 1, 2)
    field[0, 0, 1, 0, 0] = 3
    along_i, along_k = (1.5**2 + 0) / 2, (0 + 3**2) / 2
    assert float(diffusion(field, (2.0, 1.0, 1.0))) == pytest.approx((along_i + along_k) / 3)


def test_it_is_the_formula():
    field, spacing = torch.randn(2, 3, 4, 5, 3), (0.5, 1.0, 3.0)
    means = [(np.diff(field.numpy(), axis=2 + axis) ** 2).sum(axis=1).mean() / spacing[axis] ** 2 for axis in range(3)]
    assert float(diffusion(field, spacing)) == pytest.approx(sum(means) / 3, rel=1e-5)


@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 1000))
def test_axes_of_one_voxel_add_nothing(shape, seed):
    field = torch.randn(1, 3, *shape, generator=torch.Generator().manual_seed(seed))
    axes = [axis for axis in range(3) if shape[axis] > 1]
    found = float(diffusion(field, MILLIMETRES))
    expected = sum(field.diff(dim=2 + axis).square().sum(1).mean().item() for axis in axes) / 3
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_units_cancel():
    field, spacing = torch.randn(1, 3, 4, 4, 4), (1.0, 2.0, 3.0)
    assert float(diffusion(10 * field, (10.0, 20.0, 30.0))) == pytest.approx(float(diffusion(field, spacing)), rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 1, 2), (1, 1, 1)])
def test_its_gradient(shape):
    field = torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    if max(shape) > 1:
        assert torch.autograd.gradcheck(lambda u: diffusion(u, (0.5, 1.0, 2.0)), [field])
    else:
        assert float(diffusion(field, MILLIMETRES)) == 0
