"""Examples for the segmenter, made of the atlas.

An example has a shape and an appearance. A shape says, for every voxel of a scan's own grid, where in the atlas it is
found; an appearance is what to add to the atlas's grey values. The atlas's own shape and appearance are one of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from lowshot.imaging.grid import Grid
from lowshot.methods.data_aug.batches import Atlas, Greys, Laid
from lowshot.registration.correspondence import Correspondence
from lowshot.registration.sampling import Matrix, moved, sample, voxel_positions
from lowshot.training.run import Run
from lowshot.transforms.intensity import IntensityRanges, transform_intensity
from lowshot.transforms.patches import Patches, PatchSampling, Volume, sample_patches, sample_volume


@dataclass(frozen=True, eq=False)
class Appearances:
    """How the atlas may look: the first as it is, the others like the scans of the pool."""

    atlas: Float[Tensor, "c x y z"]
    """On its own grid, from 0 to 1."""
    changes: Float[Tensor, "n c i j k"]
    """ψ, on the working grid; 0 for the first."""
    matrix: Matrix
    """(4, 4), from the atlas's voxels to those of the working grid."""
    greys: Sequence[Greys]

    @classmethod
    def of(
        cls,
        atlas: Atlas,
        pool: Sequence[Laid],
        changes: Float[Tensor, "m c i j k"],
        grid: Grid,
        device: torch.device,
    ) -> "Appearances":
        """From ψ of every scan of the pool, on the working grid."""
        every = torch.cat([torch.zeros_like(changes[:1]), changes]).to(device)
        image = atlas.greys.to_unit(atlas.volume.image).to(device)
        matrix = np.linalg.inv(grid.affine) @ atlas.grid.affine
        return cls(image, every, matrix, [atlas.greys, *(scan.greys for scan in pool)])

    def at(self, positions: Float[Tensor, "b x y z 3"], which: Int[Tensor, " b"]) -> Float[Tensor, "b c x y z"]:
        """The atlas at positions in its voxels, each of the batch with one of the appearances."""
        own = sample_volume(self.atlas, positions, "bilinear")
        there = moved(positions, self.matrix)
        looks = []
        for n, image, where in zip(which.tolist(), own, there, strict=True):
            change = sample(self.changes[n][None], where[None], outside="border")[0]
            looks.append(self.greys[n].from_unit(image + change))
        return torch.stack(looks)


def shapes(
    atlas: Atlas, pool: Sequence[Laid], fields_mm: Float[Tensor, "n 3 i j k"], grid: Grid, device: torch.device
) -> list[Volume]:
    """The atlas's own shape, and that of every scan: volumes that show, in place of grey values, positions.

    In voxels of the atlas, three channels. Labels are those found there; what lies beyond the atlas is not known.
    """
    itself = voxel_positions(atlas.grid.shape)
    found = [_shape(atlas, itself, atlas.grid, device)]
    for scan, field in zip(pool, fields_mm, strict=True):
        points = moved(voxel_positions(scan.grid.shape), scan.grid.affine)
        reached = Correspondence(scan.world, grid, field.cpu()).to_atlas(points)
        found.append(_shape(atlas, moved(reached, np.linalg.inv(atlas.grid.affine)), scan.grid, device))
    return found


def _shape(atlas: Atlas, positions: Float[Tensor, "x y z 3"], grid: Grid, device: torch.device) -> Volume:
    labels = atlas.labels_at(positions).to(device)
    channels = positions.movedim(-1, 0).contiguous().to(device)
    return Volume(channels, labels.clamp_min(0).to(torch.int16), labels >= 0, grid.spacing)


def with_own_images(found: Sequence[Volume], atlas: Atlas, pool: Sequence[Laid]) -> list[Volume]:
    """SAS-aug: the atlas and every scan as they are, with the labels that the spatial model carried over."""
    images = [atlas.volume.image, *(scan.own for scan in pool)]
    return [
        Volume(image.to(shape.image.device), shape.labels, shape.known, shape.spacing)
        for image, shape in zip(images, found, strict=True)
    ]


def with_coupled_images(found: Sequence[Volume], appearances: Appearances) -> list[Volume]:
    """Shape and appearance of the same scan."""
    images = [appearances.at(shape.image.movedim(0, -1)[None], torch.tensor([n]))[0] for n, shape in enumerate(found)]
    return [Volume(image, shape.labels, shape.known, shape.spacing) for image, shape in zip(images, found, strict=True)]


def fixed_patches(
    volumes: Sequence[Volume], sampling: PatchSampling, run: Run, step: int, generator: Generator
) -> Patches:
    """Patches of volumes that stay as they are."""
    return Patches(*map(run.tensor, sample_patches(volumes, sampling, generator)))


def independent_patches(
    found: Sequence[Volume],
    appearances: Appearances,
    sampling: PatchSampling,
    run: Run,
    step: int,
    generator: Generator,
) -> Patches:
    """IDS-aug: each patch has the shape of one scan and the appearance of another, drawn independently."""
    patches = sample_patches(found, replace(sampling, intensity=IntensityRanges()), generator)
    which = torch.randint(len(appearances.greys), (sampling.count,), generator=generator)
    image = appearances.at(patches.image.movedim(1, -1), which)
    image = transform_intensity(image, sampling.intensity, generator)
    return Patches(*map(run.tensor, patches._replace(image=image)))
