"""What of a prediction and its truth can be compared at all."""

import numpy as np
import torch
from jaxtyping import Int16

from lowshot.errors import GridMismatch, UnknownLabel
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation


def comparable_labels(
    prediction: Segmentation | None, truth: LabelledScan, case: str
) -> tuple[Int16[np.ndarray, "i j k"], Int16[np.ndarray, "i j k"]]:
    """Prediction and truth as indices of the truth's names, with all that cannot be compared set to background.

    That is: voxels whose label is unknown, structures nobody looked for, and predicted structures that the truth has
    no name for. A missing prediction (None) is empty.

    Raises:
        GridMismatch: prediction and truth do not share one grid.
        UnknownLabel: they have no structure name in common.
    """
    names = truth.truth.names
    looked_for = looked_for_structures(truth)
    true_index = {name: names.index(name) for name in looked_for}
    true = _renumbered(truth.truth, true_index)
    predicted = np.zeros_like(true)
    if prediction is not None:
        _require_comparable(prediction, truth.truth, case)
        predicted = _renumbered(prediction, true_index)
    if truth.known is not None:
        unknown = ~truth.known.cpu().numpy()
        true[unknown] = predicted[unknown] = 0
    return predicted, true


def looked_for_structures(truth: LabelledScan) -> tuple[str, ...]:
    """Names of the structures that were annotated, without the background."""
    names = truth.truth.names.foreground
    return tuple(name for name in names if truth.annotated is None or name in truth.annotated)


def only_plane(truth: LabelledScan) -> tuple[int, int] | None:
    """(axis, index) of the only slice in which anything can be scored: a picture's, or a volume's that alone is known.

    None for other volumes. Where several axes have but one such slice, the last of them.
    """
    for axis in (2, 1, 0):
        here = list(range(truth.truth.labels.shape[axis]))
        if truth.known is not None:
            others = [other for other in range(3) if other != axis]
            here = truth.known.any(dim=others[1]).any(dim=others[0]).nonzero().flatten().tolist()
        if len(here) == 1:
            return axis, here[0]
    return None


def with_blank_scan(truth: Segmentation, case: str, spacing_known: bool = True) -> LabelledScan:
    """Truth whose image nobody gave: the image is black everywhere, and takes no memory."""
    black = torch.zeros(1, 1, 1, 1).expand(1, *truth.labels.shape)
    return LabelledScan(Scan(case, black, truth.affine, spacing_known=spacing_known), truth)


def _renumbered(segmentation: Segmentation, index: dict[str, int]) -> Int16[np.ndarray, "i j k"]:
    """Labels by the given index of each name; names without one become background."""
    lookup = np.array([0, *(index.get(name, 0) for name in segmentation.names.foreground)], dtype=np.int16)
    return np.asarray(lookup[segmentation.labels.cpu().numpy()])


def _require_comparable(prediction: Segmentation, truth: Segmentation, case: str) -> None:
    if not truth.grid.same_as(prediction.grid):
        raise GridMismatch(
            f"{case}: the prediction's grid {prediction.grid.shape} and the truth's {truth.grid.shape} differ "
            f"(by {truth.grid.distance_mm(prediction.grid):.3g} mm at the corners); resample one to the other first"
        )
    if not set(prediction.names.foreground) & set(truth.names.foreground):
        raise UnknownLabel(
            f"{case}: no structure in common: the prediction has {', '.join(prediction.names.foreground)}, "
            f"the truth {', '.join(truth.names.foreground)}. Read both with the same names file"
        )
