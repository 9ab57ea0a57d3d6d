"""Where in the atlas ANTs found each point of a scan, from the transforms that it wrote."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lowshot.imaging.grid import Affine, Grid
from lowshot.methods.ants.images import placement


def read_transforms(files: Sequence[str], scan: Grid, atlas: Grid) -> tuple[Affine, Grid, Float[Tensor, "3 i j k"]]:
    """World, grid and field of a ``Correspondence``; without a deformation the field is one voxel of zeros.

    ANTs deforms a scan's points where they are, and then maps them as a whole; a correspondence does it the other way
    round. On the scan's own grid, carried into the atlas by that map, the two are the same: no field is composed.

    Args:
        files: as ``ants.registration`` returns them in ``fwdtransforms``: a field where there is one, and a matrix.
        scan: the grid that ANTs registered to.
        atlas: the grid that it moved.
    """
    *fields, matrix = files
    told = placement(scan).matrix()
    # From voxels to voxels: what ANTs takes for the millimetres of a sheared grid, or of a picture, are not ours.
    mapped = np.linalg.inv(placement(atlas).matrix()) @ _matrix(matrix) @ told
    there = atlas.affine @ mapped
    world = there @ np.linalg.inv(scan.affine)
    if not fields:
        return world, Grid((1, 1, 1), there), torch.zeros(3, 1, 1, 1)
    grid = Grid(scan.shape, there)
    return world, grid, _field(fields[0], told, grid)


def _matrix(file: str) -> Affine:
    """(4, 4), from mm of the scan to mm of the atlas, as ANTs counts them; of pictures without a third axis's part."""
    import ants

    read = ants.read_transform(file, precision="double")
    centre = np.array(read.fixed_parameters, dtype=np.float64)
    axes = len(centre)
    linear, shift = np.split(np.array(read.parameters, dtype=np.float64), [axes * axes])
    made = np.eye(4)
    made[:axes, :axes] = linear.reshape(axes, axes)
    made[:axes, 3] = shift + centre - made[:axes, :axes] @ centre
    return made


def _field(file: str, told: Affine, grid: Grid) -> Float[Tensor, "3 i j k"]:
    """From mm along ANTs's axes to mm along the grid's own."""
    import ants

    image: Any = ants.image_read(file)
    axes = image.dimension
    turn = np.diag(grid.spacing[:axes]) @ np.linalg.inv(told[:axes, :axes])
    values = torch.from_numpy(image.view()).reshape(axes, *grid.shape)
    field = torch.einsum("ab,bijk->aijk", torch.from_numpy(turn).to(values.dtype), values)
    return F.pad(field, (0, 0, 0, 0, 0, 0, 0, 3 - axes))
