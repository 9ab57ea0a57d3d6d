"""The voxel grid of a scan: its size, and where its voxels lie in the body (RAS+, millimetres)."""

from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the millimetres of DICOM and ITK (to the left, to the back) to ours, and back."""

ROUNDED = 0.5
"""Up to so much of a voxel each lies nearer to its own than to any neighbour, as where digits of a header were dropped.
"""

_OF_A_PART = 0.1
"""The same for a box in a larger grid, which some place within always suits to half a voxel."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape (i, j, k) and the 4×4 float64 affine from voxel indices to RAS+ millimetres.

    The affine may be oblique or sheared. A 2-D image has one slice, k = 1.
    """

    shape: tuple[int, int, int]
    affine: Affine

    def __post_init__(self) -> None:
        if self.affine.shape != (4, 4) or self.affine.dtype != np.float64:
            raise ValueError(f"affine: expected (4, 4) float64, got {self.affine.shape} {self.affine.dtype}")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape: expected three positive sizes, got {self.shape}")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxels along i, j and k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm³, right for sheared grids too."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def corners(self) -> npt.NDArray[np.float64]:
        """World positions (8, 3) in mm of the centres of the eight corner voxels."""
        ends = [(0, size - 1) for size in self.shape]
        indices = np.array([[*corner, 1] for corner in product(*ends)], dtype=np.float64)
        return np.asarray((indices @ self.affine.T)[:, :3], dtype=np.float64)

    def distance_mm(self, other: "Grid") -> float:
        """How far apart (mm) the corners of two grids lie at most; infinite if their shapes differ.

        Header noise of 1e-8 in a direction cosine stays far below a voxel here, a real shift does not.
        """
        if self.shape != other.shape:
            return float("inf")
        return float(np.linalg.norm(self.corners() - other.corners(), axis=1).max())

    def apart(self, other: "Grid") -> str:
        """The same in words, for messages."""
        if self.shape != other.shape:
            return "shapes differ"
        return f"{self.distance_mm(other):.3g} mm apart at the corners"

    def same_as(self, other: "Grid", tolerance: float = ROUNDED) -> bool:
        """Whether voxels of one index are one voxel: corners agree to ``tolerance`` times the smallest spacing."""
        return self.distance_mm(other) <= tolerance * min(self.spacing)

    def arrangement(self, other: "Grid") -> "Arrangement | None":
        """How an array on this grid has to be arranged so that it lies on the other.

        None where its voxels are no voxels of the other, each at the same place of the body.
        """
        onto = np.rint(np.linalg.solve(self.affine, other.affine)[:3, :3])
        if not (np.abs(onto).sum(axis=0) == 1).all() or not (np.abs(onto).sum(axis=1) == 1).all():
            return None
        first, second, third = (int(axis) for axis in np.abs(onto).argmax(axis=0))
        axes = first, second, third
        flips = tuple(axis for axis in range(3) if onto[axes[axis], axis] < 0)
        back = np.eye(4)
        back[:3, :3] = onto
        for axis in flips:
            back[axes[axis], 3] = self.shape[axes[axis]] - 1
        arranged = Grid((self.shape[first], self.shape[second], self.shape[third]), self.affine @ back)
        i, j, k = (int(index) for index in np.rint(np.linalg.solve(other.affine, arranged.affine[:, 3]))[:3])
        found = Arrangement(axes, flips, (i, j, k), other.shape)
        tolerance = ROUNDED if arranged.shape == other.shape else _OF_A_PART
        same = other.part((i, j, k), arranged.shape).same_as(arranged, tolerance)
        return found if same and found.fits(arranged.shape) else None

    def part(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> "Grid":
        """The grid of a box of its voxels, which may reach beyond it."""
        affine = self.affine.copy()
        affine[:, 3] = self.affine @ np.array([*start, 1.0])
        return Grid(shape, affine)


@dataclass(frozen=True)
class Arrangement:
    """How an array on one grid comes to lie on another, which has all of its voxels, in another order or among more."""

    axes: tuple[int, int, int]
    """To transpose it by."""
    flips: tuple[int, ...]
    """Axes to flip it along, then."""
    start: tuple[int, int, int]
    """Where its first voxel is then found."""
    shape: tuple[int, int, int]
    """Of the other grid."""

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a box of this shape, arranged already, lies within the other grid."""
        ends = (begin + size for begin, size in zip(self.start, shape, strict=True))
        return min(self.start) >= 0 and all(end <= size for end, size in zip(ends, self.shape, strict=True))

    def covers(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape, not arranged yet, has a voxel for each of the other grid's."""
        return tuple(shape[axis] for axis in self.axes) == self.shape

    @property
    def keeps_order(self) -> bool:
        """Whether voxels follow each other as before."""
        return self.axes == (0, 1, 2) and not self.flips

    def apply(self, array: npt.NDArray[Scalar], around: int | bool) -> npt.NDArray[Scalar]:
        """The array (i, j, k), arranged, with the value ``around`` wherever the other grid has voxels beyond it.

        It gets a larger type where its own cannot hold that value.
        """
        arranged = np.flip(array.transpose(self.axes), self.flips)
        if arranged.shape == self.shape:
            return arranged
        whole = np.full(self.shape, around, dtype=np.result_type(array.dtype, np.min_scalar_type(around)))
        box = tuple(slice(begin, begin + size) for begin, size in zip(self.start, arranged.shape, strict=True))
        whole[box] = arranged
        return whole
