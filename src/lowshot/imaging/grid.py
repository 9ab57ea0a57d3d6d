"""The voxel grid of a scan: its size, and where its voxels lie in the body (RAS+, millimetres)."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the millimetres of DICOM and ITK (to the left, to the back) to ours, and back."""


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

    def same_as(self, other: "Grid", tolerance: float = 0.1) -> bool:
        """Whether the grids agree at every corner to ``tolerance`` times the smallest spacing."""
        return self.distance_mm(other) <= tolerance * min(self.spacing)

    def reordering(self, other: "Grid") -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Axes to transpose an array by, and then axes to flip, so that what lies on this grid lies on the other.

        None where the two do not have the same voxels, each at the same place of the body.
        """
        onto = np.rint(np.linalg.solve(self.affine, other.affine)[:3, :3])
        if not (np.abs(onto).sum(axis=0) == 1).all() or not (np.abs(onto).sum(axis=1) == 1).all():
            return None
        axes = tuple(int(axis) for axis in np.abs(onto).argmax(axis=0))
        flips = tuple(axis for axis in range(3) if onto[axes[axis], axis] < 0)
        back = np.eye(4)
        back[:3, :3] = onto
        for axis in flips:
            back[axes[axis], 3] = self.shape[axes[axis]] - 1
        i, j, k = (self.shape[axis] for axis in axes)
        return (axes, flips) if other.same_as(Grid((i, j, k), self.affine @ back)) else None
