"""Toys that a network learns in seconds: two balls of one brightness, told apart by where they lie."""

import numpy as np
import torch

from lowshot import catalogue
from lowshot.contract import Model
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.inference.predict import predict
from lowshot.task import LowShotTask
from lowshot.training.run import Run

NAMES = Names(("background", "left ball", "right ball"), (0, 1, 2))

TINY = {
    "widths": [8, 16],
    "convolutions": [1, 1],
    "strides": [[2, 2, 2]],
    "crop": "none",
    "patch": [16, 16, 16],
    "margin": [2, 2, 2],
    "batch": 2,
    "balanced": 0.5,
    "pyramid_width": 8,
    "pyramid_rates": [1, 2, 3],
    "embedding_size": 16,
    "mixer_width": 8,
    "steps": 60,
    "learning_rate": 1e-2,
}
FLAT = TINY | {"dimensions": 2, "strides": [[2, 2, 1]], "patch": [24, 24, 1], "margin": [4, 4, 0], "batch": 4}


def subject(seed: int, shape=(24, 24, 24), channels=("T1",)) -> LabelledScan:
    """Two balls of about a fifth of the volume's size, moved a little and noisy."""
    random = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in shape], indexing="ij")
    labels = torch.zeros(shape, dtype=torch.int16)
    for label, x in ((1, -0.45), (2, 0.45)):
        centre = torch.tensor([x, 0.0, 0.0]) + 0.1 * (torch.rand(3, generator=random) - 0.5)
        distance = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)).sqrt()
        labels[distance < 0.35 + 0.05 * float(torch.rand(1, generator=random))] = label
    bright = (labels > 0).float()
    images = [sign * bright + 0.2 * torch.randn(shape, generator=random) for sign in (1, -1)]
    scan = Scan(f"subject {seed}", torch.stack(images[: len(channels)]), np.eye(4), channels)
    return LabelledScan(scan, Segmentation(labels, NAMES, np.eye(4)))


def task(*support: LabelledScan, **more) -> LowShotTask:
    return LowShotTask(NAMES, support, **more)


def run(seed: int = 0) -> Run:
    return Run(device="cpu", precision="float32", memory_format="contiguous", threads=1, seed=seed)


def fit(given: LowShotTask, settings, seed: int = 0) -> Model:
    return catalogue.create("mre-net", settings).fit(given, run(seed))


def dice(model: Model, query: LabelledScan) -> list[float]:
    """Of both balls."""
    options = catalogue.create("mre-net", TINY).Options()
    found = predict(model, query.scan, run(), options).segmentation.labels
    truth = query.truth.labels
    return [float(2 * ((found == k) & (truth == k)).sum() / ((found == k).sum() + (truth == k).sum())) for k in (1, 2)]
