"""Abdominal CT in Hounsfield units, of synthetic bodies with known truth."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter

from lowshot.imaging.grid import Grid
from lowshot.imaging.scan import LabelledScan
from lowshot.phantoms.abdomen.body import BTCV, CENTRE_MM, FIELD_OF_VIEW_MM, body
from lowshot.phantoms.acquisition import correlated_noise, ct_noise
from lowshot.phantoms.rendering import Material, Rendering, render
from lowshot.phantoms.scanning import annotated, centred_grid, labelled_scan
from lowshot.phantoms.variability import Variability

AIR_HU, COUCH_HU = -1000.0, -150.0

# What takes up no contrast agent, in Hounsfield units.
PLAIN = {
    "skin": Material(20),
    "fat": Material(-102, 9),
    "visceral fat": Material(-98, 14),
    "lung": Material(-830, 28),
    "cortical bone": Material(620, 80),
    "cancellous bone": Material(190, 40),
    "disc": Material(85, 8),
    "spinal cord": Material(35),
    "cartilage": Material(110, 20),
    "bile": Material(8, 3),
    "gas": Material(-950, 15),
    "gastric content": Material(35, 22),
    "bowel fluid": Material(35, 20),
    "stool": Material(5, 75),
    "renal pelvis": Material(20),
    "cyst": Material(8, 3),
    "metastasis": Material(62, 9),
    "infarct": Material(48, 6),
}

# What does: mean HU at these times after injection, from the late arterial to the delayed phase, and texture.
TIMES_S = (35.0, 50.0, 70.0, 120.0)
ENHANCING = {
    "arterial blood": ((300, 200, 150, 120), 2),
    "venous blood": ((80, 120, 140, 120), 6),
    "portal vein": ((110, 170, 165, 125), 2),
    "hepatic vein": ((65, 115, 150, 125), 2),
    "liver": ((65, 90, 110, 100), 5),
    "spleen": ((130, 128, 120, 105), 5),
    "renal cortex": ((190, 200, 185, 150), 6),
    "renal medulla": ((70, 110, 160, 150), 8),
    "pancreas": ((110, 115, 98, 82), 12),
    "gut wall": ((80, 95, 90, 78), 10),
    "muscle": ((58, 62, 65, 64), 11),
    "adrenal gland": ((80, 85, 80, 65), 4),
    "myocardium": ((110, 115, 110, 100), 5),
}


def subject(
    seed: int,
    shape: tuple[int, int, int] | int = (128, 128, 96),
    spacing_mm: tuple[float, float, float] | None = None,
    variation: float = 1.0,
    structures: Sequence[str] | None = None,
) -> LabelledScan:
    """The scan and the truth of one subject, stored as CT is: i to the left, j to the back, k to the head.

    Args:
        seed: two subjects of one seed are equal, voxel by voxel.
        shape: number of voxels; one number stands for all three axes.
        spacing_mm: without it, the voxels share a field of view of 384 × 384 × 288 mm around the upper abdomen.
        variation: how much subjects differ in shape, pose, size, contrast phase and noise. 1: as adults do, some of
            whom are ill; 0: all are the average one, but for noise and fine detail.
        structures: what is annotated, all of ``BTCV`` without it; the others are imaged, and background in the truth.
    """
    grid = centred_grid(shape, spacing_mm, FIELD_OF_VIEW_MM, CENTRE_MM)
    names = annotated(BTCV, structures)
    own = Variability(seed, variation, "abdomen-ct")
    rendering = render(body(seed, variation), grid, materials(own), names, Material(AIR_HU))
    return labelled_scan(f"abdomen-ct-{seed}", _acquired(rendering, grid, own), rendering, grid, names)


def materials(variability: Variability) -> Mapping[str, Material]:
    """Mean and texture of every tissue in this subject's contrast phase."""
    own = variability.of("contrast")
    seconds = 68.0 + own.by(12.0)
    enhanced = {
        tissue: Material(float(np.interp(seconds, TIMES_S, levels)) + own.of(tissue).by(6.0), texture)
        for tissue, (levels, texture) in ENHANCING.items()
    }
    plain = {
        tissue: Material(material.mean + own.of(tissue).by(4.0), material.texture) for tissue, material in PLAIN.items()
    }
    return {**plain, **enhanced}


def _acquired(rendering: Rendering, grid: Grid, own: Variability) -> Float32[np.ndarray, "i j k"]:
    """Texture, couch and quantum noise added; whole Hounsfield units, as a scanner stores them."""
    noise = own.of("noise")
    inside = gaussian_filter((rendering.mean > -500).astype(np.float32), [40 / step for step in grid.spacing])
    level = 15.0 * noise.factor(0.15) * (0.3 + 0.9 * inside)  # few photons come through the middle of the body
    coarse = correlated_noise(noise.generator, grid.shape, grid.spacing, (4.0, 4.0, 4.0))
    quantum = ct_noise(noise.generator, grid.shape, grid.spacing)
    image = _with_couch(rendering.mean, grid) + rendering.texture * coarse + level * quantum
    return np.asarray(np.rint(np.clip(image, -1024.0, 3071.0)), dtype=np.float32)


def _with_couch(mean: Float32[np.ndarray, "i j k"], grid: Grid) -> Float32[np.ndarray, "i j k"]:
    """A thin curved table top right under the body."""
    back = np.nonzero((mean > -500).any(axis=(0, 2)))[0].max()  # j runs to the back
    i, j, _ = (np.arange(size, dtype=np.float32) for size in grid.shape)
    across_mm = (i[:, None] - (grid.shape[0] - 1) / 2) * grid.spacing[0]
    below_mm = (j - back) * grid.spacing[1] - 6.0 + across_mm**2 / 1500
    share = np.clip((3.0 - np.abs(below_mm)) / grid.spacing[1] + 0.5, 0, 1) * (np.abs(across_mm) < 200)
    couch = AIR_HU + share * (COUCH_HU - AIR_HU)
    return np.asarray(np.maximum(mean, couch[:, :, None]), dtype=np.float32)
