"""Smooth solid shapes in body coordinates (RAS, mm), as signed distances that can be blended.

A distance is negative inside, and right to first order at the surface, which is all that painting needs. Organs are
put together from few of these: a kidney is a short thick tube with its hilum taken out, a liver two blended
ellipsoids kept inside the diaphragm.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32
from scipy.interpolate import PchipInterpolator, make_interp_spline
from scipy.spatial import cKDTree

from lowshot.phantoms.noise import SmoothNoise

Vector = npt.NDArray[np.float64]
Points = Float32[np.ndarray, "3 *space"]
Distances = Float32[np.ndarray, "*space"]
Box = npt.NDArray[np.float64]
"""(2, 3): lower and upper corner in mm."""


def mm(x: float | int, y: float | int, z: float | int) -> Vector:
    """A position or three lengths in mm, ready for arithmetic."""
    return np.array([x, y, z], dtype=np.float64)


class Shape(ABC):
    """A solid."""

    @property
    def box(self) -> Box:
        """A box that holds all of it; infinite unless the shape knows better."""
        return np.array([[-np.inf] * 3, [np.inf] * 3])

    @abstractmethod
    def distance(self, points: Points) -> Distances:
        """Signed distance in mm from the surface, negative inside."""

    def grown(self, millimetres: float) -> "Shape":
        """The same shape, thicker by ``millimetres`` on every side; thinner where negative."""
        return Grown(self, millimetres)

    def joined(self, other: "Shape", blend_mm: float = 0.0) -> "Shape":
        """Both together, with the seam filled over ``blend_mm``."""
        return Union(self, other, blend_mm)

    def minus(self, other: "Shape", blend_mm: float = 0.0) -> "Shape":
        """What is left after taking ``other`` out, with edges rounded over ``blend_mm``."""
        return Difference(self, other, blend_mm)

    def within(self, other: "Shape", blend_mm: float = 0.0) -> "Shape":
        """What lies in both, with edges rounded over ``blend_mm``."""
        return Intersection(self, other, blend_mm)

    def uneven(self, noise: SmoothNoise, millimetres: float) -> "Shape":
        """The same shape with its surface moved in and out by ``millimetres`` (standard deviation)."""
        return Uneven(self, noise, millimetres)


@dataclass(frozen=True, eq=False)
class Ellipsoid(Shape):
    """Superellipsoid: Σ |q_a / r_a|^exponent = 1 in its own axes; 2 is the ellipsoid, larger is boxier."""

    centre_mm: Vector
    radii_mm: Vector
    axes: npt.NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    """Columns are the directions of the three radii."""
    exponent: float = 2.0

    @property
    def box(self) -> Box:
        reach = np.abs(self.axes) @ self.radii_mm
        return np.stack([self.centre_mm - reach, self.centre_mm + reach])

    def distance(self, points: Points) -> Distances:
        own = np.tensordot(self.axes.T.astype(np.float32), points - _like(self.centre_mm, points), axes=1)
        return _superelliptic_distance(own, _like(self.radii_mm, points), self.exponent)


class Column(Shape):
    """A trunk: superelliptic cross-sections whose centre (x, y) and radii (x, y) change smoothly along z."""

    def __init__(self, sections_mm: npt.ArrayLike, exponent: float = 2.0) -> None:
        """Cross-sections as rows (z, centre x, centre y, radius x, radius y), from below to above."""
        table = np.asarray(sections_mm, dtype=np.float64)
        every_mm = np.arange(table[0, 0], table[-1, 0] + 1.0)
        self.exponent = exponent
        self._bottom_mm = np.float32(table[0, 0])
        self._profile = PchipInterpolator(table[:, 0], table[:, 1:])(every_mm).T.astype(np.float32)

    def distance(self, points: Points) -> Distances:
        x, y, z = points
        level = np.clip(np.rint(z - self._bottom_mm), 0, self._profile.shape[1] - 1).astype(np.intp)
        cx, cy, rx, ry = self._profile[:, level]
        return _superelliptic_distance(np.stack([x - cx, y - cy]), np.stack([rx, ry]), self.exponent)


@dataclass(frozen=True, eq=False)
class Tube(Shape):
    """A round tube with round ends, around a curve that a dense row of points stands for."""

    centreline_mm: npt.NDArray[np.float64]
    """(n, 3)"""
    radii_mm: npt.NDArray[np.float64]
    """(n,)"""

    @classmethod
    def through(
        cls,
        knots_mm: npt.ArrayLike,
        radii_mm: npt.ArrayLike | float,
        ripple: float = 0.0,
        ripple_length_mm: float = 30.0,
    ) -> "Tube":
        """Along a smooth curve through knots (n, 3), with one radius or (n,); they change smoothly in between.

        ``ripple`` narrows and widens the tube by this share of its radius, once every ``ripple_length_mm``.
        """
        knots = np.asarray(knots_mm, dtype=np.float64)
        radii = np.broadcast_to(np.asarray(radii_mm, dtype=np.float64), len(knots))
        along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
        # Points 2 mm apart leave the surface of a tube of radius r right to 1 / (2 r) mm.
        samples = np.linspace(0.0, along[-1], int(np.ceil(along[-1] / 2.0)) + 1)
        centreline = make_interp_spline(along, knots, k=min(3, len(knots) - 1))(samples)
        waves = 1.0 + ripple * np.sin(2 * np.pi * samples / ripple_length_mm)
        return cls(centreline, PchipInterpolator(along, radii)(samples) * waves)

    def mirrored(self) -> "Tube":
        """The same tube on the other side of the body."""
        return Tube(self.centreline_mm * (-1, 1, 1), self.radii_mm)

    @property
    def box(self) -> Box:
        around = self.radii_mm[:, None]
        return np.stack([(self.centreline_mm - around).min(axis=0), (self.centreline_mm + around).max(axis=0)])

    def distance(self, points: Points) -> Distances:
        # Farther out nothing is painted and no blend reaches; the search is much faster for knowing it.
        far = float(self.radii_mm.max()) + 15.0
        reach, nearest = cKDTree(self.centreline_mm).query(points.reshape(3, -1).T, distance_upper_bound=far)
        radii = np.append(self.radii_mm, 0.0)[nearest]  # "none found" has the index one past the end
        return np.asarray((np.minimum(reach, far) - radii).reshape(points.shape[1:]), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class HalfSpace(Shape):
    """All that lies behind a plane; ``outward`` points away from it."""

    point_mm: Vector
    outward: Vector

    def distance(self, points: Points) -> Distances:
        normal = self.outward / np.linalg.norm(self.outward)
        return np.tensordot(normal.astype(np.float32), points - _like(self.point_mm, points), axes=1)


@dataclass(frozen=True, eq=False)
class Grown(Shape):
    """See ``Shape.grown``."""

    shape: Shape
    millimetres: float

    @property
    def box(self) -> Box:
        return _widened(self.shape.box, self.millimetres)

    def distance(self, points: Points) -> Distances:
        return self.shape.distance(points) - np.float32(self.millimetres)


@dataclass(frozen=True, eq=False)
class Union(Shape):
    """See ``Shape.joined``."""

    first: Shape
    second: Shape
    blend_mm: float

    @property
    def box(self) -> Box:
        (low, high), (other_low, other_high) = self.first.box, self.second.box
        return _widened(np.stack([np.minimum(low, other_low), np.maximum(high, other_high)]), self.blend_mm / 4)

    def distance(self, points: Points) -> Distances:
        return _smooth_minimum(self.first.distance(points), self.second.distance(points), self.blend_mm)


@dataclass(frozen=True, eq=False)
class Difference(Shape):
    """See ``Shape.minus``."""

    shape: Shape
    removed: Shape
    blend_mm: float

    @property
    def box(self) -> Box:
        return self.shape.box

    def distance(self, points: Points) -> Distances:
        return -_smooth_minimum(-self.shape.distance(points), self.removed.distance(points), self.blend_mm)


@dataclass(frozen=True, eq=False)
class Intersection(Shape):
    """See ``Shape.within``."""

    first: Shape
    second: Shape
    blend_mm: float

    @property
    def box(self) -> Box:
        (low, high), (other_low, other_high) = self.first.box, self.second.box
        return np.stack([np.maximum(low, other_low), np.minimum(high, other_high)])

    def distance(self, points: Points) -> Distances:
        return -_smooth_minimum(-self.first.distance(points), -self.second.distance(points), self.blend_mm)


@dataclass(frozen=True, eq=False)
class Uneven(Shape):
    """See ``Shape.uneven``."""

    shape: Shape
    noise: SmoothNoise
    millimetres: float

    @property
    def box(self) -> Box:
        return _widened(self.shape.box, 4 * self.millimetres)  # noise beyond four standard deviations is rare

    def distance(self, points: Points) -> Distances:
        return self.shape.distance(points) + np.float32(self.millimetres) * self.noise(points)


def _like(vector: Vector, points: Points) -> npt.NDArray[np.float32]:
    """A vector in the points' type, shaped to be broadcast against them."""
    return np.asarray(vector, dtype=np.float32).reshape(3, *[1] * (points.ndim - 1))


def _widened(box: Box, millimetres: float) -> Box:
    return box + millimetres * np.array([[-1.0], [1.0]])


def _superelliptic_distance(
    offsets: npt.NDArray[np.float32], radii: npt.NDArray[np.float32], exponent: float
) -> Distances:
    """(f - 1) / |∇f| with f = (Σ |q_a / r_a|^n)^(1/n): the distance to first order at the surface f = 1."""
    ratios = np.maximum(np.abs(offsets) / radii, np.float32(1e-4))  # the centre itself has no gradient
    f = (ratios**exponent).sum(axis=0) ** np.float32(1 / exponent)
    gradient = (ratios / f) ** np.float32(exponent - 1) / radii
    return np.asarray((f - 1) / np.sqrt((gradient**2).sum(axis=0)), dtype=np.float32)


def _smooth_minimum(a: Distances, b: Distances, blend_mm: float) -> Distances:
    """min(a, b), lowered where they are closer than ``blend_mm``: by a quarter of it where they are equal."""
    smaller: Distances = np.minimum(a, b)
    if blend_mm > 0:
        overlap = np.maximum(np.float32(blend_mm) - np.abs(a - b), 0) / np.float32(blend_mm)
        smaller -= overlap**2 * np.float32(blend_mm / 4)
    return smaller
