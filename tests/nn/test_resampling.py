import pytest
import torch
from torch import nn

from lowshot.nn.resampling import AveragePool, BlockTransposed2d, BlockTransposed3d, average_pool

FORMATS = [torch.contiguous_format, torch.channels_last_3d]


@pytest.mark.parametrize("factors", [(2, 2, 2), (2, 2, 1), (1, 3, 2), (1, 1, 1)])
def test_average_pooling_is_pytorchs(factors):
    x = torch.randn(2, 3, 4, 6, 8, requires_grad=True)
    ours, theirs = AveragePool(factors)(x), nn.AvgPool3d(factors)(x)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(theirs)
    (gradient,) = torch.autograd.grad((ours * weights).sum(), x)
    torch.testing.assert_close(gradient, torch.autograd.grad((theirs * weights).sum(), x)[0])


def test_average_pooling_keeps_channels_last_and_bfloat16():
    x = torch.randn(2, 16, 4, 4, 4).to(torch.bfloat16, memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = average_pool(x, (2, 2, 2))
    assert pooled.dtype == torch.bfloat16
    assert pooled.is_contiguous(memory_format=torch.channels_last_3d)


def test_average_pooling_refuses_a_size_that_leaves_a_rest():
    with pytest.raises(RuntimeError, match="invalid for input"):
        average_pool(torch.zeros(1, 1, 4, 4, 5), (2, 2, 2))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("factors", [(2, 2, 2), (2, 2, 1), (1, 3, 2)])
def test_the_transposed_convolution_is_pytorchs(factors, memory_format):
    ours = BlockTransposed3d(4, 6, factors)
    theirs = nn.ConvTranspose3d(4, 6, factors, factors)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 3, 4, 5).contiguous(memory_format=memory_format).requires_grad_()
    weights = torch.randn(theirs(x).shape)
    torch.testing.assert_close(ours(x), theirs(x))
    (weights * ours(x)).sum().backward()
    found, x.grad = x.grad, None
    (weights * theirs(x)).sum().backward()
    torch.testing.assert_close(found, x.grad)
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_the_planar_transposed_convolution_is_pytorchs():
    ours = BlockTransposed2d(4, 6, (2, 3))
    theirs = nn.ConvTranspose2d(4, 6, (2, 3), (2, 3))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_seed_gives_the_weights_that_pytorchs_transposed_convolution_would_have():
    torch.manual_seed(0)
    ours = BlockTransposed3d(4, 6, (2, 2, 2))
    torch.manual_seed(0)
    assert torch.equal(ours.weight, nn.ConvTranspose3d(4, 6, 2, 2).weight)
