"""A critic that judges every patch of a volume by itself: PatchGAN (Isola et al., CVPR 2017) in three dimensions."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.convolution import WRONG_DEPTH

SLOPE = 0.2
"""Of LeakyReLU, for negative values."""


def smallest(widths: Sequence[int]) -> int:
    """Voxels that a volume needs along each axis: the two convolutions with stride 1 make one voxel of three."""
    return 3 << (len(widths) - 1)


class PatchCritic(nn.Module):
    """Unbounded scores of overlapping patches, which measure 70³ voxels where there are four widths.

    4×4×4 convolutions, with stride 2 and from the last width on 1, and LeakyReLU in between. All but the first and the
    last have an instance norm: without affine terms, as in PatchGAN's code, and instead of a bias, which it would undo.
    """

    def __init__(self, channels: int = 1, widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.smallest = smallest(widths)
        layers: list[nn.Module] = []
        for depth, (before, width) in enumerate(pairwise((channels, *widths)), start=1):
            layers.append(Conv4(before, width, stride=1 if depth == len(widths) else 2, bias=depth == 1))
            if depth > 1:
                # It leaves ``channels_last`` on a CPU, but there one that stays (batch norm of one example at a time)
                # takes as long, a group norm 10% longer: forward and backward of all layers in bfloat16.
                layers.append(nn.InstanceNorm3d(width))
            layers.append(nn.LeakyReLU(SLOPE, inplace=True))
        self.features = nn.Sequential(*layers)
        self.scores = Conv4(widths[-1], 1, stride=1, bias=True)

    def forward(self, volume: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b 1 x y z"]:
        if min(volume.shape[2:]) < self.smallest:
            raise ValueError(f"expected at least {self.smallest} voxels along each axis, got {tuple(volume.shape[2:])}")
        if self.scores.weight.is_contiguous(memory_format=torch.channels_last_3d):
            # A single channel lies alike in every format, but its strides tell the convolutions which to go on in:
            # a tenth of all the time.
            volume = volume.clone(memory_format=torch.channels_last_3d)
        scores: Tensor = self.scores(self.features(volume))
        return scores


class Conv4(nn.Conv3d):
    """4×4×4 convolution with padding 1, which halves a size (stride 2) or makes it one smaller (stride 1)."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, 4, stride=stride, padding=1, bias=bias)

    def forward(self, x: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b d x y z"]:
        if x.device.type != "cpu" or self.stride[0] == 2 or x.shape[2] != WRONG_DEPTH + 1:
            return super().forward(x)
        # As ``lowshot.nn.convolution`` says, the gradient would be wrong. With stride 2 it is where a result is one
        # voxel high, and written beyond its memory; but volumes as small as that are refused above.
        return super().forward(F.pad(x, (0, 0, 0, 0, 0, 1)))[:, :, :WRONG_DEPTH]
