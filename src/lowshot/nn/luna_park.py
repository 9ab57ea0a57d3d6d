"""The 3-D U-Net with transition layers of Luna & Park (2018), backbone of MRE-Net and itself a baseline.

Every convolution is followed by ReLU and then by the norm, skips pass through a narrow transition layer.
Layout and widths: the paper and its authors' public code; BatchNorm in place of their affine-free instance
norm is ours, because MRE-Net's paper says batch normalisation. ``dimensions=2`` gives the planar form.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.convolution import Conv2d, Conv3d
from lowshot.nn.resampling import AveragePool, BlockTransposed2d, BlockTransposed3d

Layer = Callable[..., nn.Module]
CONVOLUTION: dict[int, Layer] = {2: Conv2d, 3: Conv3d}
TRANSPOSED: dict[int, Layer] = {2: BlockTransposed2d, 3: BlockTransposed3d}
NORM: dict[tuple[str, int], Layer] = {
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
}

Norm = Literal["batch", "instance"]


def convolution_block(inputs: int, outputs: int, count: int, norm: Norm, dimensions: int) -> nn.Sequential:
    """``count`` times: 3×3(×3) convolution, ReLU, norm. The first one changes the width."""
    layers: list[nn.Module] = []
    for n in range(count):
        # The norm comes after the ReLU, so the convolution keeps its bias.
        layers.append(CONVOLUTION[dimensions](inputs if n == 0 else outputs, outputs))
        layers.append(nn.ReLU(inplace=True))
        layers.append(NORM[norm, dimensions](outputs))
    return nn.Sequential(*layers)


class LunaParkUNet(nn.Module):
    """Encoder, transition layers and decoder; returns the right-side maps, deepest first.

    Sizes of a patch must be divisible by the product of ``strides`` along each axis.
    """

    def __init__(
        self,
        channels: int,
        *,
        widths: Sequence[int] = (64, 128, 256),
        convolutions: Sequence[int] = (3, 4, 5),
        strides: Sequence[Sequence[int]] = ((2, 2, 2), (2, 2, 1)),
        norm: Norm = "batch",
        dimensions: int = 3,
    ) -> None:
        super().__init__()
        if not len(widths) == len(convolutions) == len(strides) + 1:
            raise ValueError(f"{len(widths)} widths, {len(convolutions)} convolutions, {len(strides)} strides")
        steps = [tuple(stride[:dimensions]) for stride in strides]
        self.encoder = nn.ModuleList(
            convolution_block(before, width, count, norm, dimensions)
            for before, width, count in zip((channels, *widths[:-1]), widths, convolutions, strict=True)
        )
        self.pools = nn.ModuleList(AveragePool(step) for step in steps)
        self.ups, self.transitions, self.decoder = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(steps))):
            width, below = widths[level], widths[level + 1]
            self.ups.append(TRANSPOSED[dimensions](below, below, steps[level]))
            # A quarter of the level's width: 128 -> 32 and 64 -> 16 in the original.
            self.transitions.append(convolution_block(width, width // 4, 1, norm, dimensions))
            self.decoder.append(convolution_block(below + width // 4, width, 2, norm, dimensions))
        self.widths = tuple(reversed(widths))
        """Channels of the returned maps."""

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Float[Tensor, "b w *smaller"]]:
        x, skips = image, []
        for block, pool in zip(self.encoder, self.pools, strict=False):
            skips.append(block(x))
            x = pool(skips[-1])
        maps = [self.encoder[-1](x)]
        for up, transition, decode in zip(self.ups, self.transitions, self.decoder, strict=True):
            maps.append(decode(torch.cat([up(maps[-1]), transition(skips.pop())], dim=1)))
        return maps
