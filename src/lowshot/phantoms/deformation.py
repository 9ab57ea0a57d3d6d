"""From scanner coordinates to the coordinates of the average body: pose, size, and a smooth random warp."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32

from lowshot.imaging.grid import Grid
from lowshot.phantoms.noise import SmoothNoise
from lowshot.phantoms.variability import Variability

LATTICE_MM = 6.0
"""The warp is evaluated this densely and interpolated, which is right to a tenth of a millimetre."""


@dataclass(frozen=True, eq=False)
class Deformation:
    """Where each position in the scanner lies in the average body."""

    axes: npt.NDArray[np.float64]
    """Rotation matrix of the pose: columns are the body's axes in the scanner."""
    shift_mm: npt.NDArray[np.float64]
    """Where the origin of the body lies in the scanner."""
    size: npt.NDArray[np.float64]
    """Size of this body along its x, y and z, relative to the average one."""
    warp: tuple[SmoothNoise, SmoothNoise, SmoothNoise]
    warp_mm: float
    """Standard deviation of the warp along each axis."""

    @classmethod
    def draw(cls, variability: Variability, warp_mm: float = 4.5) -> "Deformation":
        """A pose on the couch, a body size, and a warp that keeps neighbours in order; ``warp_mm`` is for amount 1."""
        pose, size, warp = (variability.of(part) for part in ("pose", "size", "warp"))
        overall = size.by(0.05)
        return cls(
            axes=pose.axes(spread_degrees=3.0),
            shift_mm=pose.shift(8.0),
            size=np.exp([overall + size.by(0.05) for _ in range(3)]),
            warp=(warp.noise(120.0, 300.0), warp.noise(120.0, 300.0), warp.noise(120.0, 300.0)),
            warp_mm=warp_mm * variability.amount,
        )

    def body_points(self, grid: Grid) -> Float32[np.ndarray, "3 i j k"]:
        """Positions (mm) in the average body of all voxel centres of a grid."""
        affine = np.linalg.inv(self._scanner_from_body()) @ grid.affine
        points = _affine_points(affine, [np.arange(size, dtype=np.float64) for size in grid.shape])
        sparse = [_sparse_indices(size, step) for size, step in zip(grid.shape, grid.spacing, strict=True)]
        lattice = _affine_points(affine, sparse)
        displacement = np.stack([self.warp_mm * noise(lattice) for noise in self.warp])
        points += _upsampled(displacement, grid.shape)
        return points

    def _scanner_from_body(self) -> npt.NDArray[np.float64]:
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes * self.size
        matrix[:3, 3] = self.shift_mm
        return matrix


def _affine_points(
    affine: npt.NDArray[np.float64], indices: Sequence[npt.NDArray[np.float64]]
) -> Float32[np.ndarray, "3 i j k"]:
    """Positions of the lattice that the three index vectors span."""
    along_i, along_j, along_k = (
        affine[:3, axis].reshape(3, 1, 1, 1) * np.expand_dims(index, [a for a in range(3) if a != axis])
        for axis, index in enumerate(indices)
    )
    return (along_i + along_j + along_k + affine[:3, 3].reshape(3, 1, 1, 1)).astype(np.float32)


def _sparse_indices(size: int, step_mm: float) -> npt.NDArray[np.float64]:
    """From the first to the last index of an axis, not more than ``LATTICE_MM`` apart."""
    return np.linspace(0.0, size - 1, int(np.ceil((size - 1) * step_mm / LATTICE_MM)) + 1)


def _upsampled(values: Float32[np.ndarray, "3 a b c"], shape: tuple[int, int, int]) -> Float32[np.ndarray, "3 i j k"]:
    field = torch.nn.functional.interpolate(
        torch.from_numpy(values.astype(np.float32))[None], size=shape, mode="trilinear", align_corners=True
    )
    return field[0].numpy()
