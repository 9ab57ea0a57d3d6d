import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses.image_dissimilarity import LocalNormalizedCrossCorrelationLoss

from lowshot.losses import similarity
from lowshot.losses.similarity import local_ncc, moments


def textured(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def naive(fixed, moving, window, epsilon=1e-5):
    """The formula, voxel by voxel: a map of squared correlations."""
    reach, n = window // 2, math.prod(min(window, size) for size in fixed.shape[2:])
    result = np.zeros(fixed.shape)
    for example in range(len(fixed)):
        padded = [np.pad(each[example, 0].double().numpy(), reach) for each in (fixed, moving)]
        for at in np.ndindex(*fixed.shape[2:]):
            box = tuple(slice(start, start + window) for start in at)
            x, y = (each[box] for each in padded)
            cross = (x * y).sum() - x.sum() * y.sum() / n
            variances = ((x * x).sum() - x.sum() ** 2 / n) * ((y * y).sum() - y.sum() ** 2 / n)
            result[(example, 0, *at)] = cross**2 / (variances + epsilon)
    return result


@pytest.mark.parametrize("window", [1, 3, 5, 9])
@pytest.mark.parametrize("shape", [(2, 1, 6, 7, 5), (1, 1, 12, 3, 2), (1, 1, 7, 6, 1), (1, 1, 1, 5, 1)])
def test_it_is_the_mean_of_the_formula(shape, window):
    fixed, moving = textured(*shape), textured(*shape, seed=1)
    expected = naive(fixed, moving, window).mean()
    assert float(local_ncc(fixed, moving, window)) == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_a_case_by_hand():
    """x = 0, 1, 0 and y = 1, 3, 1 in a line, in windows of three, S(x) = S(x²) = 1, S(xy) = 3: in the middle S(y) = 5
    and S(y²) = 11; at the ends, where a zero lies beyond, S(y) = 4 and S(y²) = 10.
    """
    fixed, moving = torch.tensor([0.0, 1, 0]).view(1, 1, 1, 1, 3), torch.tensor([1.0, 3, 1]).view(1, 1, 1, 1, 3)
    middle = (3 - 5 / 3) ** 2 / ((1 - 1 / 3) * (11 - 25 / 3))
    end = (3 - 4 / 3) ** 2 / ((1 - 1 / 3) * (10 - 16 / 3))
    expected = (middle + 2 * end) / 3
    assert float(local_ncc(fixed, moving, window=3)) == pytest.approx(expected, rel=1e-5)


def test_valid_chooses_voxels_but_not_what_their_boxes_see():
    fixed, moving = textured(2, 1, 6, 7, 5), textured(2, 1, 6, 7, 5, seed=1)
    valid = textured(2, 1, 6, 7, 5, seed=2) > 0.7
    expected = naive(fixed, moving, 3)[valid.numpy()].mean()
    assert float(local_ncc(fixed, moving, 3, valid)) == pytest.approx(expected, rel=1e-4)
    assert float(local_ncc(fixed, moving, 3, torch.ones_like(valid))) == pytest.approx(
        float(local_ncc(fixed, moving, 3)), rel=1e-5
    )


@pytest.mark.parametrize("slab", [similarity.SLAB_VOXELS, 30])
def test_what_is_known_of_the_fixed_picture_changes_nothing(monkeypatch, slab):
    monkeypatch.setattr(similarity, "SLAB_VOXELS", slab)
    fixed, moving = textured(2, 1, 16, 7, 5).requires_grad_(), textured(2, 1, 16, 7, 5, seed=1).requires_grad_()
    plain = local_ncc(fixed, moving, 3)
    (expected,) = torch.autograd.grad(plain, moving)
    quick = local_ncc(fixed, moving, 3, known=moments(fixed, 3))
    (found,) = torch.autograd.grad(quick, moving, retain_graph=True)
    assert torch.equal(quick, plain)
    torch.testing.assert_close(found, expected)
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(quick, fixed)


def test_no_valid_voxel_costs_nothing_and_can_be_differentiated():
    fixed, moving = textured(1, 1, 4, 4, 4), textured(1, 1, 4, 4, 4, seed=1).requires_grad_()
    result = local_ncc(fixed, moving, 3, torch.zeros(1, 1, 4, 4, 4, dtype=torch.bool))
    result.backward()
    assert float(result.detach()) == 0
    assert not moving.grad.any()


@pytest.mark.parametrize("window", [3, 9])
def test_it_is_monais_where_both_are_defined(window):
    """MONAI has no ε but a least variance, which textured boxes exceed: only without ours the two agree."""
    fixed, moving = textured(2, 1, 14, 12, 13), textured(2, 1, 14, 12, 13, seed=1)
    ours, theirs = moving.clone().requires_grad_(), moving.clone().requires_grad_()
    value = local_ncc(fixed, ours, window, epsilon=0.0)
    loss = LocalNormalizedCrossCorrelationLoss(kernel_size=window)(theirs, fixed)
    torch.testing.assert_close(value, -loss, rtol=1e-4, atol=0)
    value.backward()
    (-loss).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 4, 3, 2), (2, 1, 5, 3, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_both_pictures(shape, masked):
    pair = [textured(*shape, seed=seed, dtype=torch.float64).requires_grad_() for seed in (0, 1)]
    valid = textured(*shape, seed=2) > 0.4 if masked else None
    assert torch.autograd.gradcheck(lambda x, y: local_ncc(x, y, 3, valid, epsilon=0.1), pair)
    assert torch.autograd.gradcheck(lambda x: local_ncc(x, pair[1].detach(), 3, valid), pair[:1])
    assert torch.autograd.gradcheck(lambda y: local_ncc(pair[0].detach(), y, 3, valid), pair[1:])


@pytest.mark.parametrize("slab_voxels", [1, 300])
def test_slabs_make_no_difference(slab_voxels, monkeypatch):
    def value_and_gradients():
        pair = [textured(2, 1, 23, 6, 5, seed=seed).requires_grad_() for seed in (0, 1)]
        value = local_ncc(*pair, 3, pair[0].detach() > 0.2)
        return value.detach(), *torch.autograd.grad(value, pair)

    whole = value_and_gradients()
    monkeypatch.setattr(similarity, "SLAB_VOXELS", slab_voxels)
    torch.testing.assert_close(value_and_gradients(), whole)


def test_float32_is_precise_enough_for_pictures():
    fixed, moving = textured(1, 1, 20, 20, 20), textured(1, 1, 20, 20, 20, seed=1)
    moving = (0.7 * fixed + 0.3 * moving).requires_grad_()
    precise = moving.detach().double().requires_grad_()
    value, reference = local_ncc(fixed, moving), local_ncc(fixed.double(), precise)
    value.backward()
    reference.backward()
    assert reference.dtype == torch.float64
    assert float(value.detach()) == pytest.approx(float(reference.detach()), rel=1e-5)
    assert float((moving.grad - precise.grad).norm() / precise.grad.norm()) < 1e-4


def test_autocast_and_half_precision_pictures_change_nothing_but_the_pictures():
    fixed, moving = textured(1, 1, 8, 8, 8).bfloat16(), textured(1, 1, 8, 8, 8, seed=1).bfloat16().requires_grad_()
    expected = local_ncc(fixed.float(), moving.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = local_ncc(fixed, moving)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=0, atol=0)
    value.backward()
    assert moving.grad.dtype == torch.bfloat16


def test_the_gradient_follows_the_scale_and_can_be_taken_twice():
    fixed, moving = textured(1, 1, 6, 6, 6), textured(1, 1, 6, 6, 6, seed=1).requires_grad_()
    value = local_ncc(fixed, moving, 3)
    (once,) = torch.autograd.grad(value, moving, retain_graph=True)
    (tenfold,) = torch.autograd.grad(10 * value, moving)
    torch.testing.assert_close(tenfold, 10 * once)


def test_without_gradients_none_are_computed(monkeypatch):
    def never(*_):
        raise AssertionError

    fixed, moving = textured(1, 1, 6, 6, 6), textured(1, 1, 6, 6, 6, seed=1)
    expected = local_ncc(fixed, moving.requires_grad_(), 3)
    monkeypatch.setattr(similarity, "_gradient", never)
    with torch.no_grad():
        assert not local_ncc(fixed, moving, 3).requires_grad
    assert float(local_ncc(fixed, moving.detach(), 3)) == float(expected.detach())


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.integers(1, 12)] * 3).filter(lambda shape: math.prod(shape) > 1),  # one voxel does not vary
    st.sampled_from([3, 5, 9]),
    st.floats(0.2, 5.0),
    st.floats(-1.0, 1.0),
    st.booleans(),
    st.integers(0, 1000),
)
def test_contrast_does_not_matter_nor_does_the_order(shape, window, gain, offset, negative, seed):
    """With zeros beyond the border an offset does matter there, so that only voxels inside are compared."""
    fixed, moving = textured(1, 1, *shape, seed=seed), textured(1, 1, *shape, seed=seed + 1)
    value = local_ncc(fixed, moving, window)
    assert 0 <= float(value) <= 1 + 1e-5
    torch.testing.assert_close(local_ncc(moving, fixed, window), value)
    scale = -gain if negative else gain
    torch.testing.assert_close(
        local_ncc(fixed.double(), scale * moving.double(), window, epsilon=0.0),
        local_ncc(fixed.double(), moving.double(), window, epsilon=0.0),
    )
    reach = window // 2
    if min(shape) > 2 * reach:
        inside = torch.zeros(1, 1, *shape, dtype=torch.bool)
        inside[(..., *(slice(reach, size - reach) for size in shape))] = True
        pair = fixed.double(), moving.double()
        torch.testing.assert_close(
            local_ncc(pair[0], scale * pair[1] + offset, window, inside, epsilon=0.0),
            local_ncc(*pair, window, inside, epsilon=0.0),
        )


def test_identical_textures_correlate_perfectly_and_constant_pictures_do_not():
    picture = textured(1, 1, 12, 12, 12)
    assert float(local_ncc(picture, picture)) == pytest.approx(1, abs=1e-4)
    assert float(local_ncc(picture, torch.zeros_like(picture))) == 0
    # Inside, where no box reaches the zeros beyond the border, nothing of a constant picture is like another.
    inside = torch.zeros(1, 1, 12, 12, 12, dtype=torch.bool)
    inside[..., 4:8, 4:8, 4:8] = True
    assert float(local_ncc(picture, torch.full_like(picture, 0.3), valid=inside)) == pytest.approx(0, abs=1e-4)


def test_empty_background_has_no_gradient():
    """Sums of zeros are exactly zero, so that ε cannot make rounding errors large."""
    fixed, moving = textured(1, 1, 24, 8, 8), textured(1, 1, 24, 8, 8, seed=1)
    fixed[:, :, :12], moving[:, :, :12] = 0, 0
    moving.requires_grad_()
    local_ncc(fixed, moving, 5).backward()
    assert not moving.grad[:, :, :8].any()  # 12 minus two reaches
    assert moving.grad[:, :, 12:].all()


@pytest.mark.parametrize("window", [0, -1, 4])
def test_windows_have_a_middle(window):
    with pytest.raises(ValueError, match=f"odd number of voxels, got {window}"):
        local_ncc(torch.zeros(1, 1, 3, 3, 3), torch.zeros(1, 1, 3, 3, 3), window)


def test_nothing_of_the_volume_is_kept_for_the_backward_pass_but_the_gradient():
    kept = []
    fixed, moving = textured(1, 1, 8, 8, 8), textured(1, 1, 8, 8, 8, seed=1).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        local_ncc(fixed, moving)
    assert [math.prod(each.shape) for each in kept] == [8**3]
