"""Deformable alignment of one pair of scans, by optimising the displacement field itself, coarse to fine.

Ours, after the pairwise ("instance") optimisation that learned registration is usually finished with: no network, local
correlation, diffusion. It refines a field that a network gave, and registers atlases where no network was trained.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lowshot.errors import SettingsError
from lowshot.imaging.grid import Grid
from lowshot.losses.similarity import local_ncc, moments
from lowshot.losses.smoothness import diffusion
from lowshot.nn.geometry import working_spacing
from lowshot.registration.affine import Picture
from lowshot.registration.descent import Adam
from lowshot.registration.fields import Spacing, resized, warp
from lowshot.registration.working_grid import working_grid

MOST_COARSER, MOST_STEPS = 64, 10_000
MOST_VOXELS = 6_000_000
OPTIMISING_BYTES = 168
"""Per voxel of the full grid, while a field is optimised (measured)."""


@dataclass(frozen=True)
class Level:
    """One resolution."""

    factor: int
    """How many voxels of the full grid, along each axis, are one here."""
    steps: int


@dataclass(frozen=True)
class Refinement:
    """How a field is optimised."""

    levels: tuple[Level, ...] = (Level(4, 80), Level(2, 80), Level(1, 40))
    """From coarse to fine."""
    smoothness: float = 0.35
    """Weight of the field's squared gradient against the local correlation of [0, 1]."""
    rate: float = 0.1
    """Of Adam, in voxels of a level."""
    window: int = 13
    """Of the local correlation, in voxels of a level."""

    @classmethod
    def of(
        cls, levels: tuple[tuple[int, int], ...], smoothness: float = smoothness, rate: float = rate
    ) -> "Refinement":
        """From settings as a user writes them: pairs of a factor and steps.

        Raises:
            SettingsError: levels that no scan has use for, or a number that has to be more than 0.
        """
        if not levels or any(factor < 1 or not 0 <= steps <= MOST_STEPS for factor, steps in levels):
            raise SettingsError(f"levels: expected pairs of a factor and up to {MOST_STEPS:,} steps, got {levels}")
        if math.lcm(*(factor for factor, _ in levels)) > MOST_COARSER:
            raise SettingsError(f"levels: expected factors with a common multiple up to {MOST_COARSER}, got {levels}")
        for name, value in (("smoothness", smoothness), ("rate", rate)):
            if not 0 < value < math.inf:
                raise SettingsError(f"{name}: expected more than 0, got {value}")
        return cls(tuple(Level(*level) for level in levels), smoothness, rate)

    def grid(self, atlas: Picture, most_voxels: int = MOST_VOXELS) -> Grid:
        """On which a field is found: at the atlas's own spacing, or coarser where that were too many voxels."""
        extent = [size * mm for size, mm in zip(atlas.grid.shape, atlas.grid.spacing, strict=True)]
        spacing = working_spacing(extent, atlas.grid.spacing, most_voxels)
        return working_grid(atlas, spacing, None, multiple=math.lcm(*(level.factor for level in self.levels)))

    def __call__(
        self,
        fixed: Float[Tensor, "c i j k"],
        moving: Float[Tensor, "c i j k"],
        spacing: Spacing,
        start_mm: Float[Tensor, "3 i j k"] | None = None,
    ) -> Float[Tensor, "3 i j k"]:
        """The field in mm that makes ``moving`` look like ``fixed``, both on one grid; from ``start_mm`` on."""
        fixed, moving = _from_its_faces(fixed), _from_its_faces(moving)
        shape = fixed.shape[1:]
        field = torch.zeros(1, 3, *shape, device=fixed.device) if start_mm is None else start_mm[None]
        with torch.enable_grad():
            for level in self.levels:
                pair = _coarser(fixed[None], level.factor), _coarser(moving[None], level.factor)
                field = self._at(level, pair, spacing, field)
        return resized(field, (shape[0], shape[1], shape[2]))[0]

    def _at(self, level: Level, pair: tuple[Tensor, Tensor], spacing: Spacing, field: Tensor) -> Tensor:
        fixed, moving = pair
        i, j, k = fixed.shape[2:]
        x, y, z = (level.factor * mm if size > 1 else mm for mm, size in zip(spacing, (i, j, k), strict=True))
        steps = (x, y, z)
        field = resized(field.detach(), (i, j, k)).clone().requires_grad_()
        descent = Adam([field])
        # Channels as a batch: each is compared with its own.
        fixed, known = fixed.movedim(1, 0), moments(fixed.movedim(1, 0), self.window)
        for _ in range(level.steps):
            seen = warp(moving, field, steps, outside="border")
            loss = self.smoothness * diffusion(field, steps)
            loss = loss - local_ncc(fixed, seen.movedim(1, 0), self.window, known=known)
            torch.autograd.backward(loss)
            descent.step(self.rate * min(steps))
        return field.detach()


def _from_its_faces(image: Float[Tensor, "c i j k"]) -> Float[Tensor, "c i j k"]:
    """Without the mean grey value at its faces: the correlation sees zeros beyond them, which else were an edge."""
    faces = torch.zeros_like(image[0], dtype=torch.bool)
    for axis, size in enumerate(faces.shape):
        if size > 1:
            faces.select(axis, 0).fill_(True)
            faces.select(axis, size - 1).fill_(True)
    return image - image[:, faces].mean(dim=1)[:, None, None, None] if faces.any() else image


def _coarser(image: Tensor, factor: int) -> Tensor:
    """Means of blocks, so that the coarse grid covers the same box; an axis of one voxel stays."""
    window = [factor if size > 1 else 1 for size in image.shape[2:]]
    if any(size % block for size, block in zip(image.shape[2:], window, strict=True)):
        raise ValueError(f"sizes: expected multiples of {factor}, got {tuple(image.shape[2:])}")
    return F.avg_pool3d(image, window) if factor > 1 else image
