"""Smooth random functions of position: sums of plane waves, defined everywhere and on no particular grid."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

Points = Float32[np.ndarray, "3 *space"]
Values = Float32[np.ndarray, "*space"]


@dataclass(frozen=True, eq=False)
class SmoothNoise:
    """Zero-mean noise of standard deviation 1 whose wavelengths stay inside a band.

    f(x) = sqrt(2 / n) · Σ_w cos(k_w · x + φ_w) over n waves, with |k_w| = 2π / wavelength. It is smooth, and
    nowhere steeper than 2π · sqrt(2 n) / shortest wavelength.
    """

    wave_vectors: npt.NDArray[np.float32]
    """(n, 3), in radians per mm."""
    phases: npt.NDArray[np.float32]

    @classmethod
    def draw(
        cls, generator: np.random.Generator, wavelengths_mm: tuple[float, float], waves: int = 20
    ) -> "SmoothNoise":
        """Waves in random directions, with wavelengths uniform in the band."""
        directions = generator.normal(size=(waves, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = generator.uniform(*wavelengths_mm, size=(waves, 1))
        phases = generator.uniform(0.0, 2 * np.pi, size=waves)
        return cls((2 * np.pi * directions / lengths).astype(np.float32), phases.astype(np.float32))

    def __call__(self, points: Points) -> Values:
        """Values at positions in mm."""
        x, y, z = points
        total: Values = np.zeros_like(x)
        for (kx, ky, kz), phase in zip(self.wave_vectors, self.phases, strict=True):
            total += np.cos(kx * x + ky * y + kz * z + phase)
        total *= np.float32(np.sqrt(2 / len(self.phases)))
        return total

    def gradient(self, points: Points) -> Float32[np.ndarray, "3 *space"]:
        """Slope along x, y and z, per mm, at positions in mm."""
        x, y, z = points
        total = np.zeros_like(points)
        for (kx, ky, kz), phase in zip(self.wave_vectors, self.phases, strict=True):
            wave = np.sin(kx * x + ky * y + kz * z + phase)
            for axis, k in enumerate((kx, ky, kz)):
                total[axis] -= k * wave
        total *= np.float32(np.sqrt(2 / len(self.phases)))
        return total
