"""From one row per case and structure to one line per structure, with what was left out or counted in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lowshot.evaluation.scores import CaseScores, Evaluation, Score
from lowshot.evaluation.statistics import Summary, rank_correlation

ALL_STRUCTURES = "all structures"
NOT_COMPARABLE = float("nan")
RATIOS = ("true_positive_ratio", "false_positive_ratio", "radial_error")
"""Scores without a unit, which are summarised whatever the spacing."""


@dataclass(frozen=True)
class StructureSummary:
    """What the scores of one structure come to over all cases."""

    structure: str
    """Or ``ALL_STRUCTURES``: first the mean over structures within each case, then over cases."""
    dice: Summary
    hd95: Summary
    volume_difference: Summary | None
    """Prediction minus truth; None over all structures, where a sum of differences says nothing."""
    true_positive_ratio: Summary
    false_positive_ratio: Summary
    radial_error: Summary
    """Of 2-D images."""
    empty_predictions: int
    """Pairs where only the prediction is empty, missing files included: Dice 0, HD95 the image diagonal."""
    empty_truths: int
    """Pairs where only the truth is empty: Dice 0, HD95 the image diagonal."""
    both_empty: int
    """Pairs that are left out."""
    missing: int
    """Pairs of cases for which there was no prediction at all."""


def summarise(evaluation: Evaluation) -> tuple[StructureSummary, ...]:
    """One summary per structure, and a last one over all structures.

    Distances and volumes are not summarised (NaN) where cases with known and unknown spacing are mixed.
    """
    rows = evaluation.scores
    mixed = "mixed" in units(rows)
    by_structure = ([row for row in rows if row.structure == name] for name in evaluation.structures)
    return (*(_of_structure(rows, mixed) for rows in by_structure), _over_structures(evaluation.cases, mixed))


def units(rows: Sequence[Score]) -> tuple[Literal["mm", "voxels", "mixed"], Literal["ml", "voxels", "mixed"]]:
    """Unit of distances, and unit of volumes, that the rows share."""
    if len({row.hd95_unit for row in rows}) > 1:
        return "mixed", "mixed"
    return rows[0].hd95_unit, rows[0].volume_unit


def quality_correlation(rows: Sequence[Score]) -> tuple[float, int]:
    """Spearman's correlation of expected with true Dice over (case, structure) pairs, and the number of pairs."""
    pairs = [(row.expected_dice, row.dice) for row in rows if not np.isnan(row.expected_dice + row.dice)]
    return rank_correlation([expected for expected, _ in pairs], [true for _, true in pairs]), len(pairs)


def _of_structure(rows: Sequence[Score], mixed: bool) -> StructureSummary:
    return StructureSummary(
        rows[0].structure,
        dice=Summary.of([row.dice for row in rows]),
        hd95=Summary.of([NOT_COMPARABLE if mixed else row.hd95 for row in rows]),
        volume_difference=Summary.of([NOT_COMPARABLE if mixed else row.volume_difference for row in rows]),
        **_ratios([[row] for row in rows]),
        **_counts(rows),
    )


def _over_structures(cases: Sequence[CaseScores], mixed: bool) -> StructureSummary:
    hd95 = [NOT_COMPARABLE if mixed else Summary.of([row.hd95 for row in case.scores]).mean for case in cases]
    return StructureSummary(
        ALL_STRUCTURES,
        dice=Summary.of([case.mean_dice for case in cases]),
        hd95=Summary.of(hd95),
        volume_difference=None,
        **_ratios([case.scores for case in cases]),
        **_counts([row for case in cases for row in case.scores]),
    )


def _ratios(groups: Sequence[Sequence[Score]]) -> dict[str, Any]:
    """First the mean within each group, then over groups."""
    return {
        name: Summary.of([Summary.of([getattr(row, name) for row in rows]).mean for rows in groups]) for name in RATIOS
    }


def _counts(rows: Sequence[Score]) -> dict[str, Any]:
    return {
        "empty_predictions": sum(row.empty == "prediction" for row in rows),
        "empty_truths": sum(row.empty == "truth" for row in rows),
        "both_empty": sum(row.empty == "both" for row in rows),
        "missing": sum(row.missing for row in rows),
    }
