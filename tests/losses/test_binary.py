import pytest
import torch
import torch.nn.functional as F

from lowshot.losses.binary import binary_cross_entropy


def case(seed=0, shape=(3, 8, 6)):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 2, *shape[1:], generator=generator)
    truth = (torch.rand(shape, generator=generator) > 0.7).float()
    known = torch.rand(shape, generator=generator) > 0.4
    return logits, truth, known


@pytest.mark.parametrize("background", [1.0, 0.05])
def test_of_a_difference_of_logits_it_is_pytorchs_weighted_cross_entropy(background):
    logits, truth, known = case()
    labels = torch.where(known, truth.long(), 255)
    expected = F.cross_entropy(logits, labels, weight=torch.tensor([background, 1.0]), ignore_index=255)
    found = binary_cross_entropy(logits[:, 1] - logits[:, 0], truth, known, background)
    torch.testing.assert_close(found, expected)


def test_unknown_pixels_have_no_say():
    logits, truth, known = case()
    logit = logits[:, 0].requires_grad_()
    binary_cross_entropy(logit, truth, known).backward()
    assert not logit.grad[~known].any()
    lied = torch.where(known, truth, 1 - truth)
    assert torch.equal(binary_cross_entropy(logit, truth, known), binary_cross_entropy(logit, lied, known))


def test_where_nothing_is_known_it_is_zero_and_can_be_differentiated():
    logits, truth, known = case()
    logit = logits[:, 0].requires_grad_()
    loss = binary_cross_entropy(logit, truth, torch.zeros_like(known))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not logit.grad.any()


def test_large_logits_and_bfloat16_do_no_harm():
    _, truth, known = case()
    right = 1000 * (2 * truth - 1)
    assert float(binary_cross_entropy(right, truth, known)) == 0
    wrong = binary_cross_entropy(-right.bfloat16(), truth, known)
    assert wrong.dtype == torch.float32
    assert float(wrong) == 1000
