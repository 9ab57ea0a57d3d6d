"""What a scanner adds to what it sees: texture and noise."""

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter


def correlated_noise(
    generator: np.random.Generator,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    width_mm: tuple[float, float, float],
) -> Float32[np.ndarray, "i j k"]:
    """Gaussian noise of standard deviation 1, blurred by ``width_mm`` (standard deviation along each axis)."""
    white = generator.standard_normal(shape, dtype=np.float32)
    sigma = [width / step for width, step in zip(width_mm, spacing, strict=True)]
    blurred: Float32[np.ndarray, "i j k"] = gaussian_filter(white, sigma, truncate=3.0)
    blurred /= blurred.std()
    return blurred


def ct_noise(
    generator: np.random.Generator, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> Float32[np.ndarray, "i j k"]:
    """Noise of standard deviation 1 as filtered back-projection leaves it: little at low frequencies, in the plane.

    The difference of two blurs of one noise is a band-pass, close to a ramp filter times its window.
    """
    white = generator.standard_normal(shape, dtype=np.float32)
    fine, coarse = ((width / spacing[0], width / spacing[1], 0.8 / spacing[2]) for width in (0.9, 3.0))
    noise: Float32[np.ndarray, "i j k"] = gaussian_filter(white, fine, truncate=3.0)
    noise -= np.float32(0.7) * gaussian_filter(white, coarse, truncate=3.0)
    noise /= noise.std()
    return noise
