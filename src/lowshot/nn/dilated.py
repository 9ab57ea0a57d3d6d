"""Dilated 3×3(×3) convolution as an ordinary one over interleaved grids.

Taps at distance r only ever meet voxels whose indices agree modulo r. So the map is taken apart into the grids of
every r-th voxel, an ordinary convolution runs over all of them as one batch, and they are put together again: the same
sums. On a CPU that is faster than PyTorch's own way (docs/speed.md compares steps with both), unless grids are
so small that most of the taps meet zeros, which PyTorch's way skips.
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.convolution import convolve

SMALLEST_GRID = 4


def on_interleaved_grids(
    x: Float[Tensor, "b c *space"], rate: int, ordinary: Callable[[Tensor], Tensor]
) -> Float[Tensor, "b d *space"]:
    """Apply a convolution that keeps sizes and sees zeros beyond them to the grids of every ``rate``-th voxel."""
    batch, space, axes = x.shape[0], x.shape[2:], range(x.ndim - 2)
    counts = [-(-size // rate) for size in space]
    ends = [(0, -size % rate) for size in space]
    padded = F.pad(x.movedim(1, -1), (0, 0, *(width for end in reversed(ends) for width in end)))
    # (b, X, r, Y, r, Z, r, c) -> (b, r, r, r, X, Y, Z, c)
    apart = padded.reshape(batch, *(size for count in counts for size in (count, rate)), -1)
    apart = apart.permute(0, *(2 + 2 * axis for axis in axes), *(1 + 2 * axis for axis in axes), -1)
    convolved = ordinary(apart.reshape(-1, *counts, x.shape[1]).movedim(-1, 1)).movedim(1, -1)
    together = convolved.reshape(batch, *[rate] * len(axes), *counts, -1)
    paired = (1 + axis + part * len(axes) for axis in axes for part in (1, 0))
    together = together.permute(0, *paired, -1).reshape(batch, *(count * rate for count in counts), -1)
    return together[(slice(None), *(slice(size) for size in space))].movedim(-1, 1)


def _pays(x: Tensor, rate: int) -> bool:
    return x.device.type == "cpu" and (rate == 1 or min(x.shape[2:]) >= SMALLEST_GRID * rate)


class DilatedConv2d(nn.Conv2d):
    """3×3 convolution with dilation ``rate`` that keeps the size."""

    def __init__(self, inputs: int, outputs: int, rate: int) -> None:
        super().__init__(inputs, outputs, 3, padding=rate, dilation=rate)
        self.rate = rate

    def forward(self, x: Float[Tensor, "b c i j"]) -> Float[Tensor, "b d i j"]:
        if not _pays(x, self.rate):
            return super().forward(x)
        return on_interleaved_grids(x, self.rate, partial(F.conv2d, weight=self.weight, bias=self.bias, padding=1))


class DilatedConv3d(nn.Conv3d):
    """3×3×3 convolution with dilation ``rate`` that keeps the size."""

    def __init__(self, inputs: int, outputs: int, rate: int) -> None:
        super().__init__(inputs, outputs, 3, padding=rate, dilation=rate)
        self.rate = rate

    def forward(self, x: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b d i j k"]:
        if not _pays(x, self.rate):
            return super().forward(x)
        return on_interleaved_grids(x, self.rate, partial(convolve, weight=self.weight, bias=self.bias))


DILATED: dict[int, type[DilatedConv2d] | type[DilatedConv3d]] = {2: DilatedConv2d, 3: DilatedConv3d}
