"""Smaller and larger maps by whole factors, in arithmetic that keeps ``channels_last`` memory.

PyTorch's own average pooling leaves ``channels_last`` on a CPU (and bfloat16, under autocast), and the gradient of its
transposed convolution is slower than that of the same matrix product: docs/speed.md compares steps with and without.
"""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def average_pool(x: Float[Tensor, "b c *space"], factors: Sequence[int]) -> Float[Tensor, "b c *smaller"]:
    """The mean of every block of ``factors`` voxels, axis by axis; sizes must be divisible by their factor."""
    lines = x.movedim(1, -1)
    for axis, factor in enumerate(factors, start=1):
        if factor > 1:
            parts = lines.reshape(*lines.shape[:axis], -1, factor, *lines.shape[axis + 1 :])
            lines = reduce(torch.add, parts.unbind(axis + 1)) / factor
    return lines.movedim(-1, 1)


class AveragePool(nn.Module):
    """Average pooling whose window is its stride."""

    def __init__(self, factors: Sequence[int]) -> None:
        super().__init__()
        self.factors = tuple(factors)

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *smaller"]:
        return average_pool(x, self.factors)


def spread_blocks(
    x: Float[Tensor, "b c *space"], weight: Float[Tensor, "c d *factors"], bias: Float[Tensor, " d"] | None
) -> Float[Tensor, "b d *larger"]:
    """Transposed convolution whose kernel is its stride: every voxel becomes a block by one matrix product."""
    factors, outputs, axes = weight.shape[2:], weight.shape[1], range(x.ndim - 2)
    matrix = weight.movedim(1, -1).flatten(1).mT  # one row per voxel of the block and output channel
    biases = None if bias is None else bias.repeat(factors.numel())
    blocks = F.linear(x.movedim(1, -1), matrix, biases)
    blocks = blocks.reshape(*blocks.shape[:-1], *factors, outputs)
    # (b, x, y, z, i, j, k, d) -> (b, x, i, y, j, z, k, d)
    paired = [1 + axis + part * len(axes) for axis in axes for part in (0, 1)]
    larger = [size * factor for size, factor in zip(x.shape[2:], factors, strict=True)]
    return blocks.permute(0, *paired, -1).reshape(x.shape[0], *larger, outputs).movedim(-1, 1)


class BlockTransposed2d(nn.ConvTranspose2d):
    """``ConvTranspose2d`` whose kernel is its stride, as a matrix product."""

    def __init__(self, inputs: int, outputs: int, factors: Sequence[int]) -> None:
        i, j = factors
        super().__init__(inputs, outputs, (i, j), (i, j))

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return spread_blocks(x, self.weight, self.bias)


class BlockTransposed3d(nn.ConvTranspose3d):
    """``ConvTranspose3d`` whose kernel is its stride, as a matrix product."""

    def __init__(self, inputs: int, outputs: int, factors: Sequence[int]) -> None:
        i, j, k = factors
        super().__init__(inputs, outputs, (i, j, k), (i, j, k))

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return spread_blocks(x, self.weight, self.bias)
