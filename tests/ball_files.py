"""Files of a tiny study: scans of three balls with their label maps, as a user has them on disk."""

from pathlib import Path

import numpy as np
import torch

from lowshot.imaging.files import write_segmentation, write_volume
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation

NAMES = Names.of({3: "left ball", 7: "right ball", 9: "middle ball"})
AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])
SHAPE = (24, 24, 24)
CENTRES = ((7, 12, 12), (17, 12, 12), (12, 5, 5))

# What makes a method small enough to be trained in a second.
TINY = {
    "widths": [4, 8],
    "convolutions": [1, 1],
    "batch": 2,
    "patch_voxels": 4096,
    "embedding_size": 8,
    "pyramid_width": 4,
    "settling_batches": 2,
}
TINY_WORDS = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]


def labels(seed: int) -> torch.Tensor:
    random = np.random.default_rng(seed)
    place = np.indices(SHAPE)
    made = np.zeros(SHAPE, np.int16)
    for index, centre in enumerate(CENTRES, start=1):
        moved = np.array(centre) + random.integers(-1, 2, 3)
        made[((place - moved[:, None, None, None]) ** 2).sum(0) < 16] = index
    return torch.from_numpy(made)


def image(seed: int) -> torch.Tensor:
    noise = np.random.default_rng(100 + seed).normal(0.3, 0.1, SHAPE)
    return torch.from_numpy((np.array([0.0, 1.0, 1.0, 2.0])[labels(seed).numpy()] + noise).astype(np.float32))[None]


def labelled(seed: int) -> LabelledScan:
    scan = Scan(f"s{seed}", image(seed), AFFINE)
    return LabelledScan(scan, Segmentation(labels(seed), NAMES, AFFINE))


def write_ball_files(folder: Path, count: int = 3) -> Path:
    """``images/s0.nii.gz``, ``labels/s0.nii.gz``, …, ``names.txt``; returns the folder."""
    for seed in range(count):
        write_volume(image(seed), AFFINE, folder / "images" / f"s{seed}.nii.gz")
        write_segmentation(Segmentation(labels(seed), NAMES, AFFINE), folder / "labels" / f"s{seed}.nii.gz")
    rows = zip(NAMES.values[1:], NAMES.foreground, strict=True)
    (folder / "names.txt").write_text("".join(f"{value}\t{name}\n" for value, name in rows))
    return folder
