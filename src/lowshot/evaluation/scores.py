"""What an evaluation is made of: a pair to score, one row per case and structure, and all of them together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from lowshot.imaging.scan import LabelledScan, Segmentation

Empty = Literal["none", "prediction", "truth", "both"]


@dataclass(frozen=True)
class Score:
    """One structure of one case."""

    case: str
    structure: str
    dice: float
    """NaN where prediction and truth are both empty: left out of every mean."""
    hd95: float
    """In ``hd95_unit``; NaN where both are empty, the image diagonal where one is."""
    hd95_unit: Literal["mm", "voxels"]
    volume_prediction: float
    volume_truth: float
    volume_unit: Literal["ml", "voxels"]
    empty: Empty
    missing: bool
    """There was no prediction for the whole case."""
    expected_dice: float = float("nan")
    """What the model itself expected, without truth; NaN where it made no estimate."""
    hd95_pooled_voxels: float = float("nan")
    hd95_in_plane: float = float("nan")
    hd95_legacy_empty: float = float("nan")
    dice_of_slices: float = float("nan")
    dice_legacy_empty: float = float("nan")
    """This and the four above: as other scorers compute them (``variants.py``), NaN unless asked for."""
    true_positive_ratio: float = float("nan")
    false_positive_ratio: float = float("nan")
    """Parts of the truth's size that were found rightly and wrongly; NaN where the truth is empty."""
    volume_elsewhere: float = float("nan")
    """What is predicted on slices (along the third axis) that show none of it, in ``volume_unit``."""
    radial_error: float = float("nan")
    """Averaged over rays, in radii of the truth; NaN where the truth is empty, and for volumes."""

    @property
    def volume_difference(self) -> float:
        """Prediction minus truth, in ``volume_unit``."""
        return self.volume_prediction - self.volume_truth


@dataclass(frozen=True, eq=False)
class Pair:
    """A prediction and the truth it is scored against."""

    case: str
    prediction: Segmentation | None
    """None: no prediction was found."""
    truth: LabelledScan | Segmentation
    expected_dice: Mapping[str, float | None] = field(default_factory=dict)
    """By structure name, where the model estimated it."""
    notes: tuple[str, ...] = ()


@runtime_checkable
class Pairs(Protocol):
    """Pairs by position: a list, or something that reads a pair from files when it is asked for."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, position: int, /) -> Pair:
        """The pair at this position; raises ``InputError`` where it cannot be read."""


@dataclass(frozen=True)
class CaseScores:
    """The scores of one case."""

    case: str
    scores: tuple[Score, ...]
    notes: tuple[str, ...] = ()
    position: int = 0
    """Which of the evaluated pairs this was."""

    @property
    def mean_dice(self) -> float:
        """Mean over the structures that are not left out; NaN if all are."""
        defined = [score.dice for score in self.scores if not np.isnan(score.dice)]
        return float(np.mean(defined)) if defined else float("nan")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of many cases. It refers to the pairs, which may be lazy, so that a report can draw the worst."""

    cases: tuple[CaseScores, ...]
    pairs: Pairs
    failed: tuple[str, ...] = ()
    """One message for each pair that could not be scored. No mean counts them."""
    notes: tuple[str, ...] = ()
    """What the reader should know about the choice of pairs, one sentence each."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What was evaluated, and the model that made it where that is known: plain JSON values."""

    @property
    def scores(self) -> tuple[Score, ...]:
        """All rows, case by case."""
        return tuple(score for case in self.cases for score in case.scores)

    @property
    def structures(self) -> tuple[str, ...]:
        """Every structure scored in some case, in order of appearance."""
        return tuple(dict.fromkeys(score.structure for score in self.scores))

    @property
    def missing(self) -> tuple[str, ...]:
        """Cases for which there was no prediction."""
        return tuple(dict.fromkeys(score.case for score in self.scores if score.missing))

    def worst_first(self) -> list[CaseScores]:
        """Cases by rising mean Dice; those without any come last."""
        return sorted(self.cases, key=lambda case: (np.isnan(case.mean_dice), case.mean_dice, case.case))
