import torch
from torch import nn

from lowshot.training.layout import arrange, arrange_weights


def test_only_batches_of_images_are_arranged():
    image, volume = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5, 6)
    assert arrange(image, "channels_last").is_contiguous(memory_format=torch.channels_last)
    assert arrange(volume, "channels_last").is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(arrange(volume, "channels_last"), volume)
    assert arrange(volume, "contiguous") is volume
    for other in (torch.randn(3, 4), torch.zeros(2, 3, 4, 5, dtype=torch.int64)):
        assert arrange(other, "channels_last") is other


def test_weights_of_2d_and_3d_convolutions_stay_the_same_objects():
    module = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv3d(3, 4, 3), nn.Linear(3, 4)])
    before = [(p, p.clone()) for p in module.parameters()]
    arrange_weights(module, "channels_last")
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert module[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
    for (parameter, values), now in zip(before, module.parameters(), strict=True):
        assert now is parameter
        assert torch.equal(now, values)
