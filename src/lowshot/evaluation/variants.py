"""Scores as other scorers compute them, each under a name of its own: they stand beside ours, never in their place."""

from typing import TypedDict

import numpy as np
from jaxtyping import Bool

from lowshot.evaluation.overlap import dice
from lowshot.evaluation.surface import hd95_in_plane, hd95_pooled_voxels
from lowshot.imaging.grid import Affine


class Variants(TypedDict, total=False):
    """By the names of ``Score``; none where nobody asked."""

    dice_of_slices: float
    dice_legacy_empty: float
    hd95_in_plane: float
    hd95_pooled_voxels: float
    hd95_legacy_empty: float


def variants_of(prediction: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"], affine: Affine) -> Variants:
    """All of them; distances along borders are in the affine's unit, or in voxels where the name or source says so."""
    pooled = hd95_pooled_voxels(prediction, truth)
    return {
        "dice_of_slices": dice_of_slices(prediction, truth),
        "dice_legacy_empty": _legacy(dice(prediction, truth), prediction, truth, truth_alone_empty=1.0),
        "hd95_in_plane": hd95_in_plane(prediction, truth, affine),
        "hd95_pooled_voxels": pooled,
        "hd95_legacy_empty": _legacy(pooled, prediction, truth, truth_alone_empty=0.0),
    }


def dice_of_slices(prediction: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"]) -> float:
    """The mean of Dice over slices along the third axis in which either mask has a voxel (GCN-DE's code).

    A slice with ten voxels then counts as much as one with a thousand. Both masks empty: NaN.
    """
    shown = (prediction | truth).any(axis=(0, 1)).nonzero()[0]
    if not len(shown):
        return float("nan")
    return float(np.mean([dice(prediction[..., k : k + 1], truth[..., k : k + 1]) for k in shown]))


def _legacy(
    value: float,
    prediction: Bool[np.ndarray, "i j k"],
    truth: Bool[np.ndarray, "i j k"],
    *,
    truth_alone_empty: float,
) -> float:
    """The value as MT-UNet's scorer, and TransUNet's before it, counts empty masks.

    A prediction where the truth has nothing counts as perfect (Dice 1, distance 0), an empty prediction as Dice 0 at
    distance 0, which flatters the mean distance.
    """
    if prediction.any() and truth.any():
        return value
    return truth_alone_empty if prediction.any() else 0.0
