"""Agreement of two ways to measure one thing, by Bland and Altman (The Lancet, 1986)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 3
"""Below so many pairs the spread says nothing, and no limits are given."""


@dataclass(frozen=True)
class Agreement:
    """Mean difference, and the limits between which 95 % of differences are expected; all in the values' unit."""

    bias: float
    lower: float
    upper: float
    """Bias ± 1.96 sample standard deviations; NaN for fewer than three pairs."""
    n: int


def limits_of_agreement(measured: Sequence[float], reference: Sequence[float]) -> Agreement:
    """Agreement of paired values, as measured minus reference. Without any pair the bias is NaN too."""
    differences = np.asarray(measured, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    bias = float(differences.mean()) if differences.size else float("nan")
    reach = 1.96 * float(differences.std(ddof=1)) if differences.size >= FEWEST else float("nan")
    return Agreement(bias, bias - reach, bias + reach, differences.size)
