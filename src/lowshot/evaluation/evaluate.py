"""Predictions against truth: one score per case and structure.

The definitions are in ``overlap.py``, ``surface.py`` and ``radial.py``. Here is what they are applied to:

- structures are matched by name; the background is not scored, nor is a structure nobody looked for;
- voxels whose label is unknown are removed from prediction and truth before anything is counted;
- a volume of which one slice is known is scored as the picture that this slice is;
- a missing prediction is an empty one: Dice 0, HD95 the image diagonal, and it is counted as missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from lowshot.errors import InputError
from lowshot.evaluation.comparable import comparable_labels, looked_for_structures, only_plane, with_blank_scan
from lowshot.evaluation.overlap import dice, false_positive_ratio, true_positive_ratio
from lowshot.evaluation.radial import radial_error
from lowshot.evaluation.scores import CaseScores, Empty, Evaluation, Pairs, Score
from lowshot.evaluation.surface import VOXELS, hd95
from lowshot.evaluation.variants import Variants, variants_of
from lowshot.imaging.grid import Affine
from lowshot.imaging.scan import LabelledScan, Segmentation
from lowshot.progress import Progress, Silent


def evaluate(pairs: Pairs, *, variants: bool = False, progress: Progress | None = None) -> Evaluation:
    """Score every pair. One that cannot be read or scored is listed in ``failed`` and does not stop the others.

    Args:
        pairs: predictions with their truth; when it is lazy, only one pair at a time is in memory.
        variants: also compute Dice and HD95 as other scorers do.
        progress: where to say how far the work is.

    Raises:
        InputError: there are no pairs, two cases share a name, or every one failed (the first reason is raised).
    """
    progress = progress or Silent()
    cases: list[CaseScores] = []
    failures: list[InputError] = []
    with progress.task("evaluating", len(pairs)) as task:
        for position in range(len(pairs)):
            try:
                pair = pairs[position]
                scores = evaluate_case(pair.prediction, pair.truth, pair.case, pair.expected_dice, variants=variants)
                cases.append(replace(scores, notes=pair.notes, position=position))
            except InputError as error:
                failures.append(error)
                progress.warn(str(error))
            task.advance()
    if not cases and failures:
        raise failures[0]
    _refuse_unusable(cases)
    return Evaluation(tuple(cases), pairs, tuple(str(failure) for failure in failures))


def _refuse_unusable(cases: Sequence[CaseScores]) -> None:
    if not cases:
        raise InputError("nothing to evaluate: there is no pair of prediction and truth")
    names = [case.case for case in cases]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise InputError(f"several cases are called {', '.join(doubles)}; give each its own name")


def evaluate_case(
    prediction: Segmentation | None,
    truth: LabelledScan | Segmentation,
    case: str,
    expected_dice: Mapping[str, float | None] | None = None,
    *,
    variants: bool = False,
) -> CaseScores:
    """Score one case, one row for each annotated structure of the truth but the background.

    Args:
        prediction: on the truth's grid; None if there is none.
        truth: with its scan it also says whether the spacing is known (else it is taken to be), what was looked for
            and where.
        case: its name in tables and messages.
        expected_dice: the model's own estimate by structure name, shown beside the true Dice.
        variants: also compute Dice and HD95 as other scorers do.

    Raises:
        GridMismatch: prediction and truth do not share one grid.
        UnknownLabel: they have no structure name in common.
        InputError: no structure is annotated in the truth.
    """
    labelled = truth if isinstance(truth, LabelledScan) else with_blank_scan(truth, case)
    structures = looked_for_structures(labelled)
    if not structures:
        raise InputError(f"{case}: no structure is annotated in the truth, so there is nothing to score")
    predicted, true = comparable_labels(prediction, labelled, case)
    names, spacing_known, expected = labelled.truth.names, labelled.scan.spacing_known, expected_dice or {}
    affine = labelled.truth.affine if spacing_known else VOXELS
    if (plane := only_plane(labelled)) is not None:  # distances within it, and borders of a picture
        axis, index = plane
        predicted, true = (np.moveaxis(each, axis, 2)[..., index : index + 1] for each in (predicted, true))
        affine = affine[:, [*(other for other in range(3) if other != axis), axis, 3]]
    rows = (
        _score(
            predicted == names.index(name),
            true == names.index(name),
            affine,
            spacing_known=spacing_known,
            case=case,
            structure=name,
            missing=prediction is None,
            expected_dice=float("nan") if (estimate := expected.get(name)) is None else estimate,
            variants=variants,
        )
        for name in structures
    )
    return CaseScores(case, tuple(rows))


_EMPTY: dict[tuple[bool, bool], Empty] = {
    (False, False): "none",
    (True, False): "prediction",
    (False, True): "truth",
    (True, True): "both",
}


def _score(
    prediction: Bool[np.ndarray, "i j k"],
    truth: Bool[np.ndarray, "i j k"],
    affine: Affine,
    *,
    spacing_known: bool,
    case: str,
    structure: str,
    missing: bool,
    expected_dice: float,
    variants: bool,
) -> Score:
    voxel_volume = abs(float(np.linalg.det(affine[:3, :3]))) / 1000 if spacing_known else 1.0
    return Score(
        case=case,
        structure=structure,
        dice=dice(prediction, truth),
        hd95=hd95(prediction, truth, affine),
        hd95_unit="mm" if spacing_known else "voxels",
        volume_prediction=int(prediction.sum()) * voxel_volume,
        volume_truth=int(truth.sum()) * voxel_volume,
        volume_unit="ml" if spacing_known else "voxels",
        empty=_EMPTY[not prediction.any(), not truth.any()],
        missing=missing,
        expected_dice=expected_dice,
        true_positive_ratio=true_positive_ratio(prediction, truth),
        false_positive_ratio=false_positive_ratio(prediction, truth),
        volume_elsewhere=int(prediction[..., ~truth.any(axis=(0, 1))].sum()) * voxel_volume,
        radial_error=_radial_error(prediction, truth, affine),
        **(variants_of(prediction, truth, affine) if variants else Variants()),
    )


def _radial_error(prediction: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"], affine: Affine) -> float:
    """Of a 2-D image; NaN for a volume."""
    if truth.shape[2] != 1:
        return float("nan")
    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    return radial_error(prediction[..., 0], truth[..., 0], (float(spacing[0]), float(spacing[1])))
