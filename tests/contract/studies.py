"""A tiny study for contract tests: bodies of four structures on small anisotropic grids, and tasks made of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.task import LowShotTask

NAMES = Names(("background", "body", "left organ", "right organ"), (0, 500, -7, 63))  # values as files have them
BASE_NAMES = Names(("background", "body", "bone"), (0, 1, 2))
SHAPE = (20, 24, 10)
STANDARD = np.diag([1.5, 1.5, 3.0, 1.0])
FLIPPED = np.array([[0.0, 1.5, 0, -12], [-1.4, 0, 0, 20], [0, 0.2, -3.1, 5], [0, 0, 0, 1.0]])
"""Permuted, flipped, anisotropic and oblique."""

# Centre (fractions of the shape), radius (fractions), intensity.
BODIES = {"body": ((0.5, 0.5, 0.5), 0.42, 40.0), "left": ((0.32, 0.5, 0.5), 0.15, 120.0)}
BODIES |= {"right": ((0.68, 0.5, 0.5), 0.15, 200.0)}


def subject(seed: int, affine: np.ndarray = STANDARD, names: Names = NAMES, shape: Sequence[int] = SHAPE):
    """One annotated scan; subjects differ in position, size, brightness and noise."""
    random = torch.Generator().manual_seed(seed)
    voxels = torch.full(tuple(shape), -20.0)
    labels = torch.zeros(tuple(shape), dtype=torch.int16)
    axes = torch.meshgrid(*[(torch.arange(size) + 0.5) / size for size in shape], indexing="ij")
    for k, (centre, radius, intensity) in enumerate(list(BODIES.values())[: len(names) - 1], start=1):
        moved = torch.tensor(centre) + 0.05 * (torch.rand(3, generator=random) - 0.5)
        size = radius * (0.9 + 0.2 * torch.rand(1, generator=random))
        inside = sum(((axis - c) / size) ** 2 for axis, c in zip(axes, moved, strict=True)) < 1
        voxels[inside], labels[inside] = intensity * (0.95 + 0.1 * float(torch.rand(1, generator=random))), k
    voxels += 5.0 * torch.randn(tuple(shape), generator=random)
    return LabelledScan(Scan(f"subject {seed}", voxels[None], affine), Segmentation(labels, names, affine))


def partly_known(labelled: LabelledScan, lie: int) -> LabelledScan:
    """Annotated on a third of the slices alone; what stands in the others is wrong in a way that ``lie`` decides."""
    known = torch.zeros(labelled.truth.labels.shape, dtype=torch.bool)
    known[:, :, 3:7] = True
    labels = torch.where(known, labelled.truth.labels, torch.full_like(labelled.truth.labels, lie))
    return replace(labelled, truth=replace(labelled.truth, labels=labels), known=known)


BASE = tuple(subject(seed, names=BASE_NAMES) for seed in (10, 11))
TASKS = {
    "one shot": LowShotTask(NAMES, [subject(0)]),
    "two shots": LowShotTask(NAMES, [subject(0), subject(1)]),
    "one shot and a pool": LowShotTask(NAMES, [subject(0)], unlabelled=[subject(s).scan for s in (5, 6)]),
    "one shot and a base": LowShotTask(NAMES, [subject(0)], base=BASE),
    "base alone": LowShotTask(NAMES, base=BASE),
    "pool alone": LowShotTask(NAMES, unlabelled=[labelled.scan for labelled in BASE]),
}
