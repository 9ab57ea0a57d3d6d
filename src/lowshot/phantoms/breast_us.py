"""Ultrasound of synthetic breasts, each with one lesion, with known truth: speckle, shadows and log compression.

Axes are those of a picture: i runs to the viewer's right, j downwards, away from the probe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter

from lowshot.imaging.grid import Grid
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.phantoms.acquisition import correlated_noise
from lowshot.phantoms.breast.body import Layer, layers
from lowshot.phantoms.breast.lesion import lesion
from lowshot.phantoms.noise import SmoothNoise
from lowshot.phantoms.scanning import annotated, centred_grid
from lowshot.phantoms.shapes import Points
from lowshot.phantoms.variability import Variability

Volume = Float32[np.ndarray, "i j k"]

WIDTH_MM, DEPTH_MM, STEP_MM = 40.0, 32.0, 1.0
"""Usual extent of a picture, and how far the probe moves between two pictures of a sweep."""

STRUCTURES = Names.of({255: "lesion"})
"""File values as in the BUSI data set."""

PULSE_MM = (0.34, 0.14, 0.8)
"""Standard deviation of the pulse across the picture, along depth, and across pictures: it is short, and wide."""

FLOOR_DB = -52.0
"""Electronic noise, in relation to the strongest tissue."""


@dataclass(frozen=True)
class Acoustics:
    """How a tissue answers to ultrasound."""

    echo_db: float | int
    """Strength of its echoes, before what is lost on the way."""
    fibres_db: float | int = 0
    """How far fine sheets along the skin stand out in it."""
    septa_db: float | int = 0
    """How far the coarse sheets around lobules stand out in it."""
    loss_db_mm: float | int = 0
    """What is lost for each mm of depth, there and back, beyond what the machine makes up for."""


GEL = Acoustics(-30)

# Where 0 dB is the strongest tissue. A cyst lets more pass than what lies beside it, a carcinoma less.
TISSUES = {
    "skin": Acoustics(-5, 5),
    "fat": Acoustics(-21, 4, 14, 0.1),
    "gland": Acoustics(-18, 15, 7, 0.25),
    "retromammary fat": Acoustics(-21, 8, 6, 0.1),
    "fascia": Acoustics(-5, 5),
    "muscle": Acoustics(-27, 19, 4, 0.3),
    "fibroadenoma": Acoustics(-27, 4, 2, -0.2),
    "cyst": Acoustics(-50, 0, 0, -1.5),
    "carcinoma": Acoustics(-31, 3, 7, 0.6),
    "capsule": Acoustics(-9, 3),
    "halo": Acoustics(-11, 7, 3, 0.3),
}


def subject(
    seed: int,
    shape: tuple[int, int, int] | int = (160, 128, 1),
    spacing_mm: tuple[float, float, float] | None = None,
    variation: float = 1.0,
    structures: Sequence[str] | None = None,
) -> LabelledScan:
    """The picture and the truth of one subject, in whole grey levels from 0 to 255. Several slices are a sweep.

    Args:
        seed: two subjects of one seed are equal, voxel by voxel.
        shape: number of voxels; one number stands for all three axes.
        spacing_mm: without it, the voxels share a field of view of 40 × 32 mm, and pictures lie 1 mm apart.
        variation: how much subjects differ in layers, lesion, echoes and gain. 1: as adults do, some of whose lesions
            are carcinomas; 0: all are the average one, a smooth ellipse, but for speckle and fine detail.
        structures: what is annotated; there is nothing but the lesion.
    """
    pictures = shape if isinstance(shape, int) else shape[2]
    grid = centred_grid(shape, spacing_mm, (WIDTH_MM, DEPTH_MM, STEP_MM * pictures), (0.0, -DEPTH_MM / 2, 0.0))
    names = annotated(STRUCTURES, structures)
    own = Variability(seed, variation, "breast-us")
    found, points = lesion(own), _points(grid)
    heard_db = _heard_db(layers(found, own), points, grid, own)
    image = _compressed(heard_db, speckle(own.of("speckle").generator, grid), grid, own)
    labels = (found.shape.distance(points) < 0).astype(np.int16)
    return LabelledScan(
        Scan(f"breast-us-{seed}", torch.from_numpy(image)[None], grid.affine),
        Segmentation(torch.from_numpy(labels), names, grid.affine),
    )


def speckle(generator: np.random.Generator, grid: Grid) -> Volume:
    """What the echoes of many small scatterers in one pulse make of each other: an envelope of mean square 1.

    It is the magnitude of complex Gaussian noise as wide as the pulse, which is Rayleigh-distributed: its mean is 1.91
    times its standard deviation (Wagner et al. 1983, IEEE Transactions on Sonics and Ultrasonics 30, 156-163).
    """
    real, imaginary = (correlated_noise(generator, grid.shape, grid.spacing, PULSE_MM) for _ in range(2))
    return np.asarray(np.hypot(real, imaginary) / np.sqrt(2), dtype=np.float32)


def acoustics(variability: Variability) -> Mapping[str, Acoustics]:
    """How the tissues of this subject answer."""
    own = variability.of("acoustics")
    found = {}
    for tissue, average in TISSUES.items():
        this = own.of(tissue)
        found[tissue] = Acoustics(
            average.echo_db + this.by(1.8),
            average.fibres_db * this.factor(0.2),
            average.septa_db * this.factor(0.2),
            average.loss_db_mm * this.factor(0.3),
        )
    return found


def _points(grid: Grid) -> Points:
    """Positions (mm) of all voxel centres."""
    offset = grid.affine[:3, 3].reshape(3, 1, 1, 1)
    return (np.tensordot(grid.affine[:3, :3], np.indices(grid.shape), axes=1) + offset).astype(np.float32)


def _heard_db(painted: Sequence[Layer], points: Points, grid: Grid, own: Variability) -> Volume:
    """How strong the echo of every voxel is when it is back at the probe."""
    tissues = acoustics(own)
    answer = np.zeros((4, *grid.shape), dtype=np.float32) + _column(GEL)
    for layer in painted:
        share = np.clip(0.5 - layer.shape.distance(points) / np.float32(layer.margin_mm), 0, 1)
        answer += share * (_column(tissues[layer.tissue]) - answer)
    echo, fibres, septa, loss = answer
    pattern = own.of("pattern")
    echo += fibres * _sheets(pattern.noise(1.6, 4.0), (0.16, 1.0, 0.3), points)
    echo += septa * _sheets(pattern.noise(5.0, 14.0), (0.6, 1.0, 0.6), points)
    contact = 1.0 + 0.5 * _sheets(
        pattern.noise(4.0, 20.0), (1.0, 0.0, 0.3), points
    )  # some beams meet more on their way
    lost = np.cumsum(gaussian_filter((loss + 0.15) * contact, [0.7 / grid.spacing[0], 0, 0]), axis=1) * grid.spacing[1]
    return gaussian_filter(echo, [width / step for width, step in zip(PULSE_MM, grid.spacing, strict=True)]) - lost


def _column(tissue: Acoustics) -> Float32[np.ndarray, "4 1 1 1"]:
    return np.array(astuple(tissue), dtype=np.float32).reshape(4, 1, 1, 1)


def _sheets(noise: SmoothNoise, stretch: tuple[float, float, float], points: Points) -> Volume:
    """1 on thin winding sheets, where a noise is zero, 0 between them; longer along axes with a smaller ``stretch``."""
    waves = noise.wave_vectors * np.asarray(stretch, dtype=np.float32)
    return np.exp(-((SmoothNoise(waves, noise.phases)(points) / np.float32(0.35)) ** 2))


def _compressed(heard_db: Volume, envelope: Volume, grid: Grid, own: Variability) -> Volume:
    """Whole grey levels: the logarithm of the envelope, over as many dB as this machine shows."""
    machine = own.of("machine")
    amplitude = np.hypot(10 ** (heard_db / 20), 10 ** (FLOOR_DB / 20)) * np.maximum(envelope, 1e-6)
    shown_db = 56.0 + machine.by(3.0)
    grey = 255 * (20 * np.log10(amplitude) + shown_db - 10.0 + machine.by(3.0)) / shown_db
    grey = gaussian_filter(np.clip(grey, 0, 255), [0.12 / grid.spacing[0], 0.12 / grid.spacing[1], 0])
    return np.asarray(np.rint(np.clip(grey, 0, 255)), dtype=np.float32)
