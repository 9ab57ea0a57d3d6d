import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lowshot.inference.memory import activation_bytes
from lowshot.nn.displacement_unet import DisplacementUNet, FinerLevel, convolve_upsampled
from lowshot.training.allocator import freed_memory_kept
from lowshot.training.layout import arrange_weights
from nn.hand_count import convolution

TINY = {"encoder": (4, 6), "decoder": ((5,), (7, 3), (2, 4))}


def pair(*shape, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(1, channels, *shape, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("channels", [1, 3])
def test_has_the_published_number_of_parameters(channels):
    with torch.device("meta"):
        network = DisplacementUNet(channels)
    encoder = convolution(2 * channels, 16) + convolution(16, 32) + 2 * convolution(32, 32)
    coarse = convolution(32, 32) + 2 * convolution(32 + 32, 32)
    half = convolution(32 + 16, 32) + convolution(32, 32)
    full = convolution(32 + 2 * channels, 32) + convolution(32, 16) + convolution(16, 16)
    assert sum(p.numel() for p in network.parameters()) == encoder + coarse + half + full + convolution(16, 3)
    assert all(values.is_meta for values in network.state_dict().values())


def test_the_state_is_one_weight_and_bias_per_convolution():
    network = DisplacementUNet(**TINY)
    shapes = [tuple(values.shape) for name, values in network.state_dict().items() if name.endswith("weight")]
    encoder, bottom, half = [(4, 2), (6, 4)], [(5, 6)], [(7, 5 + 4), (3, 7)]
    full, field = [(2, 3 + 2), (4, 2)], [(3, 4)]
    assert shapes == [(*widths, 3, 3, 3) for widths in (*encoder, *bottom, *half, *full, *field)]


@pytest.mark.parametrize("shape", [(16, 16, 16), (32, 16, 48)])
def test_begins_with_hardly_any_displacement(shape):
    torch.manual_seed(0)
    field = DisplacementUNet()(*pair(*shape))
    assert field.shape == (1, 3, *shape)
    assert field.dtype == torch.float32
    assert 0 < float(field.detach().abs().max()) < 1e-3


def test_the_last_convolution_has_small_weights_and_no_bias():
    torch.manual_seed(0)
    last = DisplacementUNet().field
    assert float(last.weight.detach().std()) == pytest.approx(1e-5, rel=0.1)
    assert not last.bias.any()


def reference(network, moving, fixed):
    """The same network as it is described: upsampling, concatenation, convolution."""

    def convolved(x, layer):
        return F.leaky_relu(F.conv3d(x, layer.weight, layer.bias, layer.stride, padding=1), 0.2)

    def all_convolved(x, layers):
        for layer in layers:
            x = convolved(x, layer) if isinstance(layer, nn.Conv3d) else x
        return x

    maps = [torch.cat([moving, fixed], dim=1)]
    for halving in network.encoder:
        maps.append(convolved(maps[-1], halving[0]))
    x = all_convolved(maps.pop(), network.bottom)
    for level in network.decoder:
        x = torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), maps.pop()], dim=1)
        x = all_convolved(convolved(x, level.joining), level.further)
    return F.conv3d(x, network.field.weight, network.field.bias, padding=1)


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("settings", [{}, TINY])
def test_it_is_the_network_as_described(settings, memory_format):
    torch.manual_seed(0)
    network, images = DisplacementUNet(**settings), pair(16, 32, 16)
    nn.init.normal_(network.field.weight)
    arrange_weights(network, memory_format)
    field, described = network(*images), reference(network, *images)
    torch.testing.assert_close(field, described, rtol=1e-4, atol=1e-5)
    weights = torch.randn(field.shape)
    found = torch.autograd.grad((weights * field).sum(), list(network.parameters()))
    expected = torch.autograd.grad((weights * described).sum(), list(network.parameters()))
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize(("fewer", "coarser"), [(0, 1), (1, 2), (2, 4)])
def test_with_fewer_levels_the_field_is_interpolated_without_being_scaled(fewer, coarser):
    """It is in voxels of the full grid, whatever grid it was predicted on."""
    decoder = ((8,), (8,), (8,), (8,), (8,))[: 5 - fewer]
    network = DisplacementUNet(encoder=(4, 8, 8, 8), decoder=decoder)
    assert network.coarser == coarser
    predicted = []
    network.field.register_forward_hook(lambda _, __, field: predicted.append(tuple(field.shape[2:])))
    nn.init.zeros_(network.field.weight)
    network.field.bias.data = torch.tensor([1.0, -2.0, 3.0])
    field = network(*pair(16, 32, 16))
    assert predicted == [(16 // coarser, 32 // coarser, 16 // coarser)]
    torch.testing.assert_close(field, torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1, 1).expand(1, 3, 16, 32, 16))


@pytest.mark.parametrize("fewer", [0, 1])
def test_the_gradient_reaches_every_parameter_and_both_pictures(fewer):
    torch.manual_seed(0)
    network = DisplacementUNet(encoder=TINY["encoder"], decoder=TINY["decoder"][: 3 - fewer])
    images = [each.requires_grad_() for each in pair(8, 12, 8)]
    network(*images).square().sum().backward()
    assert all(values.grad.any() for values in (*network.parameters(), *images))


def test_the_order_of_the_pictures_matters():
    network, (moving, fixed) = DisplacementUNet(**TINY), pair(8, 8, 8)
    assert not torch.equal(network(moving, fixed), network(fixed, moving))


def test_sizes_that_cannot_be_halved_are_refused():
    network = DisplacementUNet(**TINY)
    assert network.multiple == 4
    with pytest.raises(ValueError, match=r"multiples of 4, got \(8, 8, 10\)"):
        network(*pair(8, 8, 10))


@pytest.mark.parametrize("decoder", [(), ((4,), ()), ((4,),) * 4])
def test_decoders_that_do_not_fit_are_refused(decoder):
    with pytest.raises(ValueError, match="decoder: expected 1 to 3 lists"):
        DisplacementUNet(encoder=(4, 4), decoder=decoder)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("size", [(3, 4, 2), (2, 1, 3), (1, 1, 1)])
def test_a_convolution_of_repeated_voxels_without_repeating_them(size, memory_format):
    x = torch.randn(2, 3, *size).contiguous(memory_format=memory_format).requires_grad_()
    weight = torch.randn(4, 3, 3, 3, 3, requires_grad=True)
    found = convolve_upsampled(x, weight)
    expected = F.conv3d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weights = torch.randn(found.shape)
    for own, other in zip(
        torch.autograd.grad((weights * found).sum(), (x, weight)),
        torch.autograd.grad((weights * expected).sum(), (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-3)


def maps_of(network, images, precision):
    """Those that the layers hand on, and the field."""
    maps = []
    for module in network.modules():
        if isinstance(module, FinerLevel | nn.LeakyReLU):
            module.register_forward_hook(lambda _, __, x: maps.append(x))
    arrange_weights(network, "channels_last")
    nn.init.normal_(network.field.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        field = network(*images)
    assert len(maps) == 4 + 1 + 4 + 3  # encoder, bottom, levels, and their further convolutions
    return maps, field


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.bfloat16)])
def test_maps_stay_channels_last(precision):
    torch.manual_seed(0)
    # Of a single sample, and of the bottom's 2×2×2 voxels, PyTorch's convolution in float32 is contiguous; in bfloat16
    # the latter is, too, on processors that multiply it without matrix units.
    two = [torch.cat([image, image]) for image in pair(32, 32, 32)]
    maps, _ = maps_of(DisplacementUNet(), two, precision)
    kept = [each.is_contiguous(memory_format=torch.channels_last_3d) for each in maps]
    assert all(kept[:4] + kept[5:])


def test_displacements_are_not_rounded_to_bfloat16():
    torch.manual_seed(0)
    maps, field = maps_of(DisplacementUNet(), pair(16, 16, 16), "bfloat16")
    assert {each.dtype for each in maps} == {torch.bfloat16}
    assert field.dtype == torch.float32
    assert not torch.equal(field, field.bfloat16().float())


@pytest.mark.parametrize("size", [(2, 1, 4), (2, 2, 2), (1, 1, 1), (4, 3, 2)])
def test_small_maps_have_a_true_gradient_in_bfloat16(size):
    """Of maps one voxel high oneDNN's gradient is wrong; if they are deeper than here, it overwrites other memory."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 16, *size), torch.randn(16, 16, 3, 3, 3, requires_grad=True)
    x, gradients = x.contiguous(memory_format=torch.channels_last_3d), []
    for half in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            found = convolve_upsampled(x, weight)
        weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
        gradients += torch.autograd.grad((weights * found.float()).sum(), weight)
    exact, found = gradients
    assert float((found - exact).abs().max() / exact.abs().max()) < 0.03


@pytest.mark.bfloat16
@pytest.mark.parametrize("shape", [(16, 16, 16), (32, 16, 32), (16, 32, 16), (32, 32, 48)])
def test_bfloat16_learns_from_no_memory_that_nobody_has_written(shape):
    """The coarsest maps are 1 or 2 voxels deep or high, where some of oneDNN's gradients are wrong."""
    torch.manual_seed(0)
    network, images = DisplacementUNet(), pair(*shape)
    nn.init.normal_(network.field.weight)
    arrange_weights(network, "channels_last")
    weights, first = torch.randn(1, 3, *shape), None
    sizes = random.Random(0)
    with freed_memory_kept():
        for _ in range(6):
            for size in (10, 14, 16, 18, 20):
                torch.full((sizes.randrange(1 << size),), float("nan"))
            network.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                field = network(*images)
            (weights * field).sum().backward()
            found = [parameter.grad.clone() for parameter in network.parameters()]
            first = first or found
            assert all(torch.equal(own, other) for own, other in zip(found, first, strict=True))
            assert all(torch.isfinite(own).all() for own in found)


def test_its_memory_can_be_foreseen_in_bfloat16():
    picture = torch.empty(1, 1, 32, 32, 32, device="meta", dtype=torch.bfloat16)
    network = DisplacementUNet(1).eval()
    full, half = (activation_bytes(network, (each, each)) for each in (picture.float(), picture))
    assert 0.4 * full < half < 0.75 * full  # the field itself stays in float32
