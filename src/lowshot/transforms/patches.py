"""Patches of annotated volumes for training: where they lie, what they show, and their coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from lowshot.transforms.intensity import IntensityRanges, transform_intensity
from lowshot.transforms.spatial import SpatialRanges, apply_spatial, draw_spatial


class Patches(NamedTuple):
    """A mini-batch."""

    image: Float[Tensor, "b c x y z"]
    labels: Int[Tensor, "b x y z"]
    known: Bool[Tensor, "b x y z"]
    coordinates: Float[Tensor, "b 3 x y z"]
    """Position in the whole prepared volume, each axis from -1 (first voxel) to 1 (last voxel)."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One prepared, annotated scan."""

    image: Float[Tensor, "c x y z"]
    labels: Int[Tensor, "x y z"]
    known: Bool[Tensor, "x y z"]
    spacing: tuple[float, float, float]

    @cached_property
    def voxels_by_class(self) -> list[Int[Tensor, " n"]]:
        """Flat indices of every class that occurs where labels are known; the pools for balanced patch centres."""
        flat = self.known_labels.flatten()
        return [(flat == k).nonzero().squeeze(1).cpu() for k in torch.unique(flat).tolist() if k >= 0]

    @cached_property
    def known_labels(self) -> Float[Tensor, "x y z"]:
        """Labels, and -1 where they are not known; floating point, so that they can be sampled like the image."""
        return torch.where(self.known, self.labels, -1).to(self.image.dtype)


@dataclass(frozen=True)
class PatchSampling:
    """How patches are drawn."""

    size: tuple[int, int, int]
    count: int
    balanced: float = 0.0
    """Share of patches centred on a voxel of a class drawn uniformly; the others lie anywhere."""
    spatial: SpatialRanges = field(default_factory=SpatialRanges)
    intensity: IntensityRanges = field(default_factory=IntensityRanges)
    mirror_pairs: tuple[tuple[int, int], ...] | None = None
    """Mirror half of the patches from left to right, and swap these structures; None: mirror nothing."""
    mirrored_is_known: bool = True
    """Whether labels beyond a volume's faces, where it is mirrored, are learned from."""


def sample_patches(volumes: Sequence[Volume], sampling: PatchSampling, generator: Generator) -> Patches:
    """Draw a mini-batch; each patch comes from one of the volumes, drawn uniformly."""
    chosen = torch.randint(len(volumes), (sampling.count,), generator=generator)
    parts = [
        _patches_of(volume, int(count), sampling, generator)
        for volume, count in zip(volumes, torch.bincount(chosen, minlength=len(volumes)), strict=True)
        if count > 0
    ]
    image, labels, known, coordinates = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return Patches(transform_intensity(image, sampling.intensity, generator), labels, known, coordinates)


def _patches_of(volume: Volume, count: int, sampling: PatchSampling, generator: Generator) -> Patches:
    shape = torch.tensor(volume.labels.shape)
    spacing = torch.tensor(volume.spacing)
    middle = (shape - 1) / 2
    size = torch.tensor(sampling.size)
    extent_mm = tuple(((size - 1) * spacing).tolist())
    transform = draw_spatial(sampling.spatial, count, extent_mm, volume.spacing, generator).within(sampling.size)
    mirrored = torch.zeros(count, dtype=torch.bool)
    if sampling.mirror_pairs is not None:
        mirrored = torch.rand(count, generator=generator) < 0.5
        transform.matrix[mirrored, 0] *= -1  # x runs from left to right

    # The patch's centre in the virtual scan, so that T brings it to the voxel that was drawn in the real one.
    targets = (_centres(volume, count, sampling, generator) - middle) * spacing
    centres = torch.linalg.solve(transform.matrix, (targets - transform.shift_mm)[..., None]).squeeze(-1)
    # Whole voxels, so that without a spatial transform a patch shows the scan's own voxels exactly.
    corner = torch.round(centres / spacing + middle - (size - 1) / 2)

    # What was drawn is small; from here on the work is done where the volume is.
    device = volume.image.device
    transform, corner = transform.to(device), corner.to(device)
    spacing, middle = spacing.to(device), middle.to(device)
    lines = [torch.arange(n, device=device) for n in sampling.size]
    positions = corner[:, None, None, None] + torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)
    sampled = apply_spatial(transform, (positions - middle) * spacing) / spacing + middle
    coordinates = ((positions - middle) / middle.clamp_min(0.5)).movedim(-1, 1)
    image = sample_volume(volume.image, sampled, "bilinear")
    labels = sample_volume(volume.known_labels[None], sampled, "nearest")[:, 0].to(volume.labels.dtype)
    known = labels >= 0
    if not sampling.mirrored_is_known:
        known &= ((sampled >= -0.5) & (sampled <= 2 * middle + 0.5)).all(dim=-1)
    for left, right in sampling.mirror_pairs or ():
        swapped = torch.where(labels == left, right, torch.where(labels == right, left, labels))
        labels = torch.where(mirrored[:, None, None, None].to(labels.device), swapped, labels)
    return Patches(image, labels.clamp_min(0), known, coordinates.to(volume.image))


def _centres(volume: Volume, count: int, sampling: PatchSampling, generator: Generator) -> Float[Tensor, "b 3"]:
    """Centres in voxels of the real scan: of a class, or such that the patch lies inside the volume."""
    shape, size = torch.tensor(volume.labels.shape), torch.tensor(sampling.size)
    free = (shape - size).clamp_min(0)
    corner = torch.floor(torch.rand(count, 3, generator=generator) * (free + 1))
    centres = corner + (torch.minimum(size, shape) - 1) / 2
    balanced = (torch.rand(count, generator=generator) < sampling.balanced).nonzero().flatten().tolist()
    pools = volume.voxels_by_class if balanced else []
    for n in balanced if pools else []:  # of a volume where nothing is known, a patch lies anywhere
        pool = pools[int(torch.randint(len(pools), (1,), generator=generator))]
        voxel = pool[int(torch.randint(len(pool), (1,), generator=generator))]
        centres[n] = torch.stack(torch.unravel_index(voxel, volume.labels.shape)).float()
    return centres


def sample_volume(
    volume: Float[Tensor, "c x y z"], indices: Float[Tensor, "b i j k 3"], mode: str
) -> Float[Tensor, "b c i j k"]:
    """Values of a volume at fractional voxel indices; beyond its faces it is mirrored."""
    shape = torch.tensor(volume.shape[1:], device=indices.device)
    grid = (2 * indices / (shape - 1).clamp_min(1) - 1).flip(-1)  # grid_sample wants (z, y, x)
    b, i = indices.shape[:2]
    # One volume, many patches: stacked along the first axis, so that the volume is not repeated per patch.
    stacked = grid.reshape(1, b * i, *indices.shape[2:]).to(volume)
    values = F.grid_sample(volume[None], stacked, mode=mode, padding_mode="reflection", align_corners=True)
    return values.reshape(-1, *indices.shape[:-1]).movedim(1, 0)
