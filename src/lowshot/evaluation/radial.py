"""Averaged radial error of a contour in a 2-D image, as breast ultrasound is scored (MRE-Net, Table XII).

Its original definition was not available to us. The number of rays, the outermost crossing and what is done where a
ray misses a contour are ours.
"""

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float
from scipy import ndimage

RAYS = 180
STEP_PIXELS = 0.25
"""How finely a ray is searched for the contour; thinner parts of a mask may be missed."""
HALVINGS = 20


def radial_error(
    prediction: Bool[np.ndarray, "i j"], truth: Bool[np.ndarray, "i j"], spacing: tuple[float, float] = (1.0, 1.0)
) -> float:
    """(1/n) Σ_i |C_s(i) − C_r(i)| / |C_r(i) − C_o| over n rays at equal angles from the truth's centroid C_o.

    C_r(i) and C_s(i) are where ray i leaves truth and prediction for the last time; a contour runs half way between
    the centres of a pixel inside and one outside. A ray that misses the prediction counts as an error of the whole
    radius, that is 1, so an empty prediction has the error 1. One that misses the truth, as it may where the centroid
    lies outside of it, has no radius to compare with and is left out. An empty truth has no centroid: NaN.

    Args:
        prediction: mask of one structure.
        truth: its mask on the same grid.
        spacing: of pixels along both axes, in any unit.
    """
    if not truth.any():
        return float("nan")
    box = tuple(slice(part.start, part.stop) for part in ndimage.find_objects((prediction | truth).view(np.uint8))[0])
    predicted, true = (np.pad(mask[box], 1).astype(np.float64) for mask in (prediction, truth))
    centroid = np.array(ndimage.center_of_mass(true))
    true_radii = _radii(true, centroid, np.array(spacing))
    compared = true_radii > STEP_PIXELS * min(spacing)  # nor is a contour through the centroid a radius
    if not compared.any():
        return float("nan")
    predicted_radii = np.nan_to_num(_radii(predicted, centroid, np.array(spacing)), nan=0.0)  # an error of 1
    return float((abs(predicted_radii - true_radii)[compared] / true_radii[compared]).mean())


def _radii(
    mask: Float[np.ndarray, "i j"], centre: Float[np.ndarray, " 2"], spacing: Float[np.ndarray, " 2"]
) -> npt.NDArray[np.float64]:
    """How far from the centre each ray leaves the mask for the last time; NaN where it does not meet it."""
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    directions = np.stack([np.cos(angles), np.sin(angles)]) / spacing[:, None]

    def inside(radii: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        points = centre[:, None, None] + directions[:, :, None] * radii
        values = ndimage.map_coordinates(mask, points, order=1, mode="grid-constant")
        return np.asarray(values >= 0.5)

    step = STEP_PIXELS * spacing.min()
    farthest = np.linalg.norm(np.array(mask.shape) * spacing)
    steps = np.arange(0, farthest + step, step)
    met = inside(steps[None])
    last = met.shape[1] - 1 - met[:, ::-1].argmax(axis=1)
    low = steps[last][:, None]
    high = low + step
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        still = inside(middle)
        low, high = np.where(still, middle, low), np.where(still, high, middle)
    return np.where(met.any(axis=1), low[:, 0], np.nan)
