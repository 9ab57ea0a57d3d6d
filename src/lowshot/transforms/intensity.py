"""Random intensity transforms of normalised patches, batched in torch."""

import math
from dataclasses import astuple, dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor


@dataclass(frozen=True)
class IntensityRanges:
    """How far to transform; all zero is the identity."""

    contrast: float = 0.0
    """Factor between 1/(1+c) and 1+c, about ``centre``."""
    brightness: float = 0.0
    """Largest shift."""
    gamma: float = 0.0
    """Exponent between 1/(1+g) and 1+g, on the patch scaled to [0, 1]."""
    bias: float = 0.0
    """Largest logarithm of a smooth multiplicative field over the patch."""
    noise: float = 0.0
    """Largest standard deviation of white noise."""
    blur_voxels: float = 0.0
    """Largest standard deviation of a Gaussian, in voxels; half of the patches stay sharp."""
    centre: float = 0.0
    """The grey value that a change of contrast leaves as it is."""

    def about(self, centre: float, deviation: float) -> "IntensityRanges":
        """The same, for grey values that lie so instead of about 0 with deviation 1."""
        if not any(astuple(self)):
            return self
        return replace(self, brightness=self.brightness * deviation, noise=self.noise * deviation, centre=centre)


def transform_intensity(
    patches: Float[Tensor, "b c x y z"], ranges: IntensityRanges, generator: Generator
) -> Float[Tensor, "b c x y z"]:
    """Apply one random draw per patch and channel (gamma, bias, blur, contrast, brightness, noise, in this order)."""
    if ranges == IntensityRanges():
        return patches
    each = (*patches.shape[:2], 1, 1, 1)

    def uniform(*shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1).to(patches)

    x = patches
    low, high = x.amin((2, 3, 4), keepdim=True), x.amax((2, 3, 4), keepdim=True)
    if ranges.gamma > 0:
        exponent = torch.exp(uniform(*each) * math.log1p(ranges.gamma))
        x = ((x - low) / (high - low).clamp_min(1e-6)).clamp_min(1e-6) ** exponent * (high - low) + low
    if ranges.bias > 0:
        field = F.interpolate(uniform(*patches.shape[:2], 3, 3, 3), size=x.shape[2:], mode="trilinear")
        # Relative to the darkest value, so that what is black stays black.
        x = (x - low) * torch.exp(field * ranges.bias) + low
    if ranges.blur_voxels > 0:
        x = blur(x, uniform(patches.shape[0]).clamp_min(0) * ranges.blur_voxels)
    if ranges.contrast > 0 or ranges.brightness > 0:
        factor = torch.exp(uniform(*each) * math.log1p(ranges.contrast))
        x = x * factor + (ranges.centre * (1 - factor) + uniform(*each) * ranges.brightness)
    if ranges.noise > 0:
        deviation = uniform(*each).abs() * ranges.noise
        x = x + torch.randn(x.shape, generator=generator).to(x) * deviation
    return x


QUANTILES = 33
"""Of grey values that are matched; between them they are mapped linearly."""


def in_the_look_of(
    slices: Float[Tensor, "n c i j"], others: Float[Tensor, "n c i j"], amount: Float[Tensor, " n"]
) -> Float[Tensor, "n c i j"]:
    """Slices with their grey values mapped so that each has the quantiles of the other, by channel.

    Args:
        slices: images of one kind.
        others: images of the same kind, from other scanners or patients.
        amount: how far each is mapped, from 0 (not at all) to 1.
    """
    at = torch.linspace(0, 1, QUANTILES, device=slices.device)
    own, wanted = (torch.quantile(each.flatten(2).float(), at, dim=2).movedim(0, 2) for each in (slices, others))
    own = own + 1e-5 * torch.arange(QUANTILES, device=own.device)  # equal ones apart, or a slope would be infinite
    flat = slices.flatten(2).float()
    upper = torch.searchsorted(own, flat.contiguous()).clamp(1, QUANTILES - 1)
    ends = [each.gather(2, upper - part) for each in (own, wanted) for part in (1, 0)]
    share = ((flat - ends[0]) / (ends[1] - ends[0])).clamp(0, 1)
    mapped = torch.lerp(ends[2], ends[3], share).reshape(slices.shape).to(slices)
    return torch.lerp(slices, mapped, amount.to(slices)[:, None, None, None])


def blur(patches: Float[Tensor, "b c x y z"], deviation: Float[Tensor, " b"]) -> Float[Tensor, "b c x y z"]:
    """Gaussian blur with one standard deviation (voxels) per patch; 0 leaves the patch as it is."""
    radius = max(1, math.ceil(2 * float(deviation.max())))
    offsets = torch.arange(-radius, radius + 1, device=patches.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / deviation.float().clamp_min(1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(patches)
    b, c = patches.shape[:2]
    x = patches.reshape(1, b * c, *patches.shape[2:])
    for axis in range(3):
        if x.shape[2 + axis] == 1:  # all that a blur would mix in is the same
            continue
        size, pad = [1, 1, 1], [0] * 6
        size[axis] = 2 * radius + 1
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = radius
        weight = kernel.repeat_interleave(c, 0).reshape(b * c, 1, *size)
        x = F.conv3d(F.pad(x, pad, mode="replicate"), weight, groups=b * c)
    return x.reshape(patches.shape)
