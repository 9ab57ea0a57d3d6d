import pytest
import torch
from torch import nn

from lowshot.inference.memory import activation_bytes
from lowshot.methods.gcn_de.network import Arm, GCNDENetwork, Up
from lowshot.nn.global_correlation import GlobalCorrelation
from lowshot.nn.two_arm import SpatialExcitation

NARROW = {"width": 0.0625}
SIZE = (32, 48)


def shots(n=2, k=1, m=None, channels=1, size=SIZE):
    torch.manual_seed(1)
    masks = (torch.rand(n, k, *size) > 0.7).float()
    return torch.randn(n, k, channels, *size), masks, torch.randn(m or n, channels, *size)


def made(correlation=True, **settings):
    """In evaluation mode, with norms that do something and statistics that fit."""
    torch.manual_seed(0)
    network = GCNDENetwork(1, **NARROW, correlation=correlation, **settings)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            layer.momentum = None
    with torch.no_grad():
        network.train()(*shots(4))
    return network.eval()


@pytest.fixture(params=[True, False])
def network(request):
    return made(request.param)


def layer(inputs, outputs, kernel=9):
    """Convolution without bias, BatchNorm."""
    return kernel * inputs * outputs + 2 * outputs


def up(inputs, outputs):
    return layer(inputs, outputs) + layer(2 * outputs, outputs) + layer(outputs, outputs)


def test_parameters_by_hand():
    """ResNet-18 has 2,782,784 without its last stage and classifier; both arms have one."""
    arms = sum(layer(channels, 32) + layer(32, 3, 1) for channels in (1, 2))
    arms += 2 * (2_782_784 + up(256, 128) + up(128, 64) + up(64, 64) + layer(64, 64))
    correlation = 2 * (3 * (128 * 64 + 64) + 64 * 128 + 128 + 2 * 128) + 128 * 64 + 64
    gates = sum(width + 1 for width in (3, 128, 256, 128, 64, 64, 64))
    head = 64 + 1 + 2
    with torch.device("meta"):
        full, gated = GCNDENetwork(1), GCNDENetwork(1, correlation=False)
    count = sum(values.numel() for values in full.parameters())
    assert count == arms + 2 * correlation + gates + head
    assert count - sum(values.numel() for values in gated.parameters()) == 2 * (correlation - 65)


def test_maps_have_the_published_sizes():
    with torch.device("meta"):
        maps = Arm(2)(torch.empty(1, 2, 256, 256))
    sizes = [256, 128, 64, 32, 16, 32, 64, 128, 256]
    assert [tuple(x.shape[1:]) for x in maps] == [
        (width, size, size) for width, size in zip((3, 64, 64, 128, 256, 128, 64, 64, 64), sizes, strict=True)
    ]


def test_stages_1_to_3_are_linked_beside_and_the_others_go_on():
    """What a link makes of stage n must not reach the encoder's next map, unless n is 0."""
    torch.manual_seed(0)
    arm, image = Arm(1, **NARROW).eval(), torch.randn(1, 1, *SIZE)
    plain = arm(image)
    for changed in range(9):
        maps = arm(image, lambda stage, x, at=changed: x + 1 if stage == at else x)
        differs = [n for n, (own, other) in enumerate(zip(maps, plain, strict=True)) if not torch.equal(own, other)]
        beside = {1: [7, 8], 2: [6, 7, 8], 3: [5, 6, 7, 8]}
        assert differs == [changed, *beside.get(changed, range(changed + 1, 9))]


def test_links_are_gates_but_two():
    kinds = [type(link) for link in made().links]
    assert [n for n, kind in enumerate(kinds) if kind is GlobalCorrelation] == [1, 2]
    assert [n for n, kind in enumerate(kinds) if kind is SpatialExcitation] == [0, 3, 4, 5, 6, 7, 8]
    assert {type(link) for link in made(correlation=False).links} == {SpatialExcitation}


def test_a_way_up_joins_what_is_beside():
    torch.manual_seed(0)
    part, below, beside = Up(3, 2, 4).eval(), torch.randn(1, 3, 4, 5), torch.randn(1, 2, 8, 10)
    assert part(below, beside).shape == (1, 4, 8, 10)
    assert not torch.allclose(part(below, 0 * beside), part(below, beside))


def test_the_gradient_reaches_every_parameter(network):
    support, masks, query = shots()
    (torch.randn(2, *SIZE) * network.train()(support, masks, query)).sum().backward()
    # A shift of all logits is taken back by their norm.
    still = [name for name, values in network.named_parameters() if not values.grad.abs().max() > 0]
    assert [name for name in still if name != "head.0.bias"] == []


def test_the_support_matters(network):
    support, masks, query = shots()
    logit = network(support, masks, query)
    assert logit.shape == (2, *SIZE)
    assert not torch.allclose(network(support, 1 - masks, query), logit)
    assert not torch.allclose(network(support.flip(-1), masks, query), logit)


def test_with_correlation_a_distant_pixel_of_the_support_matters():
    """At full size nothing else links a corner with the opposite one: gates look at their own pixel."""
    torch.manual_seed(0)
    network = made()
    support, masks, query = shots(1)
    changed = support.clone()
    changed[..., -2:, -2:] += 5
    (before, after), _ = network.correlated(support, masks, query)
    (before_2, after_2), _ = network.correlated(changed, masks, query)
    corner = (slice(None), slice(None), slice(0, 4), slice(0, 4))
    assert torch.allclose(before[corner], before_2[corner], atol=1e-6)
    assert not torch.allclose(after[corner], after_2[corner], atol=1e-6)


def test_what_is_correlated_is_what_the_network_uses(network):
    support, masks, query = shots(1, 2, m=3)
    seen = []
    for stage in (1, 2):
        network.links[stage].register_forward_hook(lambda _, inputs, output: seen.append((inputs[1], output)))
    network(support, masks, query)
    found = network.correlated(support, masks, query)
    assert [tuple(after.shape) for _, after in found] == [(3, 4, 16, 24), (3, 4, 8, 12)]
    for pair, rows in zip(found, seen[:2], strict=True):
        for own, row in zip(pair, rows, strict=True):
            torch.testing.assert_close(own, row.unflatten(0, (3, 2)).mean(dim=1))


@pytest.mark.parametrize("stage", [4, 8])
def test_embeddings_are_means_over_channels_and_come_with_the_same_logits(network, stage):
    support, masks, query = shots()
    logit, f_s, f_q = network.segment_and_embed(support, masks, query, stage)
    torch.testing.assert_close(logit, network(support, masks, query))
    size = (2, 3) if stage == 4 else SIZE
    assert f_s.shape == f_q.shape == (2, *size)
    maps = network.support(torch.cat([support[:, 0], masks], dim=1))
    torch.testing.assert_close(f_s, maps[stage].mean(dim=1))


def test_every_task_is_by_itself(network):
    support, masks, query = shots(3)
    apart = [network(support[n : n + 1], masks[n : n + 1], query[n : n + 1]) for n in range(3)]
    torch.testing.assert_close(network(support, masks, query), torch.cat(apart), rtol=1e-4, atol=1e-4)


def test_several_shots_are_the_mean_of_their_logits(network):
    support, masks, query = shots(2, 3)
    each = [network(support[:, k : k + 1], masks[:, k : k + 1], query) for k in range(3)]
    torch.testing.assert_close(network(support, masks, query), torch.stack(each).mean(dim=0), rtol=1e-4, atol=1e-4)


def test_one_support_serves_every_query(network):
    support, masks, query = shots(1, 2, m=3)
    repeated = network(support.expand(3, -1, -1, -1, -1), masks.expand(3, -1, -1, -1), query)
    torch.testing.assert_close(network(support, masks, query), repeated, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_agrees_with_float32(network, training):
    support, masks, query = shots()
    network.train(training)
    with torch.no_grad():
        full = network(support, masks, query)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(support, masks, query).float()
    assert float((half - full).norm() / (full - full.mean()).norm()) < 0.2


def test_it_is_rebuilt_on_the_meta_device(network):
    inputs = shots()
    with torch.device("meta"):
        rebuilt = GCNDENetwork(1, **NARROW, correlation=isinstance(network.links[1], GlobalCorrelation)).eval()
    rebuilt.load_state_dict(network.state_dict(), assign=True)
    assert torch.equal(rebuilt(*inputs), network(*inputs))


def test_its_memory_can_be_foreseen(network):
    inputs = [torch.empty(*shape, device="meta") for shape in ((1, 1, 1, 64, 64), (1, 1, 64, 64), (4, 1, 64, 64))]
    assert activation_bytes(network, tuple(inputs)) > 4 * 4 * 64 * 64 * 4


def test_without_a_norm_logits_are_as_the_last_layer_makes_them():
    assert isinstance(made(output_norm=False).head, nn.Conv2d)
