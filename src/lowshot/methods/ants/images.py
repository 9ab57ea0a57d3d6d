"""Scans as ANTs takes them: LPS+ millimetres, and axes that are perpendicular."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowshot.imaging.grid import Affine, Grid

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


class Placement(NamedTuple):
    """Where an ITK image of two or three axes lies: LPS+, mm."""

    origin: tuple[float, ...]
    """Of the centre of the first voxel."""
    spacing: tuple[float, ...]
    direction: npt.NDArray[np.float64]
    """A column for each axis of the image; perpendicular, of length 1."""

    def matrix(self) -> Affine:
        """(4, 4), from voxels to mm; of a picture's third axis the voxels remain."""
        made, axes = np.eye(4), len(self.origin)
        made[:axes, :axes] = self.direction * self.spacing
        made[:axes, 3] = self.origin
        return made


def placement(grid: Grid) -> Placement:
    """Where ANTs is told that a grid lies.

    ITK knows no sheared grids (those of a CT with a tilted gantry): it cannot write a field on one. A sheared grid is
    taken for the perpendicular one that is nearest to it and has the same centre and spacing. What this changes, a
    shear, is affine, and so for the registration to find like any other difference between two scans.

    A picture (k = 1) lies at the origin, whatever the millimetres of its plane: where two pictures lie to each other is
    for the registration to find as well.
    """
    if grid.shape[2] == 1:
        return Placement((0.0, 0.0), _rounded(grid.spacing[:2]), np.eye(2))
    spacing, half = np.array(grid.spacing), (np.array(grid.shape) - 1) / 2
    # The nearest perpendicular axes are the orthogonal factor of the polar decomposition.
    left, _, right = np.linalg.svd(_RAS_TO_LPS @ grid.affine[:3, :3] / spacing)
    direction = np.round(left @ right, 9)
    centre = _RAS_TO_LPS @ (grid.affine @ [*half, 1.0])[:3]
    return Placement(_rounded(centre - direction @ (spacing * half)), _rounded(spacing), direction)


def _rounded(values: Any) -> tuple[float, ...]:
    """To nanometres: one body, stored along other axes, has an affine that differs in its last digits, and an
    optimiser makes much of such a difference.
    """
    return tuple(round(float(value), 6) for value in values)


def to_ants(voxels: Float[Tensor, "i j k"] | Int[Tensor, "i j k"], grid: Grid) -> Any:
    """The voxels as an image of ANTs, of two axes where k = 1."""
    import ants

    origin, spacing, direction = placement(grid)
    flat = voxels[:, :, 0] if grid.shape[2] == 1 else voxels
    return ants.from_numpy(flat.float().cpu().numpy(), origin=origin, spacing=spacing, direction=direction)


def from_ants(image: Any, shape: tuple[int, int, int]) -> Float[Tensor, "i j k"]:
    """The voxels of an image of ANTs, with three axes again."""
    return torch.from_numpy(np.ascontiguousarray(image.numpy(), dtype=np.float32)).reshape(shape)
