import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lowshot.losses.overlap import soft_dice


def maps(*labels):
    """(1, k, 4, 1, 1) from k lists of four values."""
    return torch.tensor(labels).view(1, len(labels), 4, 1, 1)


def test_a_case_by_hand():
    """Label 0: 2 · 1.5 / (2 + 1.25); label 1: 2 · 0 / (1 + 1)."""
    x = maps([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0])
    y = maps([1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0])
    assert float(soft_dice(x, y)) == pytest.approx(1 - (3 / 3.25 + 0) / 2)


def test_labels_that_are_in_neither_do_not_count():
    x = maps([1.0, 1.0, 0.0, 0.0], [0.0] * 4, [0.0] * 4)
    y = maps([1.0, 0.0, 0.0, 0.0], [0.0] * 4, [1.0, 0.0, 0.0, 0.0])
    assert float(soft_dice(x, y)) == pytest.approx(1 - (2 / 3 + 0) / 2)


def test_where_nothing_is_labelled_it_is_zero_and_can_be_differentiated():
    x = torch.zeros(1, 2, 3, 3, 3, requires_grad=True)
    loss = soft_dice(x, torch.zeros(1, 2, 3, 3, 3))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not x.grad.any()


def test_sums_go_over_the_whole_batch():
    """A label in one example only is that of one larger volume."""
    x, y = torch.rand(2, 3, 4, 4, 4), torch.rand(2, 3, 4, 4, 4)
    x[0, 1] = y[0, 1] = 0
    joined = [torch.cat(list(each), dim=1)[None] for each in (x, y)]
    assert float(soft_dice(x, y)) == pytest.approx(float(soft_dice(*joined)), rel=1e-5)


@given(st.integers(1, 4), st.integers(0, 1000))
def test_it_is_symmetric_between_0_and_1_and_0_for_the_same(labels, seed):
    x, y = torch.rand(2, 1, labels, 3, 4, 2, generator=torch.Generator().manual_seed(seed))
    assert 0 <= float(soft_dice(x, y)) <= 1
    assert float(soft_dice(x, y)) == pytest.approx(float(soft_dice(y, x)))
    assert float(soft_dice(x, x)) == pytest.approx(0, abs=1e-6)


def test_of_hard_labels_it_is_one_minus_their_mean_dice():
    x, y = (torch.randint(2, (1, 3, 5, 5, 5)).float() for _ in range(2))
    dice = [2 * (a * b).sum() / (a.sum() + b.sum()) for a, b in zip(x[0], y[0], strict=True)]
    assert float(soft_dice(x, y)) == pytest.approx(1 - float(sum(dice)) / 3, rel=1e-5)


def test_large_half_precision_maps_are_summed_in_float32():
    x = torch.ones(1, 1, 80, 80, 20, dtype=torch.float16)  # more voxels than float16 can count
    loss = soft_dice(x, x)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_its_gradient_is_the_same_as_of_the_formula_in_float64():
    x, y = torch.rand(1, 2, 3, 3, 3, requires_grad=True), torch.rand(1, 2, 3, 3, 3)
    soft_dice(x, y).backward()
    precise, other = x.detach().double().requires_grad_(), y.double()
    axes = (0, 2, 3, 4)
    dice = 2 * (precise * other).sum(axes) / (precise.square().sum(axes) + other.square().sum(axes))
    (1 - dice.mean()).backward()
    torch.testing.assert_close(x.grad.double(), precise.grad, rtol=1e-4, atol=1e-7)
