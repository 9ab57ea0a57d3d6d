"""Whether the model's own expectation would have pointed at the scans that needed a look."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    found: int
    """Of the worst by true Dice, those among the checked."""
    optimism: float
    """Mean over scans of expected minus true Dice: positive means too sure."""


def triage(cases: Sequence[CaseScores]) -> Triage | None:
    """Compare the order of scans by expected Dice with the order by true Dice; None for fewer than four scans."""
    known = [means for case in cases if (means := mean_expected_and_true(case))]
    if len(known) < FEWEST:
        return None
    expected, true = np.array(known).T
    checked = math.ceil(len(known) / 4)
    least_expected, worst = (set(np.argsort(values, kind="stable")[:checked]) for values in (expected, true))
    return Triage(len(known), checked, len(least_expected & worst), float((expected - true).mean()))


def mean_expected_and_true(case: CaseScores) -> tuple[float, float] | None:
    """Means over the structures of a case that have both an expected and a true Dice; None if there are none."""
    both = [
        (score.expected_dice, score.dice) for score in case.scores if not np.isnan(score.expected_dice + score.dice)
    ]
    if not both:
        return None
    expected, true = np.mean(both, axis=0)
    return float(expected), float(true)
