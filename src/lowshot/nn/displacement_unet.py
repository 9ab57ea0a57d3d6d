"""The U-Net of VoxelMorph (Balakrishnan et al., TMI 2019), which LT-Net's generators follow: two pictures, one field.

Widths are those of its public code. Every convolution but the last is followed by LeakyReLU, none by a norm.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.nn.convolution import Conv3d, convolve

SLOPE = 0.2
"""Of LeakyReLU, for negative values."""


class DisplacementUNet(nn.Module):
    """Displacements, in voxels of the full grid, that lead from the fixed picture's voxels into the moving one.

    Args:
        channels: of one picture.
        encoder: widths of the convolutions that halve the map, from fine to coarse.
        decoder: widths of the convolutions at the coarsest map and then, from coarse to fine, of those at every map of
            twice the size. One entry fewer than there are sizes: the field is predicted at half of the resolution, two
            fewer: at a quarter; then it is interpolated.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        encoder: Sequence[int] = (16, 32, 32, 32),
        decoder: Sequence[Sequence[int]] = ((32,), (32,), (32,), (32, 32), (32, 16, 16)),
    ) -> None:
        super().__init__()
        if not 1 <= len(decoder) <= len(encoder) + 1 or not all(decoder):
            raise ValueError(f"decoder: expected 1 to {len(encoder) + 1} lists of widths, none empty, got {decoder}")
        self.multiple = 2 ** len(encoder)
        """Of which the sizes of a picture have to be multiples."""
        self.coarser = 2 ** (len(encoder) + 1 - len(decoder))
        """Voxels of the picture in one of the predicted field, along each axis."""
        sizes = (2 * channels, *encoder)
        self.encoder = nn.ModuleList(_halving(before, width) for before, width in pairwise(sizes))
        self.bottom = _convolutions(sizes[-1], decoder[0])
        self.decoder = nn.ModuleList(
            FinerLevel(below[-1], beside, widths)
            for (below, widths), beside in zip(pairwise(decoder), reversed(sizes[:-1]), strict=False)
        )
        self.field = Conv3d(decoder[-1][-1], 3)
        nn.init.normal_(self.field.weight, std=1e-5)
        nn.init.zeros_(self.field.bias)  # type: ignore[arg-type]

    def forward(
        self, moving: Float[Tensor, "b c i j k"], fixed: Float[Tensor, "b c i j k"]
    ) -> Float[Tensor, "b 3 i j k"]:
        """The field u with which moving(p + u(p)) is to look like fixed(p), in float32."""
        if any(size % self.multiple for size in fixed.shape[2:]):
            raise ValueError(f"expected sizes that are multiples of {self.multiple}, got {tuple(fixed.shape[2:])}")
        x, finer = torch.cat([moving, fixed], dim=1), list[Tensor]()
        for halve in self.encoder:
            finer.append(x)
            x = halve(x)
        x = self.bottom(x)
        for level in self.decoder:
            x = level(x, finer.pop())
        return self._displacements(x)

    def _displacements(self, x: Float[Tensor, "b w x y z"]) -> Float[Tensor, "b 3 i j k"]:
        field: Tensor
        if x.is_meta:  # there is no autocast, so the weights come in the type of the maps
            field = self.field(x).float()
        else:
            with torch.autocast(x.device.type, enabled=False):
                # bfloat16 would round 10 voxels to the next sixteenth of a voxel.
                field = self.field(x.float())
        if self.coarser == 1:
            return field
        # With three channels, the interpolation is three times faster (on a CPU) where they come first.
        return F.interpolate(field.contiguous(), scale_factor=self.coarser, mode="trilinear", align_corners=False)


class FinerLevel(nn.Module):
    """Nearest upsampling by 2, concatenation with the encoder's map of that size, and this level's convolutions."""

    def __init__(self, below: int, beside: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.joining = Conv3d(below + beside, widths[0])
        self.further = _convolutions(widths[0], widths[1:])

    def forward(
        self, below: Float[Tensor, "b c x y z"], beside: Float[Tensor, "b d 2*x 2*y 2*z"]
    ) -> Float[Tensor, "b w 2*x 2*y 2*z"]:
        # The convolution of a concatenation is the sum of the convolutions of its parts.
        from_below, from_beside = torch.split(self.joining.weight, [below.shape[1], beside.shape[1]], dim=1)
        joined = convolve_upsampled(below, from_below) + convolve(beside, from_beside, self.joining.bias)
        finer: Tensor = self.further(F.leaky_relu(joined, SLOPE, inplace=True))
        return finer


def convolve_upsampled(
    x: Float[Tensor, "b c x y z"], weight: Float[Tensor, "d c 3 3 3"]
) -> Float[Tensor, "b d 2*x 2*y 2*z"]:
    """3×3×3 convolution of the map with every voxel repeated to 2×2×2, without making that map.

    Of the three taps along an axis two meet the same voxel, so they are added beforehand. What remains are two taps,
    others for even than for odd voxels: a transposed convolution. With 8 products per voxel instead of 27, forward and
    backward take a quarter to half of the time on a CPU.
    """
    for axis in (2, 3, 4):
        # As sums, because autocast would take a matrix product in bfloat16.
        before, here, after = weight.unbind(axis)
        weight = torch.stack([after, here + after, before + here, before], dim=axis)
    if x.device.type != "cpu" or x.shape[3] != 1:
        return F.conv_transpose3d(x, weight.transpose(0, 1), stride=2, padding=1)
    # In bfloat16 oneDNN gets the gradient for maps one voxel high wrong, and writes it beyond the memory that it has
    # (seen in PyTorch 2.13 with AVX-512). So there is one more layer of the zeros that lie there anyway.
    wider = F.pad(x, (0, 0, 0, 1))
    return F.conv_transpose3d(wider, weight.transpose(0, 1), stride=2, padding=1)[:, :, :, :2]


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE, inplace=True))


def _convolutions(inputs: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in pairwise((inputs, *widths)):
        layers += [Conv3d(before, width), nn.LeakyReLU(SLOPE, inplace=True)]
    return nn.Sequential(*layers)
