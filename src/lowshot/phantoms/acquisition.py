"""What a scanner adds to what it sees: texture, noise, and in MR uneven coils."""

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter

from lowshot.imaging.grid import Grid
from lowshot.phantoms.noise import SmoothNoise
from lowshot.phantoms.rendering import Rendering
from lowshot.phantoms.variability import Variability

FULL_SCALE = 1000.0
"""The brightest tissue of an MR scan, before the scanner's own gain."""


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


def mr_image(
    rendering: Rendering, grid: Grid, own: Variability, noise_level: float, bias_spread: float
) -> Float32[np.ndarray, "i j k"]:
    """What an MR scanner stores of a body: magnitudes in an arbitrary unit, whole numbers from 0.

    Means, textures and ``noise_level`` (standard deviation in each of the two channels, of the average scan) are parts
    of ``FULL_SCALE``; ``bias_spread`` is the standard deviation of the bias field's logarithm.
    """
    noise, field = own.of("noise"), own.of("bias field")
    coarse = correlated_noise(noise.generator, grid.shape, grid.spacing, (4.0, 4.0, 4.0))
    signal = np.maximum(rendering.mean + rendering.texture * coarse, np.float32(0.0))
    signal *= bias_field(field.generator, grid, bias_spread)
    magnitude = rician(noise.generator, signal, noise_level * noise.factor(0.2))
    gain = own.of("gain").factor(0.3)
    return np.asarray(np.rint(np.clip(gain * magnitude, 0.0, 32767.0)), dtype=np.float32)


def bias_field(generator: np.random.Generator, grid: Grid, spread: float) -> Float32[np.ndarray, "i j k"]:
    """How much of the signal the coils receive at every voxel: exp of smooth noise with this standard deviation.

    It changes over 250 mm and more, as the sensitivity of coils around the body does.
    """
    noise = SmoothNoise.draw(generator, (250.0, 500.0), waves=8)
    axes = (np.arange(size, dtype=np.float32) * step for size, step in zip(grid.shape, grid.spacing, strict=True))
    positions_mm = np.stack(np.meshgrid(*axes, indexing="ij"))
    return np.exp(np.float32(spread) * noise(positions_mm))


def rician(
    generator: np.random.Generator, signal: Float32[np.ndarray, "i j k"], level: float
) -> Float32[np.ndarray, "i j k"]:
    """The magnitude of a signal with Gaussian noise of this standard deviation in its real and imaginary channel."""
    real, imaginary = generator.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(level)
    magnitude: Float32[np.ndarray, "i j k"] = np.hypot(signal + real, imaginary)
    return magnitude
