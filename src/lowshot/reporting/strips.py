"""Box plots: the scores of every structure along one axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowshot.evaluation.scores import Evaluation, Score
from lowshot.evaluation.summary import units
from lowshot.reporting.axis import Axis, Dot

FEWEST_FOR_A_BOX = 5
"""Quartiles of fewer values say nothing that the dots do not show."""
EVERY_DOT = 60
"""With more scans than this, only those beyond the whiskers are drawn beside a box."""
NO_PREDICTION = "no prediction"
GUTTER = 95.0
"""Per cent from the left: where dots stand that have no place on the axis."""


@dataclass(frozen=True)
class Box:
    """A box plot as Tukey draws it: quartiles, and whiskers to the farthest value within 1.5 box lengths."""

    low: float
    first: float
    median: float
    third: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Box":
        """Box over at least one value."""
        from matplotlib.cbook import boxplot_stats

        [found] = boxplot_stats(np.asarray(values, dtype=np.float64))
        return cls(*(float(found[key]) for key in ("whislo", "q1", "med", "q3", "whishi")))


@dataclass(frozen=True)
class Strip:
    """The scores of one structure."""

    structure: str
    box: Box | None
    """None: too few scores."""
    dots: tuple[Dot, ...]
    words: str
    """What the strip shows, for who cannot see it."""


@dataclass(frozen=True)
class StripChart:
    """One strip for each structure, on a common axis."""

    title: str
    axis: Axis
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class _Reading:
    case: str
    value: float
    why_missed: str = ""
    """Such a reading is in no box."""


def dice_chart(evaluation: Evaluation) -> StripChart:
    """Dice of every structure. Cases without a prediction are marked at 0 and are in no box, unlike in the means."""
    axis = Axis(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    readings = {
        name: [_Reading(row.case, row.dice, NO_PREDICTION if row.missing else "") for row in rows]
        for name, rows in _defined_scores(evaluation).items()
    }
    return StripChart("Dice", axis, tuple(_strip(name, each, axis) for name, each in readings.items()))


def hd95_chart(evaluation: Evaluation) -> StripChart | None:
    """HD95 of every structure where prediction and truth both have voxels; the other scores stand in the gutter.

    The axis ends at the longest whisker, so that one stray voxel far away does not flatten everything. None where
    units are mixed or there is no distance.
    """
    readings = {
        name: [
            _Reading(row.case, row.hd95)
            if row.empty == "none"
            else _Reading(row.case, math.inf, NO_PREDICTION if row.missing else f"{row.empty} is empty")
            for row in rows
        ]
        for name, rows in _defined_scores(evaluation).items()
    }
    measured = [values for each in readings.values() if (values := _measured(each))]
    unit, _ = units(evaluation.scores)
    if unit == "mixed" or not measured:
        return None
    axis = Axis.covering([0.0, 1.0, *(Box.of(values).high for values in measured)], 5, span=(2.0, 90.0))
    return StripChart(f"HD95 ({unit})", axis, tuple(_strip(name, each, axis) for name, each in readings.items()))


def _defined_scores(evaluation: Evaluation) -> dict[str, list[Score]]:
    """Rows of every structure but those where prediction and truth are both empty."""
    rows = [row for row in evaluation.scores if row.empty != "both"]
    return {name: [row for row in rows if row.structure == name] for name in evaluation.structures}


def _measured(readings: Sequence[_Reading]) -> list[float]:
    return [reading.value for reading in readings if not reading.why_missed]


def _strip(structure: str, readings: Sequence[_Reading], axis: Axis) -> Strip:
    values = _measured(readings)
    box = Box.of(values) if len(values) >= FEWEST_FOR_A_BOX else None
    shown = [
        reading
        for reading in readings
        if box is None or len(readings) <= EVERY_DOT or reading.why_missed or not box.low <= reading.value <= box.high
    ]
    dots = tuple(_dot(reading, place, axis) for place, reading in enumerate(shown))
    return Strip(structure, box, dots, _words(structure, readings))


def _dot(reading: _Reading, place: int, axis: Axis) -> Dot:
    y = round(22 + 56 * (place * 0.618 % 1), 2)  # the golden ratio spreads neighbours, so that equal scores are seen
    beyond = reading.value > axis.high
    x = GUTTER if beyond else axis.at(reading.value)
    if reading.why_missed:
        return Dot(x, y, reading.case, f"{reading.case}: {reading.why_missed}", "missed")
    return Dot(x, y, reading.case, f"{reading.case}: {reading.value:.3g}", "beyond" if beyond else "scored")


def _words(structure: str, readings: Sequence[_Reading]) -> str:
    measured = [reading for reading in readings if not reading.why_missed]
    missed = f", {len(readings) - len(measured)} without" if len(measured) < len(readings) else ""
    if not measured:
        return f"{structure}: no value{missed}"
    ends = [pick(measured, key=lambda reading: reading.value) for pick in (min, max)]
    lowest, highest = (f"{end.value:.3g} ({end.case})" for end in ends)
    median = float(np.median(_measured(readings)))
    return f"{structure}: median {median:.3g}, from {lowest} to {highest}, n = {len(measured)}{missed}"
