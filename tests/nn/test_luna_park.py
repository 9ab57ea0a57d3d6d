import pytest
import torch
from torch import nn

from lowshot.nn.convolution import Conv3d
from lowshot.nn.luna_park import LunaParkUNet
from lowshot.nn.resampling import AveragePool
from nn.hand_count import luna_park


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("channels", [1, 3])
def test_has_the_published_number_of_parameters(channels):
    with torch.device("meta"):
        network = LunaParkUNet(channels)
    assert parameters(network) == luna_park(channels)


def test_instance_norm_has_no_affine_terms():
    with torch.device("meta"):
        batch, instance = LunaParkUNet(1), LunaParkUNet(1, norm="instance")
    norms = [module for module in batch.modules() if isinstance(module, nn.BatchNorm3d)]
    assert len(norms) == 3 + 4 + 5 + 2 + 2 + 2
    assert parameters(instance) == parameters(batch) - sum(2 * norm.num_features for norm in norms)


def test_maps_have_the_published_sizes():
    with torch.device("meta"):
        maps = LunaParkUNet(3).eval()(torch.empty(2, 3, 36, 36, 12))
    assert [tuple(each.shape) for each in maps] == [
        (2, 256, 9, 9, 6),
        (2, 128, 18, 18, 6),
        (2, 64, 36, 36, 12),
    ]


def test_every_convolution_is_followed_by_relu_and_then_by_the_norm():
    network = LunaParkUNet(1, widths=(4, 8), convolutions=(2, 1), strides=((2, 2, 2),))
    for part in (*network.encoder, *network.transitions, *network.decoder):
        kinds = [type(layer) for layer in part]
        assert kinds == [Conv3d, nn.ReLU, nn.BatchNorm3d] * (len(kinds) // 3)


def test_pooling_and_upsampling_are_what_the_paper_says():
    with torch.device("meta"):
        network = LunaParkUNet(1)
    assert [pool.factors for pool in network.pools] == [(2, 2, 2), (2, 2, 1)]
    assert all(isinstance(pool, AveragePool) for pool in network.pools)
    assert [(up.in_channels, up.out_channels, up.kernel_size, up.stride) for up in network.ups] == [
        (256, 256, (2, 2, 1), (2, 2, 1)),
        (128, 128, (2, 2, 2), (2, 2, 2)),
    ]


def test_the_planar_form_drops_the_third_axis():
    network = LunaParkUNet(2, widths=(4, 8), convolutions=(1, 1), strides=((2, 2, 1),), dimensions=2).eval()
    assert not any(isinstance(module, nn.Conv3d | nn.ConvTranspose3d | nn.BatchNorm3d) for module in network.modules())
    assert [tuple(each.shape) for each in network(torch.zeros(1, 2, 8, 12))] == [(1, 8, 4, 6), (1, 4, 8, 12)]


def test_the_last_map_sees_single_voxels_through_the_skip():
    torch.manual_seed(0)
    network = LunaParkUNet(1, widths=(4, 8), convolutions=(1, 1), strides=((2, 2, 2),)).eval()
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        before = network(image)[-1]
        network.ups[0].weight.zero_()  # nothing comes from below any more
        cut_off = network(image)[-1]
        changed = network(image.index_add(4, torch.tensor([3]), torch.ones(1, 1, 8, 8, 1)))[-1]
    assert not torch.equal(before, cut_off)
    assert not torch.equal(cut_off, changed)


def test_levels_must_agree():
    with pytest.raises(ValueError, match="3 widths, 2 convolutions"):
        LunaParkUNet(1, widths=(4, 8, 16), convolutions=(1, 1), strides=((2, 2, 2), (2, 2, 2)))
