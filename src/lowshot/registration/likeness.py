"""Whether a scan looks like the atlas that was laid upon it: what no field can make of another part of the body."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lowshot.imaging.grid import Affine
from lowshot.registration.affine import Picture
from lowshot.registration.correspondence import Correspondence
from lowshot.registration.sampling import moved, sample, voxel_positions

ENOUGH = 500_000
"""Voxels that are looked at, about; of a larger scan every second or third along each axis."""
FEWEST = 50
"""Voxels that both bodies share, below which nothing can be said."""


def likeness(query: Picture, atlas: Picture, found: Correspondence) -> float:
    """Pearson's correlation of their first channels where both bodies lie; 0 where they hardly meet or one is flat.

    Args:
        query: the scan.
        atlas: the annotated one.
        found: where each point of the scan lies in the atlas.
    """
    return _correlation(query, atlas, found.to_atlas)


def likeness_as_wholes(query: Picture, atlas: Picture, world: Affine) -> float:
    """The same before any deformation.

    Args:
        query: the scan.
        atlas: the annotated one.
        world: (4, 4), from the scan's world mm to the atlas's.
    """
    return _correlation(query, atlas, lambda points: moved(points, world))


def _correlation(query: Picture, atlas: Picture, to_atlas: Callable[[Tensor], Tensor]) -> float:
    some = (slice(None, None, max(1, round((query.body.numel() / ENOUGH) ** (1 / 3)))),) * 3
    points = moved(voxel_positions(query.grid.shape)[some], query.grid.affine)
    places = moved(to_atlas(points), np.linalg.inv(atlas.grid.affine))[None]
    seen = sample(atlas.voxels[None, :1], places)[0, 0]
    both = query.body[some] & (sample(atlas.body[None, None].float(), places)[0, 0] > 0.5)
    if int(both.sum()) < FEWEST:
        return 0.0
    correlation = torch.corrcoef(torch.stack([query.voxels[0][some][both], seen[both]]))[0, 1]
    return float(correlation.nan_to_num())
