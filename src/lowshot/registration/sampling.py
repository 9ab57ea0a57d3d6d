"""Reading a volume between its voxels: at any positions, or on another grid that may lie obliquely to it."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lowshot.imaging.grid import Grid

Outside = Literal["zeros", "border"]
Matrix = npt.NDArray[np.floating[Any]]
"""(4, 4), float64."""

_BLUR_RADIUS = 3
"""Standard deviations after which a Gaussian is cut."""


def voxel_positions(shape: tuple[int, int, int], device: torch.device | None = None) -> Float[Tensor, "x y z 3"]:
    """The index (i, j, k) of every voxel of a grid."""
    axes = [torch.arange(size, dtype=torch.float32, device=device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def moved(positions: Float[Tensor, "*n 3"], matrix: Matrix) -> Float[Tensor, "*n 3"]:
    """Positions under a (4, 4) matrix, such as from voxels to millimetres, or to the voxels of another grid."""
    M = torch.from_numpy(np.asarray(matrix, dtype=np.float32)).to(positions)
    return positions @ M[:3, :3].T + M[:3, 3]


def sample(
    volume: Float[Tensor, "b c i j k"], positions: Float[Tensor, "b x y z 3"], outside: Outside = "zeros"
) -> Float[Tensor, "b c x y z"]:
    """Linear interpolation at positions in voxels; differentiable in both arguments.

    "zeros": what lies outside is 0. "border": it is as at the nearest voxel.
    """
    sizes = torch.tensor(volume.shape[2:], dtype=positions.dtype, device=positions.device)
    scaled = (2 * positions + 1) / sizes - 1
    return F.grid_sample(volume, scaled.flip(-1).to(volume.dtype), padding_mode=outside, align_corners=False)


def onto_grid(
    volume: Float[Tensor, "c i j k"],
    grid: Grid,
    target: Grid,
    world: Matrix | None = None,
    outside: Outside = "zeros",
) -> Float[Tensor, "c x y z"]:
    """A volume on another grid. Where that is coarser the volume is blurred first, so that fine detail does not alias.

    Args:
        volume: on ``grid``.
        grid: where the volume lies, RAS+ mm.
        target: where its values are wanted.
        world: (4, 4), from mm of ``target`` to mm of ``grid``, as an alignment found it; None: they are the same.
        outside: what lies outside of the volume.
    """
    there = np.eye(4) if world is None else world
    matrix = np.linalg.inv(grid.affine) @ there @ target.affine
    steps = np.abs(matrix[:3, :3]).max(axis=1)  # voxels of the volume per voxel of the target, along its own axes
    blurred = blur(volume[None].float(), (float(steps[0]), float(steps[1]), float(steps[2])))
    positions = moved(voxel_positions(target.shape, volume.device), matrix)
    return sample(blurred, positions[None], outside)[0]


def blur(volume: Float[Tensor, "b c i j k"], steps: tuple[float, float, float]) -> Float[Tensor, "b c i j k"]:
    """Gaussian as wide (full width at half maximum) as a step, in voxels; along axes with steps of up to 1, nothing."""
    for axis, step in enumerate(steps, start=2):
        if step > 1.0 + 1e-3 and volume.shape[axis] > 1:
            volume = _blur_along(volume, axis, sigma=step / 2.355)
    return volume


def _blur_along(volume: Tensor, axis: int, sigma: float) -> Tensor:
    """By whole planes, each with its weight, which is ten times faster than convolving lines."""
    radius, size = max(1, round(_BLUR_RADIUS * sigma)), volume.shape[axis]
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    first, *others = (weights / weights.sum()).tolist()
    ends = [radius if each == axis else 0 for each in (4, 3, 2) for _ in range(2)]
    padded = F.pad(volume, ends, mode="replicate")
    result: Tensor = padded.narrow(axis, 0, size) * first
    for start, weight in enumerate(others, start=1):
        result = result.add_(padded.narrow(axis, start, size), alpha=weight)
    return result
