import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lowshot.methods.mre_net.network import (
    AtrousPyramid,
    Embedding,
    PrototypeClassifier,
    SqueezeExcitation,
    _Length,
    resize,
)
from lowshot.nn.luna_park import LunaParkUNet

CLASSES, SIZE = 4, 6


def classifier(**settings):
    torch.manual_seed(0)
    return PrototypeClassifier(SIZE, CLASSES, **{"modes": 3, "hidden": 5, **settings})


def voxels(*shape):
    return torch.randn(*(shape or (7,)), SIZE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def naive_logits(network, e):
    """log Σ_j α_kj exp(ξ ê·ĉ_kj) for one voxel, as the paper writes it."""
    modes, xi = network.modes, float(network.scale)
    prototypes = network.prototypes.detach().reshape(modes, CLASSES, SIZE)
    beta = torch.zeros(modes, CLASSES)
    if network.mixing == "adaptive" and modes > 1:
        first, second = network.mixer[0], network.mixer[2]
        hidden = (first.weight @ e + first.bias).clamp_min(0)
        beta = torch.sigmoid(second.weight @ hidden + second.bias).reshape(modes, CLASSES)
    logits = []
    for k in range(CLASSES):
        alpha = [math.exp(float(beta[j, k])) for j in range(modes)]
        alpha = [a / sum(alpha) for a in alpha]
        cosines = [float(e @ prototypes[j, k] / (e.norm() * prototypes[j, k].norm())) for j in range(modes)]
        distances = [2 - 2 * cosine for cosine in cosines]
        similarities = cosines if network.distance == "cosine" else [-distance for distance in distances]
        if network.mixing == "one-hot":
            nearest = similarities.index(max(similarities))
            alpha = [float(j == nearest) for j in range(modes)]
        logits.append(math.log(sum(a * math.exp(xi * s) for a, s in zip(alpha, similarities, strict=True))))
    return torch.tensor(logits)


@pytest.mark.parametrize("mixing", ["adaptive", "average", "one-hot"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("modes", [1, 2, 3])
def test_probabilities_are_those_of_the_paper(mixing, distance, modes):
    network = classifier(mixing=mixing, distance=distance, modes=modes, scale=7.0)
    for e, logits in zip(voxels(), network(voxels()), strict=True):
        torch.testing.assert_close(logits, naive_logits(network, e), atol=1e-5, rtol=1e-5)


def test_one_mode_is_a_plain_cosine_softmax():
    for mixing in ("adaptive", "average", "one-hot"):
        network = classifier(modes=1, mixing=mixing)
        cosine = torch.cosine_similarity(voxels()[:, None], network.prototypes[None], dim=-1)
        torch.testing.assert_close(network(voxels()).softmax(-1), (10 * cosine).softmax(-1))
        assert network.mixer is None


def test_euclidean_is_cosine_with_twice_the_scale():
    cosine, euclidean = classifier(scale=14.0), classifier(distance="euclidean", scale=7.0)
    torch.testing.assert_close(cosine(voxels()).softmax(-1), euclidean(voxels()).softmax(-1))


def test_lengths_do_not_matter():
    network = classifier(mixing="average")
    torch.testing.assert_close(network(100 * voxels()), network(voxels()))
    before = network(voxels())
    network.prototypes.data *= 3
    torch.testing.assert_close(network(voxels()), before)


def test_an_embedding_of_zero_is_finite():
    assert classifier()(torch.zeros(1, SIZE)).isfinite().all()


def test_no_mode_can_be_switched_off():
    """β is a sigmoid, so α of three modes stays within [0.155, 0.576], however extreme the mixer."""
    network = classifier(scale=10.0)
    network.mixer[2].weight.data.zero_()
    for betas, alpha in (([1, 0, 0], 0.576), ([0, 1, 1], 0.155)):
        network.mixer[2].bias.data = torch.tensor([[50.0 if beta else -50.0] * CLASSES for beta in betas]).flatten()
        # Only the first mode of class 0 points along e: log P gains log α over a lone prototype.
        network.prototypes.data = -torch.eye(SIZE)[:1].repeat(3 * CLASSES, 1)
        network.prototypes.data[0] *= -1
        logit = network(torch.eye(SIZE)[:1])[0, 0].detach()
        assert float(logit) == pytest.approx(10 + math.log(alpha), abs=1e-2)


def test_prototypes_are_a_layer_without_bias():
    network = PrototypeClassifier(2048, 11)
    assert tuple(network.prototypes.shape) == (33, 2048)
    assert [tuple(layer.weight.shape) for layer in (network.mixer[0], network.mixer[2])] == [(512, 2048), (33, 512)]
    assert float(network.scale.detach()) == 10.0
    assert network.scale.requires_grad
    names = {name for name, _ in network.named_parameters()}
    assert names == {"prototypes", "scale", "mixer.0.weight", "mixer.0.bias", "mixer.2.weight", "mixer.2.bias"}


def test_the_best_attainable_probability_with_eleven_classes():
    """Why ξ does not start at 1: even a perfect match would reach 0.42 only."""
    torch.manual_seed(0)
    for scale, best in ((1.0, math.e / (math.e + 10 * math.exp(-1))), (10.0, 1.0)):
        network = PrototypeClassifier(2, 11, modes=1, scale=scale)
        network.prototypes.data = torch.tensor([[1.0, 0.0]] + [[-1.0, 0.0]] * 10)
        assert network(torch.tensor([[5.0, 0.0]])).softmax(-1)[0, 0].detach().item() == pytest.approx(best, abs=1e-3)


def test_voxels_may_come_in_any_arrangement():
    network, e = classifier(), voxels(2, 3, 4, 5)
    torch.testing.assert_close(network(e)[1, 2, 3, 4], network(e[1, 2, 3, 4]))


def test_logits_are_float32_under_autocast_and_close():
    network = classifier()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = network(voxels().bfloat16())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, network(voxels()), atol=0.1, rtol=0.05)


def test_every_parameter_is_trained():
    network = classifier()
    network(voxels()).log_softmax(-1)[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_squeeze_and_excitation_by_hand():
    block = SqueezeExcitation(451)
    assert [tuple(block.gate[n].weight.shape) for n in (0, 2)] == [(28, 451), (451, 28)]
    torch.manual_seed(0)
    small, x = SqueezeExcitation(3), torch.randn(2, 3, 4, 5, 6)
    first, second = small.gate[0], small.gate[2]
    pooled = x.mean((2, 3, 4))
    gate = torch.sigmoid((pooled @ first.weight.T + first.bias).clamp_min(0) @ second.weight.T + second.bias)
    torch.testing.assert_close(small(x), x * gate[:, :, None, None, None])


def test_the_pyramid_has_five_branches():
    with torch.device("meta"):
        pyramid = AtrousPyramid(451, 451, 256, (6, 12, 18), norm="batch", dimensions=3)
    assert pyramid.outputs == 1280
    assert pyramid.point[0].kernel_size == (1, 1, 1)
    assert [branch[0].dilation for branch in pyramid.dilated] == [(6, 6, 6), (12, 12, 12), (18, 18, 18)]
    assert all(branch[0].padding == branch[0].dilation for branch in pyramid.dilated)
    assert pyramid.pooled[0].in_features == 451


def test_the_pooling_branch_is_the_same_everywhere():
    torch.manual_seed(0)
    pyramid, x = AtrousPyramid(3, 3, 4, (1, 2, 3), norm="batch", dimensions=3).eval(), torch.randn(2, 3, 5, 6, 7)
    pooled = pyramid(x, x)[:, -4:]
    torch.testing.assert_close(pooled, pyramid.pooled(x.mean((2, 3, 4)))[:, :, None, None, None].expand_as(pooled))


def test_one_patch_of_one_voxel_can_be_trained():
    pyramid = AtrousPyramid(3, 3, 4, (1, 2, 3), norm="batch", dimensions=3).train()
    assert pyramid(torch.randn(1, 3, 2, 2, 2), torch.randn(1, 3, 2, 2, 2)).isfinite().all()


def test_resizing_to_a_larger_grid_is_linear_and_to_a_smaller_one_the_mean():
    x = torch.randn(1, 2, 4, 4, 4)
    assert resize(x, (4, 4, 4)) is x
    torch.testing.assert_close(resize(x, (2, 2, 2)), nn.AvgPool3d(2)(x))
    line = resize(torch.tensor([0.0, 1.0]).reshape(1, 1, 2, 1, 1), (4, 1, 1)).flatten()
    torch.testing.assert_close(line, torch.tensor([0.0, 0.25, 0.75, 1.0]))
    assert resize(torch.randn(1, 2, 4, 4), (8, 8)).shape == (1, 2, 8, 8)
    crossed = resize(torch.tensor([[0.0, 2.0], [1.0, 3.0]]).reshape(1, 1, 2, 2, 1), (4, 1, 1)).flatten()
    torch.testing.assert_close(crossed, torch.tensor([1.0, 1.25, 1.75, 2.0]))  # means 1 and 2, then as a line


def small_backbone(dimensions=3):
    strides = ((2, 2, 2), (2, 2, 1))
    return LunaParkUNet(2, widths=(4, 8, 16), convolutions=(1, 1, 1), strides=strides, dimensions=dimensions)


def embedding(**settings):
    torch.manual_seed(0)
    return Embedding(small_backbone(), **{"pyramid_width": 5, "pyramid_rates": (1, 2, 3), **settings}).eval()


IMAGE, WHERE = torch.randn(2, 2, 8, 8, 4), torch.randn(2, 3, 8, 8, 4)


def test_all_levels_and_coordinates_are_concatenated_deepest_first():
    network = embedding()
    seen = []
    network.excite.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(IMAGE, WHERE)
    deep, middle, last = network.backbone(IMAGE)
    expected = [resize(each, (8, 8, 4)) for each in (deep, middle)] + [last, WHERE]
    assert seen[0].shape[1] == 16 + 8 + 4 + 3
    torch.testing.assert_close(seen[0], torch.cat(expected, dim=1))


def test_without_attention_only_the_last_map_is_left():
    plain, located = (embedding(attention=False, coordinates=c) for c in (False, True))
    torch.testing.assert_close(plain(IMAGE, WHERE), plain.backbone(IMAGE)[-1])
    torch.testing.assert_close(located(IMAGE, WHERE), torch.cat([located.backbone(IMAGE)[-1], WHERE], dim=1))


@pytest.mark.parametrize("attention", [True, False])
def test_coordinates_matter_only_where_they_are_on(attention):
    for coordinates in (True, False):
        network = embedding(attention=attention, coordinates=coordinates)
        same = torch.allclose(network(IMAGE, WHERE), network(IMAGE, WHERE + 1))
        assert same is not coordinates


@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"level_width": 3}, {"stride": 2, "level_width": 3}])
@pytest.mark.parametrize("coordinates", [True, False])
def test_outputs_says_how_wide_it_is(settings, coordinates):
    network = embedding(coordinates=coordinates, **settings)
    assert network(IMAGE, WHERE).shape == (2, network.outputs, 8, 8, 4)
    assert network.outputs == 5 * 5


def test_the_planar_form():
    network = Embedding(small_backbone(2), pyramid_width=5, pyramid_rates=(1, 2, 3), dimensions=2).eval()
    assert network(torch.randn(1, 2, 8, 8), torch.randn(1, 2, 8, 8)).shape == (1, 25, 8, 8)
    assert network.excite.gate[0].in_features == 16 + 8 + 4 + 2


def test_the_length_of_embeddings_has_the_gradient_of_pytorchs_norm():
    e = torch.randn(5, 7, dtype=torch.float64)
    e[0] = 0
    e.requires_grad_()
    lengths = _Length.apply(e), torch.linalg.vector_norm(e, dim=-1, keepdim=True)
    weights = torch.randn(5, 1, dtype=torch.float64)
    gradients = [torch.autograd.grad((each * weights).sum(), e)[0] for each in lengths]
    torch.testing.assert_close(*lengths)
    torch.testing.assert_close(*gradients)
    assert _Length.apply(torch.randn(2, 3).bfloat16()).dtype == torch.float32


class Returned(TorchDispatchMode):
    """Notes whether what comes back to the interpolation lies in ``channels_last``."""

    def __init__(self):
        super().__init__()
        self.channels_last = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.upsample_trilinear3d_backward.default:
            self.channels_last.append(args[0].is_contiguous(memory_format=torch.channels_last_3d))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_larger_maps_stay_in_their_memory_format_on_the_way_back_too(memory_format):
    x = torch.randn(2, 8, 4, 4, 4).contiguous(memory_format=memory_format).requires_grad_()
    larger = resize(x, (8, 8, 8))
    assert larger.is_contiguous(memory_format=memory_format)
    weights = torch.randn(2, 12, 8, 8, 8).contiguous(memory_format=memory_format)
    beside = torch.zeros(2, 4, 8, 8, 8).contiguous(memory_format=memory_format)
    with Returned() as returned:
        (torch.cat([larger, beside], dim=1) * weights).sum().backward()
    assert returned.channels_last == [memory_format == torch.channels_last_3d]
    plain = torch.nn.functional.interpolate(x, scale_factor=2, mode="trilinear")
    torch.testing.assert_close(x.grad, torch.autograd.grad((plain * weights[:, :8]).sum(), x)[0])
