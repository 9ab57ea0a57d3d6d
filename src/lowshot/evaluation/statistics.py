"""Numbers over scores: summaries that say what they left out, rank correlation, paired tests, and intervals."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FEWEST_SCANS = 3
"""Of fewer, resampling gives back little but the scans themselves, and there is no interval."""
RESAMPLES = 9999


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


def smallest_wilcoxon_p(pairs: int) -> float:
    """The smallest p that the exact test can give, both sides: all differences have one sign, one case of 2^pairs.

    NaN without a pair. Where more than 50 pairs are tested by the normal approximation it does not matter any more.
    """
    return min(1.0, 2.0 ** (1 - pairs)) if pairs > 0 else float("nan")


def paired_t(differences: Sequence[float]) -> float:
    """P of the paired t-test, both sides; 1 where all are zero, NaN for fewer than two or where they do not vary."""
    from scipy.stats import ttest_1samp

    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2:
        return float("nan")
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        return float("nan") if values.any() else 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that differences which hardly vary lose digits
        return float(ttest_1samp(values, 0.0).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several tests, corrected by Holm's step-down method; NaN stays and is not counted."""
    corrected, largest = [float("nan")] * len(p), 0.0
    order = sorted((value, at) for at, value in enumerate(p) if not np.isnan(value))
    for rank, (value, at) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * value))
        corrected[at] = largest
    return corrected


def bonferroni(p: Sequence[float]) -> list[float]:
    """p-values of several tests, each times their number; NaN stays and is not counted."""
    tests = sum(not np.isnan(value) for value in p)
    return [value if np.isnan(value) else min(1.0, tests * value) for value in p]


@dataclass(frozen=True)
class Interval:
    """Where 95 % of resampled means lie; NaN for fewer than three scans."""

    low: float
    high: float


def interval_over_scans(values: Sequence[float], scans: Sequence[str], seed: int = 0) -> Interval:
    """95 % bootstrap interval of the mean of values, or of paired differences, by resampling scans.

    Structures of one scan fail together, so a scan is drawn with all of its values; drawing values one by one would
    make the interval too narrow. It is the interval of percentiles: the corrections of BCa are estimated from as many
    values as there are scans, which are few here. Of few scans it is too narrow (of three it holds the mean of normal
    scores in 74 of 100 cases, of ten in 89), and it says nothing of other annotated scans or seeds.

    Args:
        values: NaN is left out.
        scans: of which scan each value is.
        seed: the same gives the same interval.
    """
    from scipy.stats import bootstrap

    sums, counts = _per_scan(values, scans)
    if len(sums) < FEWEST_SCANS:
        return Interval(float("nan"), float("nan"))

    def mean(sums: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], axis: int = -1) -> npt.NDArray[np.float64]:
        return np.asarray(sums.sum(axis) / counts.sum(axis))

    drawn = np.random.default_rng(seed)
    found = bootstrap(
        *((sums, counts), mean), paired=True, vectorized=True, n_resamples=RESAMPLES, method="percentile", rng=drawn
    )
    return Interval(float(found.confidence_interval.low), float(found.confidence_interval.high))


def _per_scan(values: Sequence[float], scans: Sequence[str]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum and number of the values of each scan that has any."""
    defined = np.asarray(values, dtype=np.float64)
    kept = ~np.isnan(defined)
    _, belongs = np.unique(np.asarray(scans, dtype=str)[kept], return_inverse=True)
    return np.bincount(belongs, defined[kept]).astype(np.float64), np.bincount(belongs).astype(np.float64)
