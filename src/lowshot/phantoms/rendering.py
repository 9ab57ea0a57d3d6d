"""From a body of shapes to what a scanner sees of it: labels, and intensities with partial volume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16

from lowshot.imaging.grid import Grid
from lowshot.imaging.names import Names
from lowshot.phantoms.deformation import Deformation
from lowshot.phantoms.shapes import Box, Distances, Points, Shape

Extent = Float32[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class Part:
    """One piece of a body. Later parts lie on top of earlier ones."""

    tissue: str
    shape: Shape
    structure: str | None = None
    """The structure it belongs to in a label map; None: background."""


@dataclass(frozen=True, eq=False)
class Body:
    """What one subject is made of, whatever it is imaged with."""

    parts: Sequence[Part]
    deformation: Deformation


@dataclass(frozen=True)
class Material:
    """How one tissue looks in one modality."""

    mean: float | int
    texture: float | int = 0
    """Standard deviation of the coarse texture inside it, in the unit of ``mean``."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """A body on a grid, without noise."""

    labels: Int16[np.ndarray, "i j k"]
    """Indices of the names table; 0 is background."""
    mean: Float32[np.ndarray, "i j k"]
    texture: Float32[np.ndarray, "i j k"]
    """Standard deviation of the texture at every voxel."""


def render(
    body: Body, grid: Grid, materials: Mapping[str, Material], names: Names, surroundings: Material
) -> Rendering:
    """Paint the parts of a body in their order onto what surrounds it (air).

    A voxel belongs to the structure in which its centre lies; what ``names`` does not list is background. Its
    intensity mixes what meets in it, by the share of the voxel that each part covers.
    """
    points = body.deformation.body_points(grid)
    voxel_mm = sum(np.abs(np.diff(points, axis=axis)).max(axis=(1, 2, 3), initial=0.0) for axis in (1, 2, 3))
    labels = np.zeros(grid.shape, dtype=np.int16)
    mean = np.full(grid.shape, surroundings.mean, dtype=np.float32)
    texture = np.full(grid.shape, surroundings.texture, dtype=np.float32)
    for part in body.parts:
        region = _region(points, voxel_mm, part.shape.box)
        if region is None:
            continue
        distances = part.shape.distance(points[:, *region])
        covered = coverage(distances, grid.spacing)
        material = materials[part.tissue]
        mean[region] += covered * (np.float32(material.mean) - mean[region])
        texture[region] += covered * (np.float32(material.texture) - texture[region])
        labels[region][distances < 0] = names.names.index(part.structure) if part.structure in names.names else 0
    return Rendering(labels, mean, texture)


def coverage(distances: Distances, spacing: tuple[float, float, float]) -> Float32[np.ndarray, "i j k"]:
    """Share of each voxel that lies inside a surface, from the signed distances (mm) of the voxel centres.

    Along the normal n of the surface, a voxel is as thick as a slab of sqrt(Σ (n_a spacing_a)²): the volumes of both
    are spread equally around their centres (same variance).
    """
    slope = np.zeros((3, *distances.shape), dtype=np.float32)
    for axis, (size, step) in enumerate(zip(distances.shape, spacing, strict=True)):
        if size > 1:
            slope[axis] = np.gradient(distances, step, axis=axis)
    steepness = np.maximum(np.sqrt((slope**2).sum(axis=0)), np.float32(1e-6))
    steps = np.asarray(spacing, dtype=np.float32).reshape(3, 1, 1, 1)
    thickness = np.sqrt(((slope * steps) ** 2).sum(axis=0)) / steepness
    share = 0.5 - distances / np.maximum(thickness, np.float32(min(spacing)))
    return np.asarray(np.clip(share, 0, 1), dtype=np.float32)


def _region(points: Points, voxel_mm: Extent, box: Box) -> tuple[slice, slice, slice] | None:
    """The voxels around those whose positions lie in a box, found coarsely, then exactly; None: out of the field.

    No voxel extends farther along the axes of the body than ``voxel_mm``. So the cell of a voxel in the box, or at a
    coarser step its block of voxels, has its first corner in a box that is wider by as much.
    """
    low, high = (corner.reshape(3, 1, 1, 1) for corner in box.astype(np.float32))
    start, stop = [0, 0, 0], list(points.shape[1:])
    for step in (4, 1):
        sparse = points[:, *(slice(a, b, step) for a, b in zip(start, stop, strict=True))]
        wider = step * voxel_mm.reshape(3, 1, 1, 1)
        inside = ((sparse > low - wider) & (sparse < high + wider)).all(axis=0)
        if not inside.any():
            return None
        for axis, others in enumerate([(1, 2), (0, 2), (0, 1)]):
            hits = np.flatnonzero(inside.any(axis=others))
            stop[axis] = min(stop[axis], start[axis] + step * int(hits[-1] + 1))
            start[axis] += step * int(hits[0])
    i, j, k = (slice(a, b) for a, b in zip(start, stop, strict=True))
    return i, j, k
