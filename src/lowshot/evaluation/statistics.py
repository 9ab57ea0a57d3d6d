"""Numbers over scores: summaries that say what they left out, and rank correlation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation and range over the values that are defined, and how many were not."""

    mean: float
    std: float
    """NaN where fewer than two values are defined."""
    minimum: float
    maximum: float
    n: int
    left_out: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """Summarise; NaN means "not defined" and is counted as left out. All of them NaN: a summary of NaN, n = 0."""
        every = np.asarray(values, dtype=np.float64)
        defined = every[~np.isnan(every)]
        n, left_out = defined.size, every.size - defined.size
        if n == 0:
            nan = float("nan")
            return cls(nan, nan, nan, nan, 0, left_out)
        std = float(defined.std(ddof=1)) if n > 1 else float("nan")
        return cls(float(defined.mean()), std, float(defined.min()), float(defined.max()), n, left_out)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation over the pairs in which both are defined.

    NaN for fewer than three such pairs, or where one side never changes.
    """
    from scipy.stats import spearmanr

    both = np.array([pair for pair in zip(x, y, strict=True) if not np.isnan(pair).any()])
    if len(both) < 3 or (both == both[0]).all(axis=0).any():
        return float("nan")
    return float(spearmanr(both[:, 0], both[:, 1]).statistic)


def wilcoxon(differences: Sequence[float]) -> float:
    """P of Wilcoxon's signed-rank test, both sides, over paired differences; 1 where all are zero, NaN for none."""
    from scipy.stats import wilcoxon as signed_rank

    values = np.asarray(differences, dtype=np.float64)
    if values.size == 0:
        return float("nan")
    return float(signed_rank(values).pvalue) if values.any() else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected by Holm's step-down method; NaN stays and is not counted."""
    corrected, largest = [float("nan")] * len(p), 0.0
    order = sorted((value, at) for at, value in enumerate(p) if not np.isnan(value))
    for rank, (value, at) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * value))
        corrected[at] = largest
    return corrected
