"""Two scans laid upon each other as wholes, and then point by point."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lowshot.imaging.grid import Affine, Grid
from lowshot.registration.affine import Picture
from lowshot.registration.correspondence import Correspondence
from lowshot.registration.deformable import Refinement
from lowshot.registration.fields import warp
from lowshot.registration.sampling import Outside, onto_grid
from lowshot.registration.unfolding import unfolded

ALIKE_WINDOW = 3
"""Voxels along each axis over which two pictures are compared, where atlases vote. Chosen together with the difference
below: of four brains that vote on a fifth, 5 voxels and 1e-3 made 0.871, these 0.875 (mean of two fifth ones)."""
TOLERATED_FOLDS = 1e-3
"""Share of voxels: to get rid of the last ones as well costs two thousandths of Dice (on brains), and time."""
LEAST_DIFFERENCE = 1e-2
"""Of squared intensities in [0, 1]: what two equal pictures differ by, noise and a field that is a little off."""


def laid_upon(query: Picture, world: Affine, grid: Grid, outside: Outside = "zeros") -> Float[Tensor, "c i j k"]:
    """The query as it lies in the atlas's world."""
    return onto_grid(query.voxels, query.grid, grid, np.linalg.inv(world), outside)


def deformed(
    query: Picture,
    atlas: Picture,
    world: Affine,
    grid: Grid,
    refinement: Refinement,
    start_mm: Float[Tensor, "3 i j k"] | None = None,
) -> Correspondence:
    """From an affine alignment on, the field that makes the atlas look like the query, with hardly a fold.

    Where a field of view ends there is no edge that a field could be drawn to: the atlas goes on beyond its box as at
    its faces, and beyond the query's, of which nothing is known there, the atlas itself is what is looked for. (A scalp
    that touched a face and went on as a column beyond it would draw the atlas's after it, and the brain with it.)
    """
    moving = onto_grid(atlas.voxels, atlas.grid, grid, outside="border")
    fixed = laid_upon(query, world, grid, outside="border").where(_in_view(query, world, grid), moving)
    field = unfolded(refinement(fixed, moving, grid.spacing, start_mm), grid.spacing, TOLERATED_FOLDS)
    return Correspondence(world, grid, field, _alike(fixed, moving, field, grid))


def _in_view(query: Picture, world: Affine, grid: Grid) -> Bool[Tensor, "1 i j k"]:
    """Where the grid's voxels lie in the query's box."""
    return onto_grid(torch.ones_like(query.voxels[:1]), query.grid, grid, np.linalg.inv(world)) > 0.5


def _alike(fixed: Tensor, moving: Tensor, field: Tensor, grid: Grid) -> Float[Tensor, "i j k"]:
    """1 / (mean squared difference around a voxel + noise), squared.

    Source: inverse local difference as a voting weight, Artaechevarria et al., IEEE TMI 2009.
    """
    seen = warp(moving[None], field[None], grid.spacing, outside="border")
    differences = (seen - fixed).square().mean(dim=1, keepdim=True)
    window = [min(ALIKE_WINDOW, size if size % 2 else size - 1) for size in grid.shape]
    local = F.avg_pool3d(differences, window, 1, [size // 2 for size in window], count_include_pad=False)[0, 0]
    return (1 / (local + LEAST_DIFFERENCE)).square()
