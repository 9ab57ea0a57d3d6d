import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lowshot.nn import dilated
from lowshot.nn.dilated import DilatedConv2d, DilatedConv3d, on_interleaved_grids


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("size", [(6, 7, 4), (13, 8, 12)])
@pytest.mark.parametrize("rate", [1, 2, 3, 6])
def test_the_dilated_convolution_is_pytorchs(rate, size, memory_format):
    """Sizes that the rate divides, that leave a rest, that are smaller than the rate, and that make large grids."""
    ours = DilatedConv3d(3, 5, rate)
    theirs = nn.Conv3d(3, 5, 3, padding=rate, dilation=rate)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, *size).contiguous(memory_format=memory_format).requires_grad_()
    weights = torch.randn(2, 5, *size)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    (weights * ours(x)).sum().backward()
    found, x.grad = x.grad, None
    (weights * theirs(x)).sum().backward()
    torch.testing.assert_close(found, x.grad, rtol=1e-4, atol=1e-4)
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rate", [1, 2, 3, 6, 9])
def test_grids_of_every_size_give_the_sums_of_a_dilated_convolution(rate):
    weight, x = torch.randn(5, 3, 3, 3, 3), torch.randn(2, 3, 6, 7, 4)
    found = on_interleaved_grids(x, rate, lambda grids: F.conv3d(grids, weight, padding=1))
    torch.testing.assert_close(found, F.conv3d(x, weight, padding=rate, dilation=rate), rtol=1e-4, atol=1e-4)


def test_large_grids_go_the_fast_way_and_small_ones_pytorchs(monkeypatch):
    went = []
    monkeypatch.setattr(dilated, "on_interleaved_grids", lambda x, *_: went.append(tuple(x.shape[2:])) or x)
    layer = DilatedConv3d(1, 1, 2)
    for size in ((8, 8, 8), (8, 7, 8), (24, 24, 24)):
        layer(torch.zeros(1, 1, *size))
    assert went == [(8, 8, 8), (24, 24, 24)]


@pytest.mark.parametrize("rate", [1, 4])
def test_the_planar_dilated_convolution_is_pytorchs(rate):
    ours = DilatedConv2d(3, 5, rate)
    theirs = nn.Conv2d(3, 5, 3, padding=rate, dilation=rate)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 17, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_channels_last_stays():
    x = torch.randn(2, 16, 8, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    assert DilatedConv3d(16, 16, 2)(x).is_contiguous(memory_format=torch.channels_last_3d)


def test_a_seed_gives_the_weights_that_pytorchs_convolution_would_have():
    torch.manual_seed(0)
    ours = DilatedConv3d(4, 6, 2)
    torch.manual_seed(0)
    assert torch.equal(ours.weight, nn.Conv3d(4, 6, 3, padding=2, dilation=2).weight)


def test_small_maps_read_no_memory_that_nobody_has_written():
    """Where a size is between once and twice the rate, the grids have two voxels along it."""
    network = DilatedConv3d(16, 16, 6)
    for number in range(40):
        rubbish = [torch.full((size + 777 * number,), float("nan")) for size in (1_000, 20_000, 200_000)]
        del rubbish
        network.zero_grad()
        x = torch.randn(2, 16, 12, 8, 8).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(x).square().mean()
        loss.backward()
        assert torch.isfinite(network.weight.grad).all()
