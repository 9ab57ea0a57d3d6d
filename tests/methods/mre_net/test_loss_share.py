import pytest
import torch
from torch import nn

from lowshot.methods.mre_net.objective import mined_loss, some_of


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
