"""Which point of an atlas corresponds to which point of a scan: an affine map, and a field on top of it."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowshot.imaging.grid import Affine, Grid
from lowshot.registration.fields import folded_share
from lowshot.registration.sampling import moved, sample


@dataclass(frozen=True, eq=False)
class Correspondence:
    """From world mm of a scan to world mm of an atlas."""

    world: Affine
    """(4, 4): first, scan to atlas as wholes."""
    grid: Grid
    """On which the field is known, in the atlas's world; beyond it the field goes on as at its border."""
    field_mm: Float[Tensor, "3 i j k"]
    """Then, along the grid's own axes."""
    alike: Float[Tensor, "i j k"] | None = None
    """How far to trust it where, on the same grid; None: the same everywhere. What several atlases vote with."""

    def to_atlas(self, points: Float[Tensor, "x y z 3"]) -> Float[Tensor, "x y z 3"]:
        """Where points of the scan lie in the atlas."""
        here = self.on_grid(points)
        step_mm = sample(self.field_mm[None], here[None], outside="border")[0].movedim(0, -1)
        return moved(here + step_mm / torch.tensor(self.grid.spacing, device=here.device), self.grid.affine)

    def trust(self, points: Float[Tensor, "x y z 3"]) -> Float[Tensor, "x y z"]:
        """``alike`` at points of the scan."""
        if self.alike is None:
            return points.new_ones(points.shape[:-1])
        return sample(self.alike[None, None], self.on_grid(points)[None], outside="border")[0, 0]

    def on_grid(self, points: Float[Tensor, "x y z 3"]) -> Float[Tensor, "x y z 3"]:
        """Where points of the scan lie on the field's grid, in voxels."""
        return moved(points, np.linalg.inv(self.grid.affine) @ self.world)

    def folded_share(self) -> float:
        """Of the grid's voxels, where the field turns the atlas inside out."""
        return folded_share(self.field_mm[None], self.grid.spacing)

    def to(self, device: torch.device) -> "Correspondence":
        """The same on another device."""
        alike = None if self.alike is None else self.alike.to(device)
        return replace(self, field_mm=self.field_mm.to(device), alike=alike)
