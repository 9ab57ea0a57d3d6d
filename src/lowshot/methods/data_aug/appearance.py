"""The appearance model of DataAug: what to add to the atlas's grey values so that it looks like another scan.

A plain U-Net, as the paper says; its widths are ours.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.convolution import Conv3d
from lowshot.nn.displacement_unet import SLOPE, FinerLevel


class AppearanceUNet(nn.Module):
    """ψ of two pictures in atlas space; 0 until it has learned.

    Args:
        channels: of one picture.
        widths: of the maps that are halved 1, 2, … times; each level has two convolutions.
    """

    def __init__(self, channels: int, widths: Sequence[int] = (16, 32, 32, 32)) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        """Of which the sizes of a picture have to be multiples."""
        sizes = (2 * channels, *widths)
        self.encoder = nn.ModuleList(_halving(*pair) for pair in pairwise(sizes))
        above = (widths[0], *widths[:-1])
        self.decoder = nn.ModuleList(
            FinerLevel(below, beside, (width, width))
            for below, beside, width in reversed(list(zip(widths, sizes[:-1], above, strict=True)))
        )
        self.change = Conv3d(widths[0], channels)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)  # type: ignore[arg-type]

    def forward(
        self, atlas: Float[Tensor, "b c i j k"], other: Float[Tensor, "b c i j k"]
    ) -> Float[Tensor, "b c i j k"]:
        """With which atlas + ψ is to look like ``other``."""
        if any(size % self.multiple for size in atlas.shape[2:]):
            raise ValueError(f"expected sizes that are multiples of {self.multiple}, got {tuple(atlas.shape[2:])}")
        x, finer = torch.cat([atlas, other], dim=1), list[Tensor]()
        for halve in self.encoder:
            finer.append(x)
            x = halve(x)
        for level in self.decoder:
            x = level(x, finer.pop())
        change: Tensor = self.change(x)
        return change


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=2, padding=1),
        nn.LeakyReLU(SLOPE, inplace=True),
        Conv3d(outputs, outputs),
        nn.LeakyReLU(SLOPE, inplace=True),
    )
