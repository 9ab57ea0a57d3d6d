"""Displacement fields: warping by them, composing and inverting them, and where they fold.

A field u lives on a grid and holds millimetres along the grid's own axes. It moves a picture x to x(p + u(p)): it
says, for every point of the result, where in the source that comes from. Outside of its grid a field goes on as at its
border.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lowshot.registration.sampling import Outside, sample, voxel_positions

Spacing = tuple[float, float, float]
"""Millimetres between neighbouring voxels along i, j and k."""

SQUARINGS = 7
"""An exponential in 2⁷ small steps, as VoxelMorph takes."""


def in_mm(voxels: Float[Tensor, "b 3 i j k"], spacing: Spacing) -> Float[Tensor, "b 3 i j k"]:
    """A displacement in voxels of its grid, as networks predict it, in millimetres."""
    return voxels * torch.tensor(spacing, device=voxels.device).view(1, 3, 1, 1, 1)


def warp(
    image: Float[Tensor, "b c i j k"],
    field_mm: Float[Tensor, "b 3 i j k"],
    spacing: Spacing,
    outside: Outside = "zeros",
) -> Float[Tensor, "b c i j k"]:
    """x(p + u(p)), linearly interpolated; differentiable in both arguments."""
    return sample(image, _reached(field_mm, spacing), outside)


def compose(
    first: Float[Tensor, "b 3 i j k"], second: Float[Tensor, "b 3 i j k"], spacing: Spacing
) -> Float[Tensor, "b 3 i j k"]:
    """The field that warps like ``first`` and then ``second``: u(p) = second(p) + first(p + second(p))."""
    return second + warp(first, second, spacing, outside="border")


def inverse(field_mm: Float[Tensor, "b 3 i j k"], spacing: Spacing, rounds: int = 30) -> Float[Tensor, "b 3 i j k"]:
    """V with v(p) = −u(p + v(p)), by repetition; converges where u is smooth and does not fold (Chen et al., 2008)."""
    v = -field_mm
    for _ in range(rounds):
        v = -warp(field_mm, v, spacing, outside="border")
    return v


def exponential(
    velocity_mm: Float[Tensor, "b 3 i j k"], spacing: Spacing, squarings: int = SQUARINGS
) -> Float[Tensor, "b 3 i j k"]:
    """Where a stationary velocity leads in one unit of time, by scaling and squaring (Arsigny et al., MICCAI 2006)."""
    field: Tensor = velocity_mm / 2**squarings
    for _ in range(squarings):
        field = compose(field, field, spacing)
    return field


def jacobian_determinant(field_mm: Float[Tensor, "b 3 i j k"], spacing: Spacing) -> Float[Tensor, "b i j k"]:
    """det(I + ∂u/∂p) by central differences, one-sided at the faces: how much larger each voxel's source is."""
    axes = [axis for axis in range(3) if field_mm.shape[2 + axis] > 1]
    J: Tensor = torch.eye(3, device=field_mm.device).expand(*field_mm.movedim(1, -1).shape[:-1], 3, 3).clone()
    for axis in axes:
        (change,) = torch.gradient(field_mm, spacing=spacing[axis], dim=2 + axis)
        J[..., :, axis] += change.movedim(1, -1)
    a, b, c = J.unbind(-2)
    determinant: Tensor = (a * torch.linalg.cross(b, c)).sum(-1)
    return determinant


def folded_share(field_mm: Float[Tensor, "b 3 i j k"], spacing: Spacing) -> float:
    """Share of voxels where the field turns the picture inside out: determinant of 0 or less."""
    return float((jacobian_determinant(field_mm, spacing) <= 0).float().mean())


def resized(field_mm: Float[Tensor, "b 3 i j k"], shape: tuple[int, int, int]) -> Float[Tensor, "b 3 x y z"]:
    """The same field on a finer or coarser grid over the same box; millimetres stay what they are."""
    if tuple(field_mm.shape[2:]) == shape:
        return field_mm
    return F.interpolate(field_mm, size=shape, mode="trilinear", align_corners=False)


def _reached(field_mm: Tensor, spacing: Spacing) -> Tensor:
    """P + u(p) in voxels."""
    i, j, k = field_mm.shape[2:]
    here = voxel_positions((i, j, k), field_mm.device)
    return here + field_mm.movedim(1, -1) / torch.tensor(spacing, device=field_mm.device)
