import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lowshot.inference.memory import activation_bytes
from lowshot.nn.planar_unet import PlanarUNet
from lowshot.training.allocator import freed_memory_kept
from lowshot.training.layout import arrange, arrange_weights
from nn.hand_count import convolution, norm

TINY = (4, 6, 8)


def double(inputs, outputs):
    return convolution(inputs, outputs, kernel=9) + convolution(outputs, outputs, kernel=9) + 2 * norm(outputs)


@pytest.mark.parametrize("channels", [1, 3])
def test_has_as_many_parameters_as_a_hand_count(channels):
    with torch.device("meta"):
        network = PlanarUNet(channels, 4)
    encoder = double(channels, 32) + double(32, 64) + double(64, 128) + double(128, 256) + double(256, 512)
    decoder = sum(convolution(2 * w, w, kernel=4) + double(2 * w, w) for w in (256, 128, 64, 32))
    expected = encoder + decoder + convolution(32, 4, kernel=1)
    assert sum(p.numel() for p in network.parameters()) == expected


def reference(network, image):
    """Layers of PyTorch with the same weights, in evaluation mode."""

    def twice(x, block):
        for layer in block:
            x = layer(x) if isinstance(layer, nn.Conv2d | nn.BatchNorm2d) else F.relu(x)
        return x

    maps = [twice(image, network.encoder[0])]
    for block in list(network.encoder)[1:]:
        maps.append(twice(F.max_pool2d(maps[-1], 2), block))
    x = maps.pop()
    for up, block in zip(network.ups, network.decoder, strict=True):
        x = torch.cat([F.conv_transpose2d(x, up.weight, up.bias, stride=2), maps.pop()], dim=1)
        x = twice(x, block)
    return F.conv2d(x, network.head.weight, network.head.bias)


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_it_is_the_network_as_described(memory_format):
    torch.manual_seed(0)
    network, image = PlanarUNet(2, 3, widths=TINY), torch.rand(2, 2, 16, 12)
    network(image)  # so that the running statistics are not trivial
    network.eval()
    arrange_weights(network, memory_format)
    torch.testing.assert_close(network(arrange(image, memory_format)), reference(network, image), rtol=1e-4, atol=1e-5)


def test_levels_of_the_encoder_and_maps_of_the_decoder():
    with torch.device("meta"):
        network, image = PlanarUNet(1, 4), torch.empty(2, 1, 224, 224)
        embeddings = [network.segment_and_embed(image, level)[1] for level in range(5)]
        decoded = network.decoder_maps(image)
    expected = [(512, 14, 14), (256, 28, 28), (128, 56, 56), (64, 112, 112), (32, 224, 224)]
    assert [tuple(each.shape[1:]) for each in embeddings] == expected
    assert [tuple(each.shape[1:]) for each in decoded] == expected


def test_logits_are_made_from_the_last_map():
    torch.manual_seed(0)
    network, image = PlanarUNet(1, 3, widths=TINY).eval(), torch.rand(2, 1, 8, 12)
    logits, _ = network.segment_and_embed(image, 1)
    assert torch.equal(logits, network(image))
    assert torch.equal(network.head(network.decoder_maps(image)[-1]), logits)


def test_the_gradient_reaches_every_weight_and_the_image():
    torch.manual_seed(0)
    network, image = PlanarUNet(2, 3, widths=TINY), torch.rand(3, 2, 16, 12, requires_grad=True)
    logits = network(image)
    (torch.randn(logits.shape) * logits).sum().backward()
    # Biases before a norm have none: it takes every mean away.
    learning = [values for name, values in network.named_parameters() if "weight" in name or "head" in name]
    assert all(values.grad.abs().max() > 1e-6 for values in (*learning, image))


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_agrees_with_float32(training):
    torch.manual_seed(0)
    network, image, logits = PlanarUNet(1, 3, widths=(16, 32, 64)).train(training), torch.rand(2, 1, 64, 64), []
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits.append(network(image).float())
    full, half = logits
    assert float((half - full).norm() / (full - full.mean()).norm()) < 0.03


def test_maps_stay_channels_last_in_bfloat16():
    torch.manual_seed(0)
    network = PlanarUNet(1, 3, widths=TINY)
    arrange_weights(network, "channels_last")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = network.decoder_maps(arrange(torch.rand(2, 1, 16, 16), "channels_last"))
    assert len(maps) == 3
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in maps)
    assert {each.dtype for each in maps} == {torch.bfloat16}


@pytest.mark.parametrize("size", [(4, 4), (8, 4), (4, 8), (12, 16)])
def test_bfloat16_learns_from_no_memory_that_nobody_has_written(size):
    """The coarsest maps are one to four pixels wide; oneDNN's gradients of small solid maps are wrong there."""
    torch.manual_seed(0)
    network, image = PlanarUNet(1, 2, widths=(16, 32, 64)), torch.rand(2, 1, *size)
    arrange_weights(network, "channels_last")
    weights, first, sizes = torch.randn(2, 2, *size), None, random.Random(0)
    with freed_memory_kept():
        for _ in range(6):
            for bits in (10, 14, 16, 18):
                torch.full((sizes.randrange(1 << bits),), float("nan"))
            network.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = network(image)
            (weights * logits).sum().backward()
            found = [parameter.grad.clone() for parameter in network.parameters()]
            first = first or found
            assert all(torch.equal(own, other) for own, other in zip(found, first, strict=True))
            assert all(torch.isfinite(own).all() for own in found)


def test_its_memory_can_be_foreseen_in_bfloat16():
    image, network = torch.empty(1, 1, 64, 64, device="meta"), PlanarUNet(1, 3, widths=TINY).eval()
    full, half = (activation_bytes(network, (each,)) for each in (image, image.bfloat16()))
    assert 0.4 * full < half < 0.75 * full


def test_sizes_that_cannot_be_halved_are_refused():
    network = PlanarUNet(1, 3, widths=TINY)
    assert network.multiple == 4
    with pytest.raises(ValueError, match=r"multiples of 4, got \(8, 10\)"):
        network(torch.rand(1, 1, 8, 10))
