import copy

import pytest
import torch
from torch import nn

from lowshot.inference.memory import activation_bytes
from lowshot.nn.mt_unet import DoubleConvolution, MTUNet
from lowshot.nn.resampling import BlockTransposed2d
from lowshot.training.layout import arrange, arrange_weights
from nn.hand_count import convolution, norm

NARROW = {"stem": (4, 6, 8), "widths": (16, 24, 32)}


def double(inputs, outputs):
    """No biases before a norm."""
    taps = 9 * inputs * outputs + 9 * outputs**2 + outputs**2
    return taps + 3 * norm(outputs)


def linear(inputs, outputs):
    return convolution(inputs, outputs, kernel=1)


def module(d):
    windows = linear(d, 3 * d) + linear(d, d)
    summaries = linear(d, 16) + linear(d, 3 * d) + 1  # and s of the Gaussian
    joined = linear(2 * d, d)
    external = d * 4 * d + (d // 8) * 64 + linear(64, d // 8) + linear(4 * d, d)
    return norm(d) + d + windows + summaries + joined + external


@pytest.mark.parametrize(("channels", "inputs"), [(1, 3), (2, 2), (3, 3)])
def test_has_as_many_parameters_as_a_hand_count(channels, inputs):
    with torch.device("meta"):
        network = MTUNet(channels, 9)
    stem = double(inputs, 64) + double(64, 128) + double(128, 256) + 256 * 256 + norm(256) + 28 * 28 * 256
    encoder = 2 * (module(256) + module(512) + module(1024))
    downs = 4 * 256 * 512 + norm(512) + 4 * 512 * 1024 + norm(1024)
    coarse = convolution(1024, 512, kernel=4) + linear(1024, 512) + 2 * module(512)
    fine = convolution(512, 256, kernel=4) + 2 * module(256 + 256)
    final = [convolution(2 * w, w, kernel=4) + double(2 * w, w) for w in (256, 128, 64)]
    expected = stem + encoder + downs + coarse + fine + sum(final) + linear(64, 9)
    assert sum(p.numel() for p in network.parameters()) == expected
    assert all(values.is_meta for values in network.state_dict().values())


def test_maps_have_the_published_sizes():
    with torch.device("meta"):
        network, image = MTUNet(1, 9), torch.empty(2, 1, 224, 224)
        found = [network.segment_and_embed(image, level) for level in range(6)]
    assert {tuple(logits.shape) for logits, _ in found} == {(2, 9, 224, 224)}
    tokens, stem = [(1024, 7, 7), (512, 14, 14), (256, 28, 28)], [(256, 56, 56), (128, 112, 112), (64, 224, 224)]
    assert [tuple(embedding.shape[1:]) for _, embedding in found] == [*tokens, *stem]


def test_the_gradient_reaches_every_parameter_and_the_image():
    """Of 160×24 pixels there are 20×3, 10×2 and 5×1 tokens: windows and halves that are not full."""
    torch.manual_seed(0)
    size = (160, 24)
    network, image = MTUNet(2, 3, size=size, **NARROW), torch.rand(3, 2, *size, requires_grad=True)
    logits = network(image)
    assert logits.shape == (3, 3, *size)
    (torch.randn(logits.shape) * logits).sum().backward()
    silent = [name for name, values in network.named_parameters() if not values.grad.abs().max() > 1e-6]
    assert not silent
    assert image.grad.any()


@pytest.mark.parametrize("level", range(6))
def test_embeddings_come_with_the_same_logits_and_have_a_gradient(level):
    torch.manual_seed(0)
    network, image = MTUNet(1, 3, size=(32, 40), **NARROW).eval(), torch.rand(2, 1, 32, 40, requires_grad=True)
    logits, embedding = network.segment_and_embed(image, level)
    assert torch.equal(logits, network(image))
    factor = 2 ** (5 - level)
    assert embedding.shape[1:] == ((*NARROW["stem"], *NARROW["widths"])[-1 - level], 32 // factor, -(-40 // factor))
    embedding.sum().backward()
    assert image.grad.any()


def test_a_single_channel_is_repeated_to_three():
    torch.manual_seed(0)
    grey, image = MTUNet(1, 3, size=(32, 32), **NARROW), torch.rand(2, 1, 32, 32)
    colour = MTUNet(3, 3, size=(32, 32), **NARROW)
    colour.load_state_dict(grey.state_dict())
    torch.testing.assert_close(grey(image), colour(image.repeat(1, 3, 1, 1)))


def test_position_is_learned_from_zero():
    network = MTUNet(1, 3, size=(24, 40), **NARROW)
    assert network.position.shape == (3, 5, 16)
    assert not network.position.any()


def test_a_double_convolution_is_as_described():
    torch.manual_seed(0)
    layer, x = DoubleConvolution(3, 5), torch.randn(2, 3, 6, 7)
    first, second, residual = (part[0].weight for part in (layer.first, layer.second, layer.residual))

    def normed(x):
        return (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()

    h = normed(torch.conv2d(x, first, padding=1)).relu()
    h = normed(torch.conv2d(h, second, padding=1))
    torch.testing.assert_close(layer(x), (h + normed(torch.conv2d(h, residual))).relu(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_agrees_with_float32(training):
    torch.manual_seed(0)
    network = MTUNet(1, 3, size=(64, 64), stem=(16, 32, 64), widths=(64, 96, 128)).train(training)
    image, logits = torch.rand(2, 1, 64, 64), []
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits.append(network(image).float())
    full, half = logits
    assert float((half - full).norm() / (full - full.mean()).norm()) < 0.05


def test_maps_stay_channels_last_in_bfloat16():
    torch.manual_seed(0)
    network, maps = MTUNet(1, 3, size=(32, 32), **NARROW), []
    arrange_weights(network, "channels_last")
    for part in network.modules():
        if isinstance(part, DoubleConvolution | BlockTransposed2d | nn.BatchNorm2d):
            part.register_forward_hook(lambda _, __, x: maps.append(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(arrange(torch.rand(2, 1, 32, 32), "channels_last"))
    assert len(maps) == 6 * 4 + 5 + 3
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in maps)
    assert {each.dtype for each in maps} == {torch.bfloat16}


def test_it_is_rebuilt_on_the_meta_device_and_copied():
    torch.manual_seed(0)
    network, image = MTUNet(1, 3, size=(32, 32), **NARROW).eval(), torch.rand(2, 1, 32, 32)
    with torch.device("meta"):
        rebuilt = MTUNet(1, 3, size=(32, 32), **NARROW).eval()
    rebuilt.load_state_dict(network.state_dict(), assign=True)
    assert torch.equal(rebuilt(image), network(image))
    assert torch.equal(copy.deepcopy(network)(image), network(image))


def test_its_memory_can_be_foreseen_in_bfloat16():
    image, network = torch.empty(1, 1, 64, 64, device="meta"), MTUNet(1, 3, size=(64, 64), **NARROW).eval()
    full, half = (activation_bytes(network, (each,)) for each in (image, image.bfloat16()))
    assert 0.4 * full < half < 0.75 * full


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"size: expected multiples of 8, got \(32, 36\)"):
        MTUNet(1, 3, size=(32, 36), **NARROW)
    with pytest.raises(ValueError, match=r"expected slices of \(32, 40\), got \(40, 32\)"):
        MTUNet(1, 3, size=(32, 40), **NARROW)(torch.rand(1, 1, 40, 32))


@pytest.mark.parametrize("widths", [{"stem": (), "widths": (16, 24)}, {"stem": (8,), "widths": (16,)}])
def test_too_few_widths_are_refused(widths):
    with pytest.raises(ValueError, match="expected widths for a stem and two sizes"):
        MTUNet(1, 3, size=(32, 32), **widths)
