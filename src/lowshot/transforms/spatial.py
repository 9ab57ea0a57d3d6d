"""Random spatial transforms of patches, drawn first and applied by one sampling of the whole volume.

A transform T maps a position in a virtual augmented scan to a position in the real one, both in millimetres from
the centre of the volume. A patch at position p of the virtual scan shows the real scan at T(p), so patches have no
empty borders, and the patch's coordinates p vary against the anatomy as they do between people.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

WIDTH_MM = 200.0
"""A picture counts as this wide where its millimetres are not known, or lost as it was stretched to a given size."""


def pixel_mm(shape: Sequence[int]) -> float:
    """The size of a pixel of such a picture."""
    return WIDTH_MM / max(shape)


@dataclass(frozen=True)
class SpatialRanges:
    """How far to transform; all zero is the identity."""

    rotation_degrees: float = 0.0
    """Largest angle about each axis; only within slices where these are three times thicker than wide."""
    scale: float = 0.0
    """Largest relative change of size, s: a factor between 1/(1+s) and 1+s."""
    stretch: float = 0.0
    """The same per axis, on top."""
    shear: float = 0.0
    shift_mm: float = 0.0
    elastic_mm: float = 0.0
    """Standard deviation of a smooth random displacement at its control points."""
    elastic_spacing_mm: float = 16.0
    """Distance between control points."""


class SpatialTransform(NamedTuple):
    """One drawn transform per patch."""

    matrix: Float[Tensor, "b 3 3"]
    shift_mm: Float[Tensor, "b 3"]
    elastic_mm: Float[Tensor, "b 3 x y z"] | None

    def to(self, device: torch.device) -> "SpatialTransform":
        """The same transforms on another device."""
        elastic = None if self.elastic_mm is None else self.elastic_mm.to(device)
        return SpatialTransform(self.matrix.to(device), self.shift_mm.to(device), elastic)

    def within(self, size: Sequence[int]) -> "SpatialTransform":
        """The same without any motion along axes on which a patch of this size has a single voxel.

        What lies there is another slice: its grey values would be mixed with those of the slice that labels are of.
        """
        flat = torch.tensor([voxels == 1 for voxels in size])
        matrix = self.matrix.masked_fill(flat[:, None] | flat, 0) + torch.diag(flat.to(self.matrix))
        elastic = None if self.elastic_mm is None else self.elastic_mm.masked_fill(flat[:, None, None, None], 0)
        return SpatialTransform(matrix, self.shift_mm.masked_fill(flat, 0), elastic)


def draw_spatial(
    ranges: SpatialRanges,
    count: int,
    extent_mm: tuple[float, float, float],
    spacing: tuple[float, float, float],
    generator: Generator,
) -> SpatialTransform:
    """Draw ``count`` transforms for patches of this extent."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    turns = torch.tensor([_may_turn(axis, extent_mm, spacing) for axis in range(3)])
    angles = uniform(count, 3) * math.radians(ranges.rotation_degrees) * turns
    size = torch.exp(uniform(count, 1) * math.log1p(ranges.scale) + uniform(count, 3) * math.log1p(ranges.stretch))
    shear = torch.eye(3) + torch.triu(uniform(count, 3, 3), diagonal=1) * ranges.shear
    matrix = rotation_matrices(angles) @ shear @ torch.diag_embed(size)
    elastic = None
    if ranges.elastic_mm > 0:
        nodes = [max(2, round(extent / ranges.elastic_spacing_mm) + 1) for extent in extent_mm]
        elastic = torch.randn(count, 3, *nodes, generator=generator) * ranges.elastic_mm
    return SpatialTransform(matrix, uniform(count, 3) * ranges.shift_mm, elastic)


def _may_turn(axis: int, extent_mm: Sequence[float], spacing: Sequence[float]) -> bool:
    """Whether the plane that a rotation about ``axis`` turns has an extent, and voxels that are nearly square."""
    first, second = (other for other in range(3) if other != axis)
    small, large = sorted((spacing[first], spacing[second]))
    return min(extent_mm[first], extent_mm[second]) > 0 and large <= 3 * small


def rotation_matrices(angles: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 3"]:
    """Rotations about x, then y, then z, by angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = torch.cos(angles).unbind(1), torch.sin(angles).unbind(1)
    zero, one = torch.zeros_like(cx), torch.ones_like(cx)
    x = torch.stack([one, zero, zero, zero, cx, -sx, zero, sx, cx], 1).reshape(-1, 3, 3)
    y = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], 1).reshape(-1, 3, 3)
    z = torch.stack([cz, -sz, zero, sz, cz, zero, zero, zero, one], 1).reshape(-1, 3, 3)
    return z @ y @ x


def apply_spatial(transform: SpatialTransform, positions_mm: Float[Tensor, "b x y z 3"]) -> Float[Tensor, "b x y z 3"]:
    """T(p) for every voxel position p of every patch."""
    moved = positions_mm.flatten(1, 3) @ transform.matrix.mT + transform.shift_mm[:, None]
    moved = moved.reshape(positions_mm.shape)
    if transform.elastic_mm is not None:
        size = positions_mm.shape[1:4]
        smooth = F.interpolate(transform.elastic_mm, size=size, mode="trilinear", align_corners=True)
        moved = moved + smooth.movedim(1, -1)
    return moved
