"""How much of two masks coincides, and how large they are."""

import numpy as np
from jaxtyping import Bool


def dice(prediction: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"]) -> float:
    """Dice coefficient 2|X∩Y| / (|X|+|Y|), in [0, 1].

    Both masks empty: NaN, the pair says nothing and is left out of every mean. One empty: 0.
    """
    size = int(prediction.sum()) + int(truth.sum())
    if size == 0:
        return float("nan")
    return 2 * int((prediction & truth).sum()) / size


def true_positive_ratio(prediction: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"]) -> float:
    """|A∩B| / |A| of truth A and prediction B, in [0, 1]: the part of the truth that was found. Empty truth: NaN."""
    size = int(truth.sum())
    return int((prediction & truth).sum()) / size if size else float("nan")


def false_positive_ratio(prediction: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"]) -> float:
    """|B∖A| / |A| of truth A and prediction B: what was found beside it, in sizes of the truth. Empty truth: NaN.

    It may exceed 1. Dice is 2·TP / (1 + TP + FP).
    """
    size = int(truth.sum())
    return int((prediction & ~truth).sum()) / size if size else float("nan")
