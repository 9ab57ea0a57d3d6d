"""What LT-Net learns from: the atlas and a pool of unlabelled scans, all on one working grid."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from lowshot.imaging.grid import Grid
from lowshot.imaging.preparation import Preparation
from lowshot.inference.atlas_model import Atlas
from lowshot.methods.lt_net.objective import Pair
from lowshot.registration.affine import Picture
from lowshot.registration.fields import Spacing
from lowshot.registration.pairwise import laid_upon
from lowshot.registration.pool import aligned
from lowshot.registration.sampling import moved, onto_grid
from lowshot.task import LowShotTask
from lowshot.training.run import Run


def pool_on_grid(
    task: LowShotTask, preparation: Preparation, atlas: Picture, grid: Grid, affine: bool, run: Run
) -> Float[Tensor, "n c i j k"]:
    """Every scan of the pool as it lies in the atlas's world, on the CPU.

    Raises:
        ChannelMismatch: a scan has other channels than the atlas.
        InputError: a scan shows another part of the body.
    """
    pool = aligned(task.unlabelled, task.channels, preparation, atlas, affine, run)
    return torch.stack([laid_upon(picture, world, grid) for picture, world in pool])


def one_hot(atlas: Atlas, grid: Grid, classes: int) -> Float[Tensor, "l i j k"]:
    """The atlas's structures on the working grid, background left out: each voxel's share of each."""
    structures = [(atlas.labels == label).float()[None] for label in range(1, classes)]
    return torch.cat([onto_grid(structure, atlas.picture.grid, grid) for structure in structures])


def share_outside(atlas: Atlas, grid: Grid) -> float:
    """Of what is annotated in the atlas, how much lies beyond the working grid."""
    into_grid = np.linalg.inv(grid.affine) @ atlas.picture.grid.affine
    places = moved((atlas.labels > 0).nonzero().float(), into_grid)
    inside = ((places > -0.5) & (places < torch.tensor(grid.shape) - 0.5)).all(dim=1)
    return 1 - float(inside.float().mean()) if len(inside) else 0.0


def atlas_pair(
    atlas: Float[Tensor, "c i j k"],
    labels: Float[Tensor, "l i j k"] | None,
    pool: Float[Tensor, "n c i j k"],
    spacing: Spacing,
    labels_per_step: int | None,
    step: int,
    generator: Generator,
) -> Pair:
    """The atlas and a scan drawn from the pool; of the structures all, or some that are drawn."""
    target = pool[int(torch.randint(len(pool), (), generator=generator))][None]
    if labels is not None and labels_per_step is not None and labels_per_step < len(labels):
        drawn = torch.randperm(len(labels), generator=generator)[:labels_per_step].sort().values
        labels = labels[drawn.to(labels.device)]
    return Pair(atlas[None], target, None if labels is None else labels[None], spacing)
