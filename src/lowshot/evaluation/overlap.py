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
