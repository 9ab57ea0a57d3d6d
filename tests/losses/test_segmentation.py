import math

import pytest
import torch

from lowshot.losses.segmentation import dice_loss, segmentation_loss

LABELS = torch.tensor([[[0, 1], [1, 1]]])
EVERYWHERE = torch.ones_like(LABELS, dtype=torch.bool)


def logits(*of_one):
    """Probabilities of class 1 for the four pixels."""
    p = torch.tensor(of_one).view(1, 2, 2)
    return torch.stack([torch.log1p(-p), torch.log(p)], dim=1)


def test_cross_entropy_by_hand():
    found = segmentation_loss(logits(0.5, 0.5, 0.25, 0.5), LABELS, EVERYWHERE, 0.0)
    assert float(found) == pytest.approx((3 * math.log(2) + math.log(4)) / 4)


def test_dice_by_hand():
    """Class 1: 2·(3·0.5) / (4·0.25 + 3); class 0: 2·0.5 / (4·0.25 + 1)."""
    found = segmentation_loss(logits(0.5, 0.5, 0.5, 0.5), LABELS, EVERYWHERE, 1.0)
    assert float(found) == pytest.approx(1 - (3 / 4 + 1 / 2) / 2, rel=1e-4)


def test_both_are_mixed_by_their_share():
    given = logits(0.3, 0.6, 0.7, 0.2)
    entropy, dice, mixed = (float(segmentation_loss(given, LABELS, EVERYWHERE, share)) for share in (0.0, 1.0, 0.25))
    assert mixed == pytest.approx(0.75 * entropy + 0.25 * dice)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_unknown_pixels_do_not_count(share):
    known = EVERYWHERE.clone()
    known[0, 0] = False
    first, second = (
        segmentation_loss(logits(a, b, 0.6, 0.7), LABELS, known, share) for a, b in ((0.1, 0.1), (0.9, 0.9))
    )
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_where_nothing_is_known_it_is_zero_and_has_a_gradient(share):
    given = logits(0.3, 0.6, 0.7, 0.2).requires_grad_()
    loss = segmentation_loss(given, LABELS, ~EVERYWHERE, share)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
    assert not given.grad.any()


def test_a_class_that_is_in_neither_costs_nothing():
    p = torch.zeros(1, 3, 2, 2)
    p[:, :2] = torch.nn.functional.one_hot(LABELS, 2).movedim(-1, 1)
    assert float(dice_loss(p, LABELS, EVERYWHERE)) == pytest.approx(0, abs=1e-5)
