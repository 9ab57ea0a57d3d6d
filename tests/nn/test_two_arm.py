import pytest
import torch
import torch.nn.functional as F

from lowshot.inference.memory import activation_bytes
from lowshot.nn.two_arm import (
    LEVELS,
    Arm,
    ConcatenatedArms,
    GatedArms,
    RegressedClassifier,
    SpatialExcitation,
    for_each_query,
    for_each_shot,
    marked,
    mean_of_shots,
)

NETWORKS = [GatedArms, ConcatenatedArms, RegressedClassifier]
WIDTHS = (2, 3)


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return request.param(1, WIDTHS).eval()


def shots(n=2, k=1, m=None, size=(32, 48), channels=1):
    torch.manual_seed(1)
    masks = (torch.rand(n, k, *size) > 0.7).float()
    return torch.randn(n, k, channels, *size), masks, torch.randn(m or n, channels, *size)


def block(inputs, outputs):
    """5×5 convolution with bias, PReLU, BatchNorm."""
    return 25 * inputs * outputs + outputs + 1 + 2 * outputs


def test_parameters_by_hand():
    """Conditioner of 16 channels, segmenter of 64; nine blocks each, or as many as are used."""
    conditioner = block(2, 16) + 3 * block(16, 16)
    segmenter = block(1, 64) + 8 * block(64, 64)
    expected = {
        GatedArms: conditioner + 5 * block(16, 16) + segmenter + 9 * 17 + 65,
        ConcatenatedArms: conditioner + block(1, 64) + 4 * block(80, 64) + 4 * block(64, 64) + 65,
        RegressedClassifier: conditioner + block(16, 16) + segmenter + 16 * 65 + 65,
    }
    for kind, count in expected.items():
        assert sum(values.numel() for values in kind(1).parameters()) == count


def test_a_gate_multiplies_every_channel_of_a_pixel():
    torch.manual_seed(0)
    link, s, q = SpatialExcitation(3), torch.randn(2, 3, 4, 5), torch.randn(2, 7, 4, 5)
    weights, bias = link.squeeze.weight[0, :, 0, 0], link.squeeze.bias
    gate = torch.einsum("nchw,c->nhw", s, weights).add(bias).sigmoid()
    torch.testing.assert_close(link(s, q), q * gate[:, None])


def test_maps_are_halved_four_times_and_doubled_again():
    maps = Arm(2, 3)(torch.randn(2, 2, 32, 48))
    assert [tuple(x.shape[2:]) for x in maps] == [
        (16, 24), (8, 12), (4, 6), (2, 3), (2, 3), (4, 6), (8, 12), (16, 24), (32, 48),
    ]  # fmt: skip
    assert {x.shape[1] for x in maps} == {3}


def test_values_go_back_to_where_the_largest_were():
    """With blocks that do nothing, what comes back is the image where it was largest, and zeros elsewhere."""
    arm, image = Arm(1, 1), torch.randn(1, 1, 32, 32)
    for blocks in (arm.encoder, arm.bottleneck, arm.decoder):
        for n in range(len(blocks)):
            blocks[n] = torch.nn.Identity()
    found = arm(image)[-1]
    assert int((found != 0).sum()) == 2 * 2  # the largest of each 16×16 pixels
    assert torch.equal(found[found != 0], image[found != 0])
    assert sorted(found[found != 0].tolist()) == sorted(F.max_pool2d(image, 16).flatten().tolist())


def test_a_link_sees_every_stage_and_what_it_returns_goes_on():
    torch.manual_seed(0)
    arm, image, seen = Arm(1, 3).eval(), torch.randn(1, 1, 16, 16), []

    def link(stage, x):
        seen.append(stage)
        return 0 * x if stage == 3 else x

    assert not arm(image, link)[3].any()
    assert seen == list(range(9))
    assert torch.equal(arm(0 * image, link)[4], arm(image, link)[4])


def test_four_blocks_down_are_four_blocks():
    arm = Arm(1, 3)
    assert len({id(block) for block in arm.encoder}) == LEVELS


def test_the_gradient_reaches_every_parameter(network):
    support, masks, query = shots()
    (torch.randn(2, 32, 48) * network.train()(support, masks, query)).sum().backward()
    assert [name for name, values in network.named_parameters() if values.grad is None or not values.grad.any()] == []


def test_the_mask_matters_and_so_does_the_image_below_it(network):
    support, masks, query = shots()
    logit = network(support, masks, query)
    assert logit.shape == (2, 32, 48)
    assert not torch.allclose(network(support, 1 - masks, query), logit)
    assert not torch.allclose(network(support.flip(-1), masks, query), logit)


def test_every_task_is_by_itself(network):
    support, masks, query = shots(3)
    apart = [network(support[n : n + 1], masks[n : n + 1], query[n : n + 1]) for n in range(3)]
    torch.testing.assert_close(network(support, masks, query), torch.cat(apart))


def test_several_shots_are_the_mean_of_their_logits(network):
    support, masks, query = shots(2, 3)
    each = [network(support[:, k : k + 1], masks[:, k : k + 1], query) for k in range(3)]
    torch.testing.assert_close(network(support, masks, query), torch.stack(each).mean(dim=0))


@pytest.mark.parametrize("k", [1, 2])
def test_one_support_serves_every_query(network, k):
    support, masks, query = shots(1, k, m=3)
    repeated = network(support.expand(3, -1, -1, -1, -1), masks.expand(3, -1, -1, -1), query)
    torch.testing.assert_close(network(support, masks, query), repeated)


def test_rows_are_queries_with_their_shots():
    support, masks = torch.arange(6.0).view(3, 2, 1, 1, 1), torch.zeros(3, 2, 1, 1)
    assert marked(support, masks)[:, 0].flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert for_each_shot(support[:, 0], 2).flatten().tolist() == [0, 0, 2, 2, 4, 4]
    assert for_each_query(torch.arange(2.0).view(2, 1, 1, 1), 6).flatten().tolist() == [0, 1] * 3
    assert mean_of_shots(torch.tensor([1.0, 3.0, 5.0, 7.0]), 2).tolist() == [2, 6]


def test_a_concatenated_map_widens_the_way_down_alone():
    network = ConcatenatedArms(1, (2, 3))
    inputs = [block[0].in_channels for block in (*network.segmenter.encoder, *network.segmenter.bottleneck)]
    assert inputs == [1, 5, 5, 5, 5]
    assert [block[0].in_channels for block in network.segmenter.decoder] == [3] * 4


def test_a_regressed_classifier_is_one_for_all_pixels():
    torch.manual_seed(0)
    network, (support, masks, query) = RegressedClassifier(1, WIDTHS).eval(), shots(1)
    code = network.conditioner(torch.cat([support[:, 0], masks], dim=1))[-1].mean(dim=(2, 3))
    *weights, bias = network.regression(code)[0]
    features = network.segmenter(query)[-1]
    expected = sum(w * features[:, n] for n, w in enumerate(weights)) + bias
    torch.testing.assert_close(network(support, masks, query), expected)


def test_bfloat16_is_about_float32(network):
    """Not more: where two of four values are nearly equal, either may be the larger, and is put back elsewhere."""
    support, masks, query = shots()
    network.train()  # so that maps are normed
    with torch.no_grad():
        full = network(support, masks, query)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(support, masks, query).float()
    assert float(torch.corrcoef(torch.stack([half.flatten(), full.flatten()]))[0, 1]) > 0.8


def test_its_memory_can_be_foreseen(network):
    inputs = [torch.empty(*shape, device="meta") for shape in ((1, 1, 1, 64, 64), (1, 1, 64, 64), (4, 1, 64, 64))]
    assert activation_bytes(network, tuple(inputs)) > 4 * 4 * 64 * 64 * WIDTHS[1]


def test_channels_may_be_several():
    support, masks, query = shots(channels=3)
    assert GatedArms(3, WIDTHS)(support, masks, query).shape == (2, 32, 48)
