import pytest
import torch

from lowshot.losses.binary_dice import binary_dice

SURE = 40.0


def logits(*rows):
    """Of one mask; 1 stands for certainly inside, 0 for certainly outside."""
    return SURE * (2 * torch.tensor([rows], dtype=torch.float32) - 1)


def everywhere(mask):
    return torch.ones_like(mask, dtype=torch.bool)


def test_by_hand():
    """Two pixels are found, three are there, one of them is both."""
    truth = torch.tensor([[[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]])
    found = logits([1, 0, 0], [1, 0, 0])
    assert float(binary_dice(found, truth, everywhere(truth))) == pytest.approx(1 - (2 * 1 + 1) / (2 + 3 + 1))


def test_it_is_the_formula_for_masks_between_inside_and_outside():
    torch.manual_seed(0)
    logit, truth = torch.randn(3, 5, 4), (torch.rand(3, 5, 4) > 0.5).float()
    P, each = logit.sigmoid(), []
    for p, y in zip(P, truth, strict=True):
        each.append(1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1))
    torch.testing.assert_close(binary_dice(logit, truth, everywhere(truth)), sum(each) / 3)


def test_nothing_where_nothing_is_costs_nothing():
    truth = torch.zeros(1, 2, 3)
    assert float(binary_dice(logits([0, 0, 0], [0, 0, 0]), truth, everywhere(truth))) == pytest.approx(0)


def test_a_perfect_mask_costs_nothing():
    truth = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    assert float(binary_dice(logits([1, 1, 0], [0, 0, 0]), truth, everywhere(truth))) == pytest.approx(0)


def test_every_mask_counts_the_same():
    """One is perfect, and of the other, which is larger, nothing is found."""
    truth = torch.zeros(2, 4, 4)
    truth[0, 0, 0], truth[1] = 1, 1
    found = torch.cat([SURE * (2 * truth[:1] - 1), torch.full((1, 4, 4), -SURE)])
    assert float(binary_dice(found, truth, everywhere(truth))) == pytest.approx((0 + 1 - 1 / 17) / 2)


def test_unknown_pixels_do_not_count():
    truth = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    known = everywhere(truth)
    known[0, 1, 2] = False
    assert float(binary_dice(logits([1, 1, 0], [0, 0, 1]), truth, known)) == pytest.approx(0)
    assert float(binary_dice(logits([1, 1, 0], [0, 0, 1]), truth, ~everywhere(truth))) == pytest.approx(0)


def test_under_autocast_it_is_float32():
    logit, truth = torch.randn(2, 8, 8), (torch.rand(2, 8, 8) > 0.5).float()
    expected = binary_dice(logit, truth, everywhere(truth))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(binary_dice(logit, truth, everywhere(truth)), expected)
