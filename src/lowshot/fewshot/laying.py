"""Laying an annotated scan upon another: where in the body a slice is, and how examples are moved in their planes.

Ours: published protocols grant the slices of the structure, and move nothing.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowshot.errors import InputError
from lowshot.imaging.grid import Affine, Grid
from lowshot.nn.geometry import Triple
from lowshot.registration.affine import Picture, align, alignment_bytes
from lowshot.transforms.intensity import blur
from lowshot.transforms.slices import sample_slices

SUREST = 0.98
"""Of place alone."""


def lay(query: Picture, example: Picture) -> Affine | None:
    """From voxels of the query to voxels of the example, by what they look like; None where they share too little.

    A picture of one slice has no place along a body, so there is nothing to be found out.
    """
    if 1 in query.grid.shape or 1 in example.grid.shape:
        return None
    try:
        world = align(query, example)
    except InputError:
        return None
    return np.asarray(np.linalg.inv(example.grid.affine) @ world @ query.grid.affine, dtype=np.float64)


def laying_bytes(query: Triple, example: Triple) -> int:
    """Memory that ``lay`` takes at its peak."""
    return alignment_bytes(Grid(query, np.eye(4)), Grid(example, np.eye(4)))


def places(matrix: Affine, query: Grid) -> Float[Tensor, " m"]:
    """At which slice of the example the middle of each query slice lies, in slices, not rounded."""
    i, j, count = query.shape
    middle = np.array([[(i - 1) / 2, (j - 1) / 2, k, 1.0] for k in range(count)])
    return torch.from_numpy(middle @ matrix[2]).float()


def moved_in_plane(
    slices: Float[Tensor, "n c i j"], matrix: Affine, places: Int[Tensor, " n"]
) -> Float[Tensor, "n c i j"]:
    """Each example slice as it lies in a query slice, whatever the distance between the two planes.

    Beyond its borders the last channel, which is the mask, is 0; the others are mirrored.

    Args:
        slices: of the example, one for each query slice.
        matrix: from voxels of the query to voxels of the example.
        places: the query slices, by their index.
    """
    i, j = (torch.arange(size, device=slices.device, dtype=torch.float32) for size in slices.shape[2:])
    a = torch.from_numpy(matrix[:2]).float().to(slices.device)
    x, y = torch.meshgrid(i, j, indexing="ij")
    pixels = x[..., None] * a[:, 0] + y[..., None] * a[:, 1] + a[:, 3]
    pixels = pixels + places.to(slices)[:, None, None, None] * a[:, 2]
    last = torch.tensor(slices.shape[2:], device=slices.device) - 1
    within = ((pixels >= -0.5) & (pixels <= last + 0.5)).all(dim=-1)
    moved = sample_slices(slices, pixels, "bilinear")
    return torch.cat([moved[:, :-1], moved[:, -1:] * within[:, None]], dim=1)


def by_place(masks: Float[Tensor, "n k i j"], softness: float) -> Float[Tensor, "n i j"]:
    """Logits of being inside by place alone: the shots' masks, blurred, between 2 % and 98 %.

    Args:
        masks: of examples that were moved to where they lie in the scan.
        softness: deviation of the Gaussian, as a part of a slice's width.
    """
    likely = masks.mean(dim=1)[:, None, :, :, None]
    width = torch.full((len(masks),), softness * max(masks.shape[2:]), device=masks.device)
    return blur(likely, width)[:, 0, :, :, 0].clamp(1 - SUREST, SUREST).logit()
