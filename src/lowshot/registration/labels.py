"""Moving label maps: every structure as a picture of its own, linearly interpolated, one structure after the other."""

from collections.abc import Iterator
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor


def shares(
    labels: Int[Tensor, "i j k"], positions: Float[Tensor, "x y z 3"]
) -> Iterator[tuple[int, Float[Tensor, "x y z"]]]:
    """For each structure that has any: which share of it linear interpolation finds at each position, in voxels.

    The same as interpolating the structure's one-hot map, without ever making one: the eight voxels around a position
    are read once, and their weights summed where they are of this structure. Background (0) always comes, and takes
    what lies outside; together the shares of a position are 1.
    """
    around, weights = _corners(labels, positions)
    present = torch.unique(around).tolist()
    for label in dict.fromkeys([0, *present]):
        yield label, (weights * (around == label)).sum(dim=0)


def _corners(
    labels: Int[Tensor, "i j k"], positions: Float[Tensor, "x y z 3"]
) -> tuple[Int[Tensor, "8 x y z"], Float[Tensor, "8 x y z"]]:
    """The labels of the eight voxels around each position, and their weights."""
    lower = positions.floor()
    beyond = (positions - lower).unbind(-1)
    first = lower.long().unbind(-1)
    inside = [_line(index, size) for index, size in zip(first, labels.shape, strict=True)]
    flat, (_, sizes_j, sizes_k) = labels.flatten(), labels.shape
    found, weights = [], []
    for corner in product((0, 1), repeat=3):
        (i, in_i), (j, in_j), (k, in_k) = (inside[axis][step] for axis, step in enumerate(corner))
        value = flat[(i * sizes_j + j) * sizes_k + k]
        found.append(torch.where(in_i & in_j & in_k, value, 0))
        near = [part if step else 1 - part for part, step in zip(beyond, corner, strict=True)]
        weights.append(near[0] * near[1] * near[2])
    return torch.stack(found), torch.stack(weights)


def _line(index: Int[Tensor, "x y z"], size: int) -> list[tuple[Tensor, Tensor]]:
    """Along one axis: the voxel and the next one, kept inside; and whether they are."""
    both = [(index + step) for step in (0, 1)]
    return [(each.clamp(0, size - 1), (each >= 0) & (each < size)) for each in both]
