import pytest
import torch
import torch.nn.functional as F

from lowshot.nn.convolution import Conv2d, Conv3d
from lowshot.nn.dilated import DilatedConv3d
from lowshot.training.allocator import freed_memory_kept


def leave_rubbish_in_memory():
    """Blocks of many sizes, filled with large numbers and freed."""
    for _ in range(3):
        [torch.full((1 << size,), 1e30) for size in (10, 14, 16, 18, 20, 22)]


def weight_gradient(layer, x, dtype):
    layer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = layer(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    leave_rubbish_in_memory()
    y.float().mul(weights).sum().backward()
    return layer.weight.grad.clone()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv3d(16, 16), (2, 16, 2, 12, 12)),
        (Conv3d(16, 16), (2, 16, 1, 12, 12)),
        (Conv3d(16, 16), (2, 16, 4, 2, 2)),
        (DilatedConv3d(16, 16, 1), (2, 16, 2, 12, 12)),
        (Conv2d(16, 16), (2, 16, 2, 12)),
    ],
)
def test_shallow_maps_have_a_true_gradient_in_bfloat16(layer, shape):
    torch.manual_seed(0)
    x = torch.randn(shape)
    exact = weight_gradient(layer, x, torch.float32)
    with freed_memory_kept():
        for _ in range(3):
            found = weight_gradient(layer, x, torch.bfloat16)
            assert float((found - exact).abs().max() / exact.abs().max()) < 0.03


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_convolution_is_pytorchs(depth):
    layer, x = Conv3d(3, 4), torch.randn(2, 3, depth, 5, 4)
    torch.testing.assert_close(layer(x), F.conv3d(x, layer.weight, layer.bias, padding=1))
