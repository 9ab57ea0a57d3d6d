"""What a scan comes to, over structures and seeds: the one way in which all tables and figures average."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from lowshot.benchmarking.results import Row
from lowshot.evaluation.statistics import Summary
from lowshot.protocols.protocol import Measure


def by_scan(found: Iterable[Row], measure: Measure | Literal["expected_dice"] = "dice") -> dict[str, float]:
    """Of every scan the mean over seeds (and folds) of the mean over its structures, in both of what is defined.

    NaN for a scan of which nothing is defined.
    """
    scans: dict[str, dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in found:
        scans[row.case][row.fold, row.seed].append(getattr(row, measure))
    return {case: _mean([_mean(each) for each in seeds.values()]) for case, seeds in scans.items()}


def _mean(values: list[float]) -> float:
    return Summary.of(values).mean
