"""How alike two pictures are where brightness and contrast may differ from place to place.

All of it is sums over boxes, which wait for memory more than they compute. So a volume is gone through in slabs whose
maps stay in the processor's cache, and the gradient is taken from the same sums as the value, along with it:
``benchmarks/local_ncc.py`` compares time and memory with MONAI's loss.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

SLAB_VOXELS = 2**19
"""On a CPU. Some ten maps of as many voxels are alive at a time."""


def local_ncc(
    fixed: Float[Tensor, "b 1 i j k"],
    moving: Float[Tensor, "b 1 i j k"],
    window: int = 9,
    valid: Bool[Tensor, "b 1 i j k"] | None = None,
    epsilon: float = 1e-5,
    known: "Moments | None" = None,
) -> Float[Tensor, ""]:
    """Mean squared correlation within the box of ``window``³ voxels around every voxel: 0 for none, 1 if perfect.

    cross² / (variance · variance + ε) in VoxelMorph's form (Balakrishnan et al., TMI 2019): sums over the box, with
    zeros beyond the border. In float32 (float64 for float64), differentiable once in both pictures.

    Args:
        fixed: with intensities of about 0 to 1, for which ε is meant.
        moving: on the same grid.
        window: odd, in voxels.
        valid: over which voxels the mean goes, though their boxes may reach further; 0 where there are none.
        epsilon: what keeps boxes without texture from counting.
        known: ``moments`` of ``fixed`` over the same window, where many pictures are compared with it, which then gets
            no gradient.
    """
    precision = torch.promote_types(torch.promote_types(fixed.dtype, moving.dtype), torch.float32)
    pair = fixed.to(precision), moving.to(precision)
    if not torch.is_grad_enabled():
        pair = pair[0].detach(), pair[1].detach()  # or the function below would compute gradients
    if known is not None:
        pair = pair[0].detach(), pair[1]
    box = _Box.of(window, fixed)
    result: Tensor = _LocalNCC.apply(*pair, valid, epsilon, box, known)  # type: ignore[no-untyped-call]
    return result


class Moments(NamedTuple):
    """Of a picture, over the box around every voxel."""

    sums: Float[Tensor, "b 1 i j k"]
    deviations: Float[Tensor, "b 1 i j k"]
    """Sums of squared deviations from the box's mean."""


@torch.no_grad()
def moments(picture: Float[Tensor, "b 1 i j k"], window: int = 9) -> Moments:
    """What ``local_ncc`` needs to know of a picture alone: worth keeping where one stays and the other changes."""
    box, picture = _Box.of(window, picture), picture.to(torch.promote_types(picture.dtype, torch.float32))
    slabs = [_moments(box.around(picture, slab), box) for slab in box.slabs(picture)]
    return Moments(*(torch.cat(parts, dim=2) for parts in zip(*slabs, strict=True)))


@dataclass(frozen=True)
class _Box:
    """Sums over a window, and the slabs in which it goes through a volume."""

    voxels: int
    """Of the whole window: those beyond the border are zeros, and count. Along an axis shorter than the window, only as
    many as there are: a picture has a window of its plane."""
    reach: tuple[int, int, int]
    """Voxels to each side along i, j and k, as far as there can be any."""
    thickness: int
    """Of a slab, along i."""

    @classmethod
    def of(cls, window: int, volume: Float[Tensor, "b 1 i j k"]) -> "_Box":
        if window < 1 or window % 2 == 0:
            raise ValueError(f"window: expected an odd number of voxels, got {window}")
        i, j, k = (min(window // 2, size - 1) for size in volume.shape[2:])
        # In slabs thinner than twice the window, most of the work would be for their surroundings.
        thickness = max(SLAB_VOXELS // volume[:, :, 0].numel(), 2 * window)
        voxels = math.prod(min(window, size) for size in volume.shape[2:])
        return cls(voxels, (i, j, k), thickness if volume.device.type == "cpu" else volume.shape[2])

    def slabs(self, volume: Float[Tensor, "b 1 i j k"]) -> Iterator[slice]:
        """Ranges along i."""
        size = volume.shape[2]
        return (slice(start, min(start + self.thickness, size)) for start in range(0, size, self.thickness))

    def around(self, volume: Float[Tensor, "b 1 i j k"], slab: slice) -> Float[Tensor, "b 1 x y z"]:
        """The slab and all that the windows around its voxels reach."""
        i, j, k = self.reach
        before, after = max(i - slab.start, 0), max(slab.stop + i - volume.shape[2], 0)
        return F.pad(volume[:, :, max(slab.start - i, 0) : slab.stop + i], (k, k, j, j, before, after))

    def sum(self, surrounded: Float[Tensor, "b 1 x y z"]) -> Float[Tensor, "b 1 i j k"]:
        """The sum over the window around every voxel of a slab."""
        for axis, reach in enumerate(self.reach, start=2):
            surrounded = _sums_along(axis, surrounded, 2 * reach + 1)
        return surrounded


def _sums_along(axis: int, x: Tensor, width: int) -> Tensor:
    """Sums of ``width`` neighbours from sums of half as many; unlike differences of running sums, exact for zeros."""
    if width == 1:
        return x
    halves, count = _sums_along(axis, x, width // 2), x.shape[axis] - width + 1
    sums = halves.narrow(axis, 0, count) + halves.narrow(axis, width // 2, count)
    return sums.add_(x.narrow(axis, width - 1, count)) if width % 2 else sums


class _LocalNCC(torch.autograd.Function):
    """Σ_p w c² / D with D = v_x v_y + ε, c = S(xy) − S(x) S(y) / n, v_x = S(x²) − S(x)² / n; S: sum over the box.

    S is its own adjoint, so that with a = w c / D and b = a c v_y / D the gradient for x is
    2 [y S(a) − x S(b) − S(a S(y) − b S(x)) / n], and the same for y with x and y exchanged.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, valid: Tensor | None, epsilon: float, box: _Box, known: Moments | None
    ) -> Float[Tensor, ""]:
        pair, total, a = (x, y), x.new_zeros(()), torch.empty_like(x)
        b, rest = ({own: torch.empty_like(x) for own in (0, 1) if ctx.needs_input_grad[own]} for _ in range(2))
        count = x.numel() if valid is None else valid.sum().clamp_min(1)
        for slab in box.slabs(x):
            near = box.around(x, slab), box.around(y, slab)
            of_x = _moments(near[0], box) if known is None else Moments(*(part[:, :, slab] for part in known))
            S, v = zip(of_x, _moments(near[1], box), strict=True)
            c = box.sum(near[0] * near[1]).addcmul_(*S, value=-1 / box.voxels)
            w = 1 / count if valid is None else valid[:, :, slab].to(x.dtype) / count
            D = (v[0] * v[1]).add_(epsilon)
            a_here = torch.div(c, D, out=a[:, :, slab]).mul_(w)
            terms = c.mul_(a_here)
            total += terms.sum()
            terms.div_(D)
            for own in b:
                b_here = torch.mul(terms, v[1 - own], out=b[own][:, :, slab])
                torch.mul(a_here, S[1 - own], out=rest[own][:, :, slab]).addcmul_(b_here, S[own], value=-1)
        ctx.save_for_backward(*(_gradient(pair[own], pair[1 - own], a, b[own], rest[own], box) for own in b))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Float[Tensor, ""]) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        x, y = (scale * next(saved) if needed else None for needed in ctx.needs_input_grad[:2])
        return x, y, None, None, None, None


def _moments(surrounded: Tensor, box: _Box) -> Moments:
    S = box.sum(surrounded)
    # Where a picture is constant, rounding can leave less than nothing.
    v = box.sum(surrounded * surrounded).addcmul_(S, S, value=-1 / box.voxels).clamp_min_(0)
    return Moments(S, v)


def _gradient(own: Tensor, other: Tensor, a: Tensor, b: Tensor, rest: Tensor, box: _Box) -> Float[Tensor, "b 1 i j k"]:
    """2 [other S(a) − own S(b) − S(rest) / n]."""
    gradient = torch.empty_like(own)
    for slab in box.slabs(own):
        S_a, S_b, S_rest = (box.sum(box.around(slopes, slab)) for slopes in (a, b, rest))
        here = torch.mul(other[:, :, slab], S_a, out=gradient[:, :, slab])
        here.addcmul_(own[:, :, slab], S_b, value=-1).add_(S_rest, alpha=-1 / box.voxels).mul_(2)
    return gradient
