import pytest
import torch
import torch.nn.functional as F

from lowshot.losses.alignment import alignment_loss
from lowshot.nn.prototypes import cosines, masked_average, prototype_logit


def case(shots=2, seed=0):
    """Features as fine as the masks, so that enlarging them changes nothing."""
    generator = torch.Generator().manual_seed(seed)
    support = torch.randn(3, shots, 4, 6, 5, generator=generator)
    masks = (torch.rand(3, shots, 6, 5, generator=generator) > 0.5).float()
    query = torch.randn(3, 4, 6, 5, generator=generator)
    return support, masks, query, torch.randn(3, 6, 5, generator=generator)


@pytest.mark.parametrize("shots", [1, 2])
def test_it_is_the_formula_task_by_task_and_shot_by_shot(shots):
    support, masks, query, logit = case(shots)
    terms = []
    for n in range(3):
        found = (logit[n] > 0).float()
        both = [masked_average(query[n][None], each[None]) for each in (1 - found, found)]
        for k in range(shots):
            scores = 20 * cosines(support[n, k][None], torch.stack(both, 1))
            terms.append(F.cross_entropy(scores, masks[n, k][None].long()))
    loss = alignment_loss(prototype_logit, support, masks, query, logit)
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_a_task_in_whose_query_nothing_was_found_does_not_count():
    support, masks, query, logit = case()
    logit[1] = -1.0
    some = torch.tensor([0, 2])
    found = alignment_loss(prototype_logit, support, masks, query, logit)
    without = alignment_loss(prototype_logit, support[some], masks[some], query[some], logit[some])
    torch.testing.assert_close(found, without)
    nothing = alignment_loss(prototype_logit, support.requires_grad_(), masks, query, torch.full_like(logit, -1.0))
    nothing.backward()
    assert float(nothing.detach()) == 0


def test_both_learn_but_not_through_what_was_found():
    support, masks, query, logit = (each.requires_grad_() for each in case())
    alignment_loss(prototype_logit, support, masks.detach(), query, logit).backward()
    assert support.grad.any()
    assert query.grad.any()
    assert logit.grad is None


def test_a_query_like_its_support_costs_little_and_a_swapped_one_much():
    masks = torch.zeros(1, 1, 8, 8)
    masks[..., 2:5, 2:6] = 1
    features = torch.stack([masks[:, 0], 1 - masks[:, 0]], dim=1)
    logit = 2 * masks[:, 0] - 1
    assert float(alignment_loss(prototype_logit, features[:, None], masks, features, logit)) < 1e-6
    assert float(alignment_loss(prototype_logit, features[:, None], masks, features, -logit)) > 10


def test_weight_of_the_background():
    support, masks, query, logit = case()
    example = (logit > 0).float()
    answers = [prototype_logit(query[:, None], example[:, None], support[:, k]) for k in range(2)]
    each = F.binary_cross_entropy_with_logits(torch.stack(answers, 1), masks, reduction="none")
    weights = torch.where(masks > 0, 1.0, 0.05)
    found = alignment_loss(prototype_logit, support, masks, query, logit, background=0.05)
    torch.testing.assert_close(found, (each * weights).sum() / weights.sum())
