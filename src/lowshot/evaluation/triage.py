"""Whether the model's own expectation would have pointed at the scans that needed a look."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowshot.evaluation.scores import CaseScores

FEWEST = 4
"""Scans below which a quarter of them says nothing."""


@dataclass(frozen=True)
class Triage:
    """What checking only the quarter of the scans that the model expected least of would have found."""

    scans: int
    """With an expectation."""
    checked: int
    """A quarter of them, rounded up; and so many count as the worst."""
    found: int | None
    """Of the worst by true Dice, those among the checked; None where it is not certain which are the worst, or which
    would be checked, as several scans have the same Dice."""
    optimism: float
    """Mean over scans of expected minus true Dice: positive means too sure."""


def triage(cases: Sequence[CaseScores]) -> Triage | None:
    """Compare the order of scans by expected Dice with the order by true Dice; None for fewer than four scans."""
    known = [means for case in cases if (means := mean_expected_and_true(case))]
    if len(known) < FEWEST:
        return None
    expected, true = np.array(known).T
    checked = math.ceil(len(known) / 4)
    least_expected, worst = _lowest(expected, checked), _lowest(true, checked)
    found = None if least_expected is None or worst is None else len(least_expected & worst)
    return Triage(len(known), checked, found, float((expected - true).mean()))


def _lowest(values: npt.NDArray[np.float64], count: int) -> set[int] | None:
    """Where the lowest values are, fewer than there are; None if the last of them and the next one are the same."""
    order = np.argsort(values, kind="stable")
    return None if values[order[count - 1]] == values[order[count]] else set(order[:count].tolist())


def mean_expected_and_true(case: CaseScores) -> tuple[float, float] | None:
    """Means over the structures of a case that have both an expected and a true Dice; None if there are none."""
    both = [
        (score.expected_dice, score.dice) for score in case.scores if not np.isnan(score.expected_dice + score.dice)
    ]
    if not both:
        return None
    expected, true = np.mean(both, axis=0)
    return float(expected), float(true)
