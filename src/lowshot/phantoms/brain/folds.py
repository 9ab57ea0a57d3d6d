"""Sulci: narrow clefts that run from the surface of a solid towards its middle, in a random winding pattern."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowshot.phantoms.noise import SmoothNoise
from lowshot.phantoms.shapes import Box, Distances, Points, Shape, Vector


@dataclass(frozen=True, eq=False)
class Sulci:
    """Sheets on which a smooth noise is zero, read on an ellipsoid and carried along the rays from its centre.

    So all sheets stand on the surface, and neighbours are half a wavelength apart.
    """

    centre_mm: Vector
    radii_mm: Vector
    pattern: SmoothNoise

    def distance(self, points: Points) -> Distances:
        """Distance (mm) from the nearest sheet, to first order near it."""
        offsets = points - _column(self.centre_mm, points)
        radii = _column(self.radii_mm, points)
        reach = np.maximum(np.sqrt(((offsets / radii) ** 2).sum(axis=0)), np.float32(0.2))
        on_ellipsoid = offsets / reach
        slope = np.sqrt((self.pattern.gradient(on_ellipsoid) ** 2).sum(axis=0)) / reach
        # Where sheets meet the noise is flat. A least slope keeps the clefts from widening into lakes there.
        typical = np.sqrt((self.pattern.wave_vectors**2).sum(axis=1).mean())
        return np.asarray(np.abs(self.pattern(on_ellipsoid)) / np.maximum(slope, 0.5 * typical), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Folded(Shape):
    """A solid with sulci of this width, none of which reaches into ``deep``."""

    hull: Shape
    sulci: Sulci
    deep: Shape
    width_mm: float

    @property
    def box(self) -> Box:
        return self.hull.box

    def distance(self, points: Points) -> Distances:
        beside = self.sulci.distance(points) - np.float32(self.width_mm / 2)
        cleft = np.maximum(beside, -self.deep.distance(points))
        brain: Distances = np.maximum(self.hull.distance(points), -cleft)
        return brain


def _column(vector: Vector, points: Points) -> npt.NDArray[np.float32]:
    return vector.astype(np.float32).reshape(3, *[1] * (points.ndim - 1))
