import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lowshot.nn.patch_critic import Conv4, PatchCritic
from lowshot.training.allocator import freed_memory_kept
from lowshot.training.layout import arrange_weights
from nn.hand_count import convolution


def test_has_the_published_number_of_parameters():
    """The three convolutions with a norm have no bias, the norms no parameters."""
    with torch.device("meta"):
        critic = PatchCritic(2)
    normed = 64 * (64 * 128 + 128 * 256 + 256 * 512)
    expected = convolution(2, 64, kernel=64) + normed + convolution(512, 1, kernel=64)
    assert sum(p.numel() for p in critic.parameters()) == expected


def test_layers_come_in_the_published_order():
    layers = list(PatchCritic(widths=(2, 3, 4)).features)
    assert [type(layer) for layer in layers] == [
        *(Conv4, nn.LeakyReLU),
        *(Conv4, nn.InstanceNorm3d, nn.LeakyReLU) * 2,
    ]
    assert [layer.stride[0] for layer in layers if isinstance(layer, Conv4)] == [2, 2, 1]


@pytest.mark.parametrize("size", [24, 31, 32, 40, 64])
def test_scores_are_as_many_as_patchgans(size):
    with torch.device("meta"):
        scores = PatchCritic()(torch.empty(2, 1, size, size + 8, size))
    first, second = size // 2 // 2 // 2 - 2, (size + 8) // 2 // 2 // 2 - 2
    assert scores.shape == (2, 1, first, second, first)


def test_a_score_sees_70_voxels():
    """Strides 2, 2, 2, 1, 1 and kernels of 4: 4 → 7 → 16 → 34 → 70."""
    torch.manual_seed(0)
    critic = PatchCritic(widths=(2, 2, 2, 2))
    critic.features = nn.Sequential(*(layer for layer in critic.features if not isinstance(layer, nn.InstanceNorm3d)))
    line = torch.randn(1, 1, 112, 24, 24, requires_grad=True)
    scores = critic(line)
    (gradient,) = torch.autograd.grad(scores[0, 0, 6, 0, 0], line)
    seen = gradient.abs().sum((0, 1, 3, 4)).nonzero()
    assert int(seen.max() - seen.min()) + 1 == 70


@pytest.mark.parametrize(("widths", "smallest"), [((4, 4, 4, 4), 24), ((4, 4), 6), ((4,), 3)])
def test_the_smallest_volume_has_one_score_and_smaller_ones_are_refused(widths, smallest):
    critic = PatchCritic(widths=widths)
    assert critic.smallest == smallest
    volume = torch.randn(1, 1, smallest, smallest, smallest)
    assert critic(volume).shape == (1, 1, 1, 1, 1)
    with pytest.raises(ValueError, match=f"at least {smallest} voxels along each axis, got .*{smallest - 1}"):
        critic(volume[..., :-1])


def test_a_flat_volume_can_be_padded_to_the_smallest():
    critic, volume = PatchCritic(widths=(4, 4, 4, 4)), torch.randn(1, 1, 32, 32, 16)
    missing = [max(0, critic.smallest - size) for size in volume.shape[2:]]
    padded = F.pad(volume, (0, missing[2], 0, missing[1], 0, missing[0]))
    assert critic(padded).shape == (1, 1, 2, 2, 1)


def test_examples_do_not_see_each_other():
    torch.manual_seed(0)
    critic, volumes = PatchCritic(widths=(4, 8, 8)), torch.randn(3, 1, 16, 16, 16)
    alone = torch.cat([critic(volume) for volume in volumes.split(1)])
    torch.testing.assert_close(critic(volumes), alone, rtol=1e-4, atol=1e-5)


def test_the_gradient_reaches_every_parameter_and_the_volume():
    torch.manual_seed(0)
    critic, volume = PatchCritic(widths=(4, 8, 8)), torch.randn(1, 1, 16, 16, 16, requires_grad=True)
    critic(volume).square().sum().backward()
    assert all(values.grad.any() for values in (*critic.parameters(), volume))


@pytest.mark.parametrize("channels", [1, 2])
def test_the_first_map_is_channels_last_where_the_weights_are(channels):
    volume, formats = torch.randn(1, channels, 16, 16, 16), []
    for memory_format in ("contiguous", "channels_last"):
        critic = PatchCritic(channels, widths=(4, 8))
        arrange_weights(critic, memory_format)
        critic.features[0].register_forward_hook(lambda _, __, x: formats.append(x))
        critic(volume)
    assert formats[0].is_contiguous()
    assert formats[1].is_contiguous(memory_format=torch.channels_last_3d)


def test_memory_formats_agree():
    torch.manual_seed(0)
    critic, volume = PatchCritic(widths=(4, 8, 8)), torch.randn(2, 1, 16, 20, 16)
    expected = critic(volume)
    arrange_weights(critic, "channels_last")
    torch.testing.assert_close(critic(volume), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("stride", "depth"), [(1, 3), (1, 4), (2, 4), (2, 6)])
def test_the_convolution_is_pytorchs(stride, depth):
    layer, x = Conv4(3, 4, stride, bias=True), torch.randn(2, 3, depth, 6, 5)
    torch.testing.assert_close(layer(x), F.conv3d(x, layer.weight, layer.bias, stride, padding=1))


@pytest.mark.parametrize(("stride", "size"), [(1, (3, 12, 12)), (1, (4, 3, 3)), (2, (4, 12, 12)), (2, (6, 6, 6))])
def test_shallow_maps_have_a_true_gradient_in_bfloat16(stride, size):
    """As the fourth and fifth convolution meet them in volumes 24 to 39 voxels deep."""
    torch.manual_seed(0)
    layer, x = Conv4(16, 16, stride, bias=False), torch.randn(2, 16, *size)
    with freed_memory_kept():
        exact, *found = (weight_gradient(layer, x, half) for half in (False, True, True, True))
    for each in found:
        assert float((each - exact).abs().max() / exact.abs().max()) < 0.03


def weight_gradient(layer, x, half):
    layer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        y = layer(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    [torch.full((1 << size,), 1e30) for size in (10, 14, 16, 18, 20)]  # what may be read by mistake
    (weights * y.float()).sum().backward()
    return layer.weight.grad.clone()
