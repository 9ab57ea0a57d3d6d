"""Charts of points: volumes against truth as Bland and Altman draw them, and expected against true Dice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lowshot.evaluation.agreement import limits_of_agreement
from lowshot.evaluation.scores import Evaluation, Score
from lowshot.evaluation.summary import units
from lowshot.reporting.axis import Axis, Dot

Kind = Literal["zero", "bias", "limit", "equal"]
"""Of a line: no difference, mean difference, limit of agreement, expected as it came."""
BESIDE_NUMBERS = (17.0, 94.0)
"""Per cent from the left: where dots go in a chart with its numbers on the left."""


@dataclass(frozen=True)
class Line:
    """A straight line, in per cent from the left and from the top."""

    start: tuple[float, float]
    end: tuple[float, float]
    kind: Kind


@dataclass(frozen=True)
class Scatter:
    """Points in two axes."""

    title: str
    captions: tuple[str, ...]
    across: Axis
    up: Axis
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...]


def volume_charts(evaluation: Evaluation) -> tuple[Scatter, ...]:
    """For each structure, predicted minus true volume over the mean of both, with bias and limits of agreement.

    Cases without a prediction are left out: they say nothing about how well volumes are measured. Empty where
    millilitres and voxels are mixed.
    """
    unit = units(evaluation.scores)[1]
    if unit == "mixed":
        return ()
    rows = [row for row in evaluation.scores if not row.missing and row.empty != "both"]
    by_structure = ([row for row in rows if row.structure == name] for name in evaluation.structures)
    return tuple(_bland_altman(rows, unit) for rows in by_structure if rows)


def _bland_altman(rows: Sequence[Score], unit: str) -> Scatter:
    agreement = limits_of_agreement([row.volume_prediction for row in rows], [row.volume_truth for row in rows])
    means = [(row.volume_prediction + row.volume_truth) / 2 for row in rows]
    differences = [row.volume_difference for row in rows]
    levels: list[tuple[Kind, float]] = [("zero", 0.0), ("bias", agreement.bias)]
    if not np.isnan(agreement.lower):
        levels += [("limit", agreement.lower), ("limit", agreement.upper)]
    across, up = (
        Axis.covering(means, 3, span=BESIDE_NUMBERS),
        Axis.covering([*differences, *(value for _, value in levels)], 4),
    )
    lines = [Line((across.span[0], up.down(value)), (100.0, up.down(value)), kind) for kind, value in levels]
    dots = [
        Dot(across.at(mean), up.down(row.volume_difference), row.case, _volumes(row, unit))
        for mean, row in zip(means, rows, strict=True)
    ]
    captions = [f"bias {_signed(agreement.bias)} {unit}, n = {agreement.n}"]
    if not np.isnan(agreement.lower):
        captions.append(f"limits {_signed(agreement.lower)} to {_signed(agreement.upper)}")
    return Scatter(rows[0].structure, tuple(captions), across, up, tuple(lines), tuple(dots))


def _signed(value: float) -> str:
    """With its sign, in as few digits as the reader needs."""
    size = abs(value)
    return f"{value:+.0f}" if size >= 100 else f"{value:+.3g}" if size >= 1 else f"{value:+.2g}"


def _volumes(row: Score, unit: str) -> str:
    return f"{row.case}: {row.volume_prediction:.4g} {unit}, true {row.volume_truth:.4g}"


def expectation_chart(evaluation: Evaluation) -> Scatter | None:
    """True Dice over what the model expected, one dot per case and structure; None where it expected nothing."""
    rows = [row for row in evaluation.scores if not np.isnan(row.expected_dice + row.dice)]
    if not rows:
        return None
    ticks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    across, up = Axis(0.0, 1.0, ticks, span=BESIDE_NUMBERS), Axis(0.0, 1.0, ticks)
    dots = [Dot(across.at(row.expected_dice), up.down(row.dice), row.case, _expected(row)) for row in rows]
    equal = Line((across.at(0.0), up.down(0.0)), (across.at(1.0), up.down(1.0)), "equal")
    return Scatter("True over expected Dice", (f"n = {len(rows)}",), across, up, (equal,), tuple(dots))


def _expected(row: Score) -> str:
    return f"{row.case}, {row.structure}: expected {row.expected_dice:.2f}, true {row.dice:.2f}"
