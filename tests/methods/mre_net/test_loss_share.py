from unittest.mock import patch

import pytest
import torch
from torch import nn

from lowshot.methods.mre_net import objective
from lowshot.methods.mre_net.objective import hard_examples, mined_loss, some_of


def test_a_share_of_the_voxels_is_an_unbiased_look_at_all_of_them():
    torch.manual_seed(0)
    head, features = nn.Linear(4, 3), torch.randn(2, 4, 10, 10, 10)
    labels, known = torch.randint(3, (2, 10, 10, 10)), torch.ones(2, 10, 10, 10, dtype=torch.bool)
    everything = mined_loss(head, features, labels, known, majority=None)
    with torch.no_grad():
        looks = torch.stack([mined_loss(head, features, labels, known, majority=None, share=0.25) for _ in range(50)])
    assert looks.std() > 0
    assert looks.mean() == pytest.approx(float(everything.detach()), rel=0.01)


def test_voxels_that_are_not_known_stay_out_of_any_share():
    head, features = nn.Linear(4, 3), torch.randn(1, 4, 6, 6, 6)
    labels, known = torch.zeros(1, 6, 6, 6, dtype=torch.long), torch.zeros(1, 6, 6, 6, dtype=torch.bool)
    for share in (0.5, 1.0):
        assert float(mined_loss(head, features, labels, known, majority=None, share=share).detach()) == 0


def test_a_share_holds_equally_many_voxels_each_time_so_that_memory_does_not_fray():
    known = torch.zeros(2, 5, 5, 5, dtype=torch.bool)
    known[0, :4] = True
    looks = [some_of(known, 0.25) for _ in range(20)]
    assert {int(look.sum()) for look in looks} == {25}
    assert not any((look & ~known).any() for look in looks)
    assert torch.equal(torch.stack(looks).any(dim=0), known)


class Looked(nn.Linear):
    """Notes how many voxels it was given, and whether to learn from them."""

    def __init__(self):
        super().__init__(4, 3)
        self.seen = []

    def forward(self, x):
        self.seen.append((x[..., 0].numel(), torch.is_grad_enabled()))
        return super().forward(x)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_mining_looks_at_few_different_numbers_of_voxels_so_that_memory_does_not_fray(share):
    torch.manual_seed(0)
    head = Looked()
    known = torch.ones(1, 10, 10, 10, dtype=torch.bool)
    for step in range(60):
        labels = (torch.rand(1, 10, 10, 10) < step / 100).long()
        mined_loss(head, torch.randn(1, 4, 10, 10, 10), labels, known, majority=(0,), multiple=2.0, share=share)
    candidates = 1000 * share
    assert {count for count, learns in head.seen if not learns} == {candidates}
    learned = {count for count, learns in head.seen if learns}
    assert 1 < len(learned) <= 8
    assert max(learned) <= candidates


@pytest.mark.parametrize("balance", [1.0, 0.3])
def test_mining_within_a_share_counts_the_hardest_of_that_share(balance):
    """Against the dense way: rank every voxel, choose within the share, sum what is kept."""
    torch.manual_seed(0)
    head, features = nn.Linear(4, 3), torch.randn(2, 4, 6, 6, 6, requires_grad=True)
    labels = (torch.rand(2, 6, 6, 6) < 0.1).long()
    known = torch.rand(2, 6, 6, 6) < 0.8
    chosen = some_of(known, 0.5)
    with patch.object(objective, "some_of", lambda *_: chosen):
        loss = mined_loss(head, features, labels, known, majority=(0,), multiple=2.0, balance=balance, share=0.5)
    cross_entropy = objective.voxel_cross_entropy(head(features.movedim(1, -1)).movedim(-1, 1), labels)
    kept = hard_examples(cross_entropy, labels, chosen, majority=(0,), multiple=2.0)
    assert 0 < int(kept.sum()) < int(chosen.sum())
    plain = objective.category_mean(cross_entropy[kept], labels[kept], balance, stands_for=labels[chosen])
    torch.testing.assert_close(loss, plain)
    gradients = [torch.autograd.grad(each, (features, head.weight)) for each in (loss, plain)]
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)
