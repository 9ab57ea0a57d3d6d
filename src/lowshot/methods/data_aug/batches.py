"""What the transform models learn from: the atlas, and the pool laid upon it, all on one working grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from lowshot.imaging.grid import Affine, Grid
from lowshot.imaging.preparation import Preparation
from lowshot.methods.data_aug.objective import AppearancePair, Pair
from lowshot.registration.affine import Picture
from lowshot.registration.fields import Spacing
from lowshot.registration.pairwise import laid_upon
from lowshot.registration.pool import aligned
from lowshot.registration.sampling import moved, voxel_positions
from lowshot.task import LowShotTask
from lowshot.training.run import Run
from lowshot.transforms.patches import Volume


@dataclass(frozen=True, eq=False)
class Greys:
    """What a scan's darkest and brightest voxels are, in each channel: transform models see those as 0 and 1."""

    low: Float[Tensor, " c"]
    high: Float[Tensor, " c"]

    @classmethod
    def of(cls, voxels: Float[Tensor, "c i j k"]) -> "Greys":
        """Of a prepared scan."""
        return cls(voxels.amin((1, 2, 3)), voxels.amax((1, 2, 3)))

    def to_unit(self, voxels: Float[Tensor, "c i j k"]) -> Float[Tensor, "c i j k"]:
        """From 0 to 1."""
        low, high = (each[:, None, None, None].to(voxels) for each in (self.low, self.high))
        return (voxels - low) / (high - low).clamp_min(1e-6)

    def from_unit(self, voxels: Float[Tensor, "c i j k"]) -> Float[Tensor, "c i j k"]:
        """As the scan was prepared."""
        low, high = (each[:, None, None, None].to(voxels) for each in (self.low, self.high))
        return voxels * (high - low) + low


@dataclass(frozen=True, eq=False)
class Laid:
    """A scan of the pool, laid upon the atlas."""

    voxels: Float[Tensor, "c i j k"]
    """On the working grid, from 0 to 1."""
    greys: Greys
    world: Affine
    """From its world to the atlas's."""
    grid: Grid
    """Its own, as prepared."""
    own: Float[Tensor, "c x y z"]
    """On that grid, as prepared."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """The annotated scan, as prepared."""

    volume: Volume
    grid: Grid
    greys: Greys

    @classmethod
    def of(cls, volume: Volume, grid: Grid) -> "Atlas":
        """With its greys."""
        return cls(volume, grid, Greys.of(volume.image))

    def labels_at(self, positions: Float[Tensor, "x y z 3"]) -> Int[Tensor, "x y z"]:
        """Those of the voxels nearest to positions in voxels; −1 where they are not known, and beyond the volume."""
        known = torch.where(self.volume.known, self.volume.labels, -1).cpu()
        last = torch.tensor(known.shape) - 1
        nearest = positions.round().long()
        inside = ((nearest >= 0) & (nearest <= last)).all(dim=-1)
        i, j, k = torch.minimum(nearest.clamp_min(0), last).unbind(-1)
        return torch.where(inside, known[i, j, k], -1)

    def labels_on(self, grid: Grid) -> Int[Tensor, "i j k"]:
        """The same for the voxels of another grid."""
        matrix = np.linalg.inv(self.grid.affine) @ grid.affine
        return self.labels_at(moved(voxel_positions(grid.shape), matrix))


def lay_pool(
    task: LowShotTask, preparation: Preparation, atlas: Picture, grid: Grid, affine: bool, run: Run
) -> list[Laid]:
    """Every scan of the pool, on the CPU.

    Raises:
        ChannelMismatch: a scan has other channels than the atlas.
        InputError: a scan shows another part of the body.
    """
    pool = []
    for picture, world in aligned(task.unlabelled, task.channels, preparation, atlas, affine, run):
        greys = Greys.of(picture.voxels)
        unit = Picture(picture.name, greys.to_unit(picture.voxels), picture.grid, picture.body)
        pool.append(Laid(laid_upon(unit, world, grid), greys, world, picture.grid, picture.voxels))
    return pool


def spatial_pair(
    atlas: Float[Tensor, "c i j k"], pool: Sequence[Laid], spacing: Spacing, run: Run, step: int, generator: Generator
) -> Pair:
    """The atlas and a scan drawn from the pool."""
    target = pool[int(torch.randint(len(pool), (), generator=generator))].voxels
    return Pair(run.tensor(atlas[None]), run.tensor(target[None]), spacing)


def appearance_pair(
    atlas: Float[Tensor, "c i j k"],
    pool: Sequence[Laid],
    brought: Float[Tensor, "n c i j k"],
    fields_mm: Float[Tensor, "n 3 i j k"],
    spacing: Spacing,
    run: Run,
    step: int,
    generator: Generator,
) -> AppearancePair:
    """The same, with what the spatial models make of them."""
    n = int(torch.randint(len(pool), (), generator=generator))
    x, y, back, field = (run.tensor(each[None]) for each in (atlas, pool[n].voxels, brought[n], fields_mm[n]))
    return AppearancePair(x, y, spacing, back, field)
