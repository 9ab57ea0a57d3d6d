"""Bringing the grey values of a scan to a common scale, one channel at a time."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowshot.errors import SettingsError
from lowshot.imaging.foreground import Image, foreground

KINDS = ("zscore", "foreground-zscore", "percentiles", "window:LOW:HIGH", "none")


FROM_0_TO_1 = ("percentiles", "window")
"""What makes the darkest value 0, as is what lies beyond a scan where scans are laid upon each other."""


def refuse_below_0(kind: str) -> None:
    """Look at the setting ``intensity`` of what lays scans upon each other.

    Raises:
        SettingsError: what lies beyond a scan would not be its darkest value.
    """
    if not kind.startswith(FROM_0_TO_1):
        raise SettingsError(
            f"intensity: expected percentiles or window:LOW:HIGH, where 0 is the darkest value as it is beyond a scan, "
            f"got {kind}"
        )


@dataclass(frozen=True)
class Scaling:
    """``(clip(value, low, high) - shift) / scale``."""

    low: float
    high: float
    shift: float
    scale: float

    IDENTITY: ClassVar["Scaling"]

    def __call__(self, voxels: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if self == Scaling.IDENTITY:
            return voxels
        return voxels.clamp(self.low, self.high).sub_(self.shift).div_(self.scale)


Scaling.IDENTITY = Scaling(-float("inf"), float("inf"), 0.0, 1.0)


def window(kind: str) -> tuple[float, float] | None:
    """(LOW, HIGH) of "window:LOW:HIGH"; None for the other kinds.

    Raises:
        SettingsError: no such kind, or a window that is not two rising numbers.
    """
    if kind in KINDS and not kind.startswith("window"):
        return None
    try:
        word, low, high = kind.split(":")
        limits = float(low), float(high)
    except ValueError:
        word, limits = "", (0.0, 0.0)
    if word != "window" or not -float("inf") < limits[0] < limits[1] < float("inf"):
        raise SettingsError(f"intensity: expected one of {', '.join(KINDS)} with LOW < HIGH, got {kind!r}")
    return limits


def scaling(kind: str, image: Image) -> Scaling:
    """The scaling that ``kind`` means for one channel of one scan.

    "zscore": mean 0 and standard deviation 1 over all voxels. "foreground-zscore": clipped to the 0.5 and 99.5
    percentile of the body, whose clipped voxels then have mean 0 and standard deviation 1. "percentiles": clipped to
    the 0.5 and 99.5 percentile of all voxels, which become 0 and 1. "window:LOW:HIGH": the same with fixed values,
    for CT in HU. A constant image becomes 0.
    """
    limits = window(kind)
    if limits is not None:
        return Scaling(*limits, limits[0], limits[1] - limits[0])
    if kind == "none":
        return Scaling.IDENTITY
    if kind == "zscore":
        return _zscore(image, -float("inf"), float("inf"))
    if kind == "percentiles":
        low, high = _percentiles(image)
        return Scaling(low, high, low, high - low if high > low else 1.0)
    body = image[foreground(image)]
    return _zscore(body, *_percentiles(body))


def centre_and_deviation(kind: str) -> tuple[float, float]:
    """Around where, and how widely, grey values of that kind lie; of "none" it is taken that they lie as of "zscore".

    What goes from 0 to 1 has half of its values within a quarter of the middle, roughly: no scan is asked.
    """
    return (0.5, 0.25) if kind == "percentiles" or window(kind) is not None else (0.0, 1.0)


def _percentiles(values: Image) -> tuple[float, float]:
    low, high = np.percentile(values, (0.5, 99.5))
    return float(low), float(high)


def _zscore(values: Image, low: float, high: float) -> Scaling:
    clipped = torch.from_numpy(values).clamp(low, high)
    # torch sums in float64 without making a float64 copy of the volume.
    deviation, mean = (float(moment) for moment in torch.std_mean(clipped, correction=0))
    return Scaling(low, high, mean, deviation if clipped.min() < clipped.max() else 1.0)
