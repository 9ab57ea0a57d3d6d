"""The tables of an evaluation: every row, one line per structure, and one case."""

import math
from dataclasses import fields

from lowshot.evaluation.scores import CaseScores, Empty, Evaluation, Score
from lowshot.evaluation.statistics import Summary
from lowshot.evaluation.summary import summarise, units
from lowshot.reporting.tables import Cell, Column, Table, mean_and_spread

VARIANTS = ("hd95_pooled_voxels", "hd95_in_plane")


def rows_table(evaluation: Evaluation) -> Table:
    """One row per case and structure, headed by the field names of ``Score``. Variants stand in it when computed."""
    rows = evaluation.scores
    empty = {name for name in VARIANTS if all(math.isnan(getattr(row, name)) for row in rows)}
    names = [field.name for field in fields(Score) if field.name not in empty]
    columns = tuple(Column(name) for name in names)
    return Table(columns, tuple(tuple(getattr(row, name) for name in names) for row in rows))


def summary_table(evaluation: Evaluation) -> Table:
    """One line per structure and a last one over all of them; mean ± sample standard deviation over cases."""
    distance, volume = units(evaluation.scores)
    columns = (
        Column("structure", numeric=False),
        Column("Dice"),
        Column("lowest Dice"),
        Column(f"HD95 ({distance})"),
        Column(f"volume difference ({volume})"),
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
            line.dice.minimum,
            _spread(line.hd95, 2),
            _spread(line.volume_difference, 2),
            line.dice.n,
            line.dice.left_out,
            line.empty_predictions,
            line.empty_truths,
            line.missing,
        )
        for line in summarise(evaluation)
    )
    return Table(columns, rows)


def case_table(case: CaseScores) -> Table:
    """One line per structure of one case; the model's own expectation stands in it where there is any."""
    distance, volume = units(case.scores)
    expected = any(not math.isnan(score.expected_dice) for score in case.scores)
    columns = (
        Column("structure", numeric=False),
        Column("Dice"),
        *([Column("expected Dice")] if expected else []),
        Column(f"HD95 ({distance})", digits=2),
        Column(f"predicted ({volume})", digits=2 if volume == "ml" else 0),
        Column(f"true ({volume})", digits=2 if volume == "ml" else 0),
        Column("remark", numeric=False),
    )
    return Table(columns, tuple(_case_row(score, expected) for score in case.scores))


REMARKS: dict[Empty, str] = {
    "none": "",
    "prediction": "prediction is empty",
    "truth": "truth is empty",
    "both": "both empty: left out",
}


def _case_row(score: Score, expected: bool) -> tuple[Cell, ...]:
    remark = "no prediction" if score.missing and score.empty == "prediction" else REMARKS[score.empty]
    return (
        score.structure,
        score.dice,
        *([score.expected_dice] if expected else []),
        score.hd95,
        score.volume_prediction,
        score.volume_truth,
        remark,
    )


def _spread(summary: Summary | None, digits: int) -> Cell:
    return None if summary is None else mean_and_spread(summary.mean, summary.std, digits)
