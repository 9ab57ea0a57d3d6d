"""Which slices of a case to show, cut out and turned as on a clinical workstation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int16, Shaped

from lowshot.evaluation.comparable import comparable_labels
from lowshot.imaging.scan import LabelledScan, Segmentation

MARGIN = 0.15
"""Shown around the structures, as a share of the geometric mean of their longest side and the scan's: a small lesion
is not shown without the organ around it, nor an organ with the whole body."""
NEIGHBOURHOOD = 0.03
"""Of an axis: Dice lost in nearby slices counts too, so that one odd slice at the end of an organ is not chosen."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice as it is looked at: rows from the top, columns from the left."""

    view: str
    """axial, coronal or sagittal; "picture" where the file does not tell the orientation."""
    number: int
    """Counted from 1 along the whole scan."""
    count: int
    counted_from: str
    image: Float[np.ndarray, "rows columns"]
    truth: Int16[np.ndarray, "rows columns"]
    prediction: Int16[np.ndarray, "rows columns"]
    spacing_mm: tuple[float, float]
    """Down and across; in voxels where it is not known."""
    letters: str
    """What lies left, right, bottom and top; empty where the file does not tell."""

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        height, width = np.multiply(self.image.shape, self.spacing_mm)
        return float(width), float(height)


@dataclass(frozen=True)
class _View:
    name: str
    through: int
    across: int
    up: int
    letters: str
    counted_from: str


VIEWS = (
    _View("axial", 2, 0, 1, "RLPA", "the feet"),
    _View("coronal", 1, 0, 2, "RLIS", "the back"),
    _View("sagittal", 0, 1, 2, "APIS", "the patient's left"),
)


def telling_slices(truth: LabelledScan, prediction: Segmentation | None) -> list[Slice]:
    """An axial, a coronal and a sagittal slice where most Dice is lost, zoomed to the structures; one of a 2-D image.

    Slices follow the voxel grid's nearest anatomical planes. The patient's right is on the left, front on the left of
    the sagittal one. Indices are those of the truth's names. Only the first channel is shown.
    """
    predicted, true = comparable_labels(prediction, truth, truth.scan.name)
    upright = _Upright.of(truth)
    image, predicted, true = map(upright.turned, (_first_channel(truth), predicted, true))
    shown = zoom((true > 0) | (predicted > 0), upright.spacing)
    return list(upright.cut(image, true, predicted, most_telling(true, predicted), shown))


def middle_slices(scan: LabelledScan, others: Sequence[LabelledScan] = ()) -> list[list[Slice]]:
    """The three planes through the middle of a scan's structures: of this one, and of others on its grid."""
    upright = _Upright.of(scan)
    mask = upright.turned(scan.truth.labels.cpu().numpy() > 0)
    middle, shown = _middle(mask), zoom(mask, upright.spacing)
    found = []
    for each in (scan, *others):
        labels = upright.turned(each.truth.labels.cpu().numpy().astype(np.int16))
        found.append(list(upright.cut(upright.turned(_first_channel(each)), labels, labels, middle, shown)))
    return found


def _first_channel(scan: LabelledScan) -> Float[np.ndarray, "i j k"]:
    return np.asarray(scan.scan.voxels[0].cpu().float().numpy())


@dataclass(frozen=True, eq=False)
class _Upright:
    """How the volumes of one grid are turned to lie nearest to right, front and head."""

    to_ras: Shaped[np.ndarray, "3 2"]
    spacing: Float[np.ndarray, "3"]
    """Millimetres along the turned axes."""
    known: bool

    @classmethod
    def of(cls, scan: LabelledScan) -> "_Upright":
        from nibabel.orientations import io_orientation

        to_ras = io_orientation(scan.scan.affine)
        spacing = np.empty(3)
        spacing[to_ras[:, 0].astype(int)] = scan.scan.grid.spacing
        return cls(to_ras, spacing, scan.scan.spacing_known)

    def turned(self, volume: Shaped[np.ndarray, "i j k"]) -> Shaped[np.ndarray, "x y z"]:
        from nibabel.orientations import apply_orientation

        return np.asarray(apply_orientation(volume, self.to_ras))

    def cut(
        self,
        image: Float[np.ndarray, "i j k"],
        true: Int16[np.ndarray, "i j k"],
        predicted: Int16[np.ndarray, "i j k"],
        positions: tuple[int, int, int],
        box: tuple[slice, slice, slice],
    ) -> Iterator[Slice]:
        flat = [view for view in VIEWS if image.shape[view.through] == 1]
        for view in flat[:1] or VIEWS:
            here = list(box)
            here[view.through] = slice(positions[view.through], positions[view.through] + 1)
            pixels, outlined, filled = (_as_seen(volume[tuple(here)], view) for volume in (image, true, predicted))
            yield Slice(
                view.name if self.known else "picture",
                positions[view.through] + 1,
                image.shape[view.through],
                view.counted_from if self.known else "",
                np.nan_to_num(pixels),
                outlined,
                filled,
                (float(self.spacing[view.up]), float(self.spacing[view.across])),
                view.letters if self.known else "",
            )


def _as_seen(cut: Shaped[np.ndarray, "i j k"], view: _View) -> Shaped[np.ndarray, "rows columns"]:
    """One slice turned so that row 0 is at the top; column 0 is the patient's right, or the front."""
    return np.moveaxis(cut, (view.up, view.across, view.through), (0, 1, 2))[::-1, ::-1, 0]


def most_telling(true: Int16[np.ndarray, "i j k"], predicted: Int16[np.ndarray, "i j k"]) -> tuple[int, int, int]:
    """Along each axis, the slice around which most Dice is lost; where none is, the middle of the structures.

    1 - Dice of a structure is the number of its wrong voxels over the sizes of prediction and truth together, so each
    wrong voxel costs one over that sum: a small structure counts as much as a large one.
    """
    from scipy.ndimage import gaussian_filter1d

    wrong = np.nonzero(true != predicted)
    if not wrong[0].size:
        return _middle(true > 0)
    labels = max(int(true.max()), int(predicted.max())) + 1
    together = np.bincount(true.ravel(), minlength=labels) + np.bincount(predicted.ravel(), minlength=labels)
    price = 1 / np.maximum(together, 1)
    price[0] = 0  # background has no Dice
    lost = price[true[wrong]] + price[predicted[wrong]]
    along = (np.bincount(wrong[axis], lost, minlength=size) for axis, size in enumerate(true.shape))
    i, j, k = (int(gaussian_filter1d(each, NEIGHBOURHOOD * len(each), mode="constant").argmax()) for each in along)
    return i, j, k


def _middle(mask: Bool[np.ndarray, "i j k"]) -> tuple[int, int, int]:
    """Median position of the mask along each axis, which is always a slice that shows some of it."""
    if not mask.any():
        i, j, k = mask.shape
        return i // 2, j // 2, k // 2
    shares = (mask.sum(axis=others).cumsum() / mask.sum() for others in ((1, 2), (0, 2), (0, 1)))
    i, j, k = (int(np.searchsorted(share, 0.5)) for share in shares)
    return i, j, k


def zoom(mask: Bool[np.ndarray, "i j k"], spacing: Float[np.ndarray, "3"]) -> tuple[slice, slice, slice]:
    """The box around the mask with a margin, equal in millimetres on all sides; everything where it is empty."""
    from scipy.ndimage import find_objects

    if not mask.any():
        return slice(None), slice(None), slice(None)
    box = find_objects(mask.view(np.uint8))[0]
    structures = max((each.stop - each.start) * step for each, step in zip(box, spacing, strict=True))
    whole = float(np.max(mask.shape * spacing))
    margins = np.ceil(MARGIN * np.sqrt(structures * whole) / spacing).astype(int)
    i, j, k = (slice(max(0, side.start - rim), side.stop + rim) for side, rim in zip(box, margins, strict=True))
    return i, j, k
