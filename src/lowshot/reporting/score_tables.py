"""The tables of an evaluation: every row, one line per structure, and one case."""

import math

from lowshot.evaluation.scores import CaseScores, Empty, Evaluation
from lowshot.evaluation.statistics import Summary
from lowshot.evaluation.summary import summarise, units
from lowshot.evaluation.triage import mean_expected_and_true
from lowshot.reporting.tables import Cell, Column, Table, mean_and_spread

ROW_COLUMNS = (
    "case",
    "structure",
    "dice",
    "hd95",
    "hd95_unit",
    "volume_prediction",
    "volume_truth",
    "volume_difference",
    "volume_unit",
    "empty",
    "missing",
    "expected_dice",
    "true_positive_ratio",
    "false_positive_ratio",
    "radial_error",
    "hd95_pooled_voxels",
    "hd95_in_plane",
    "hd95_legacy_empty",
    "dice_of_slices",
    "dice_legacy_empty",
)
SOMETIMES = ROW_COLUMNS[ROW_COLUMNS.index("radial_error") :]
"""Radial errors are of images, variants are there where they were asked for."""


def rows_table(evaluation: Evaluation) -> Table:
    """One row per case and structure, by the names of ``Score``; radial errors and variants where there are."""
    rows = tuple(tuple(getattr(score, name) for name in ROW_COLUMNS) for score in evaluation.scores)
    return Table(tuple(map(Column, ROW_COLUMNS)), rows).without_empty(*SOMETIMES)


def summary_table(evaluation: Evaluation) -> Table:
    """One line per structure and a last one over all of them; mean ± sample standard deviation over cases."""
    distance, volume = units(evaluation.scores)
    columns = (
        Column("structure", numeric=False),
        Column("Dice"),
        Column(f"HD95 ({distance})"),
        Column(f"volume difference ({volume})"),
        Column("lowest Dice"),
        Column("n"),
        Column("left out"),
        Column("empty prediction"),
        Column("empty truth"),
        Column("missing"),
    )
    rows = tuple(
        (
            line.structure,
            _spread(line.dice, 3),
            _spread(line.hd95, 2),
            _spread(line.volume_difference, 2),
            line.dice.minimum,
            line.dice.n,
            line.dice.left_out,
            line.empty_predictions,
            line.empty_truths,
            line.missing,
        )
        for line in summarise(evaluation)
    )
    return Table(columns, rows)


def cases_table(evaluation: Evaluation) -> Table:
    """One line per case, the worst first."""
    distance, _ = units(evaluation.scores)
    columns = (
        Column("case", numeric=False),
        Column("mean Dice"),
        Column("lowest Dice"),
        Column("of", numeric=False),
        Column("expected Dice"),
        Column(f"mean HD95 ({distance})", digits=2),
        Column("remark", numeric=False),
    )
    rows = tuple(_line(case, distance) for case in evaluation.worst_first())
    return Table(columns, rows).without_empty("expected Dice", "remark")


def _line(case: CaseScores, distance: str) -> tuple[Cell, ...]:
    scored = [score for score in case.scores if not math.isnan(score.dice)]
    lowest = min(scored, key=lambda score: score.dice, default=None)
    hd95 = Summary.of([score.hd95 for score in scored]).mean if distance != "mixed" else None
    expected = means[0] if (means := mean_expected_and_true(case)) else None
    remark = "no prediction" if all(score.missing for score in case.scores) else ""
    worst = (lowest.dice, lowest.structure) if lowest else (None, None)
    return case.case, case.mean_dice, *worst, expected, hd95, remark


def case_table(case: CaseScores) -> Table:
    """One line per structure of one case; what the model expected, and remarks, where there are any."""
    distance, volume = units(case.scores)
    digits = 2 if volume == "ml" else 0
    columns = (
        Column("structure", numeric=False),
        Column("Dice"),
        Column("expected Dice"),
        Column(f"HD95 ({distance})", digits=2),
        Column(f"predicted ({volume})", digits=digits),
        Column(f"true ({volume})", digits=digits),
        Column("remark", numeric=False),
    )
    rows = tuple(
        (
            score.structure,
            score.dice,
            score.expected_dice,
            score.hd95,
            score.volume_prediction,
            score.volume_truth,
            "no prediction" if score.missing and score.empty == "prediction" else REMARKS[score.empty],
        )
        for score in case.scores
    )
    return Table(columns, rows).without_empty("expected Dice", "remark")


REMARKS: dict[Empty, str] = {
    "none": "",
    "prediction": "prediction is empty: HD95 is the image's diagonal",
    "truth": "truth is empty: HD95 is the image's diagonal",
    "both": "both empty: left out",
}


def _spread(summary: Summary | None, digits: int) -> Cell:
    return None if summary is None else mean_and_spread(summary.mean, summary.std, digits)
