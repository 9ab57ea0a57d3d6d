import pytest
import torch
import torch.nn.functional as F

from lowshot.nn.fcn import BilinearUp, FCN8s
from nn.hand_count import convolution

VGG = 14_714_688


def test_parameters_by_hand():
    """fc6 and fc7 of 4096, scores of three maps, transposed convolutions of 4, 4 and 16 taps along an axis."""
    with torch.device("meta"):
        network = FCN8s(1, 2)
    inner = convolution(512, 4096, kernel=7 * 7) + convolution(4096, 4096, 1)
    scores = convolution(4096, 2, 1) + convolution(512, 2, 1) + convolution(256, 2, 1)
    ups = 2 * 2 * (4 * 4 + 4 * 4 + 16 * 16)
    assert sum(p.numel() for p in network.parameters()) == VGG + inner + scores + ups


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_logits_have_the_size_of_the_image(channels):
    network = FCN8s(channels, 4, width=1 / 16, norm=True).eval()
    assert network(torch.randn(2, channels, 64, 96)).shape == (2, 4, 64, 96)


def test_a_grey_image_counts_as_three_equal_channels():
    torch.manual_seed(0)
    grey, colour = FCN8s(1, 2, width=1 / 16).eval(), FCN8s(3, 2, width=1 / 16).eval()
    colour.load_state_dict(grey.state_dict())
    image = torch.randn(1, 1, 32, 32)
    assert torch.equal(grey(image), colour(image.repeat(1, 3, 1, 1)))


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        FCN8s(1, 2, width=1 / 16)(torch.randn(1, 1, 48, 64))


@pytest.mark.parametrize("factor", [2, 8])
def test_upsampling_begins_as_bilinear_interpolation(factor):
    x = torch.randn(1, 3, 6, 5)
    wanted = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    inside = (..., slice(factor, -factor), slice(factor, -factor))  # beyond the border there are zeros
    torch.testing.assert_close(BilinearUp(3, factor)(x)[inside], wanted[inside])


def test_every_parameter_is_trained():
    network = FCN8s(1, 2, width=1 / 16)
    network(torch.randn(1, 1, 64, 64)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.ups.parameters())
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_both_skips_reach_the_logits():
    torch.manual_seed(0)
    network = FCN8s(1, 2, width=1 / 16).eval()
    image = torch.randn(1, 1, 64, 64)
    before = network(image)
    for score in network.scores:
        kept = score.weight.detach().clone()
        with torch.no_grad():
            score.weight.zero_()
            assert not torch.allclose(network(image), before)
            score.weight.copy_(kept)
