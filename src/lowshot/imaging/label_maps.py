"""Reading label maps, and scans with them, on the grid of the image that they belong to."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool
from torch import Tensor

from lowshot.errors import BadVoxels, GridMismatch, InputError, UnknownLabel
from lowshot.imaging import dicom, dicom_objects
from lowshot.imaging.arranging import arrangement, grids
from lowshot.imaging.files import Paths, grey, read_scan, read_stored, without_opacity
from lowshot.imaging.grid import Affine, Arrangement, Grid, Scalar
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.imaging.stored import Stored
from lowshot.imaging.structures import Structures

_MOST_UNNAMED = 1000
"""More different values than this are an image, unless somebody has named them."""

_WHOLE = 2**53
"""From here on not every whole number is one in float64, so that labels would be confused."""


def read_labels(
    path: Path | str,
    names: Names | None = None,
    *,
    background: int = 0,
    ignore_value: int | None = None,
    like: Scan | None = None,
) -> tuple[Segmentation, Bool[Tensor, "i j k"] | None]:
    """A label map, and where it is known: everywhere (None), or except where it holds ``ignore_value``.

    Values may be any integers; ``names`` says what they mean, without it they become "label 5". In a picture with a
    palette they are the colours' numbers. ``like`` is the image it belongs to: a label map without a spacing of its own
    (PNG) lies where that image lies, one that stores the same voxels in another order comes in the image's, and around
    one that holds a box of the image's voxels, as cut to its structures, there is background.

    A DICOM segmentation or structure set (a file, or a folder with nothing else) has structures with names instead of
    values. With ``names``, those of its structures are taken that are named there; the others are left out.

    Raises:
        BadVoxels: values that are not integers.
        UnknownLabel: a value that ``names`` does not have; structures of which ``names`` has none, or that overlap.
        GridMismatch: it does not lie on the grid of ``like``.
    """
    truth, known, _ = _read(Path(path), names, background, ignore_value, like, None)
    return truth, known


def names_within(path: Path | str) -> Names | None:
    """What a DICOM segmentation or structure set says of its structures: value (place in the file) and name.

    None for label maps that have values alone.

    Raises:
        InputError: it cannot be read.
    """
    found = dicom_objects.names_within(Path(path))
    return None if found is None else Names.of(dict(enumerate(found, start=1)))


def read_labelled(
    image: Paths,
    labels: Path | str,
    *,
    names: Names | None = None,
    ignore_value: int | None = None,
    annotated_slice: int | tuple[int, int] | None = None,
    annotated: Collection[str] | None = None,
    name: str | None = None,
    channels: Sequence[str] | None = None,
    colour: bool = False,
) -> LabelledScan:
    """A scan with its label map, which may cover only part of it; what it covers is never guessed.

    ``annotated_slice`` is the index (from 0) along the third axis, or (axis, index), of the only annotated slice, as
    the label map's own file stores it, whatever the order of the image's voxels; of a DICOM segmentation or structure
    set, which has no order of its own, as the image's does. ``annotated`` names the structures that were looked for, if
    not all of them; what a DICOM segmentation or structure set has no entry for was not.
    """
    scan = read_scan(image, name=name, channels=channels, colour=colour)
    truth, known, structures = _read(Path(labels), names, 0, ignore_value, scan, annotated_slice)
    for structure in annotated or ():
        truth.names.index(structure)
    if annotated is None and structures is not None:
        annotated = structures.annotated(truth.names)
    return LabelledScan(scan, truth, known, None if annotated is None else frozenset(annotated))


@dataclass(frozen=True, eq=False)
class _OnImage:
    """Values of a label map as its file stores them, and how they come to lie on its image."""

    values: npt.NDArray[np.integer]
    affine: Affine
    """Of the image; without one, its own."""
    arrangement: Arrangement | None = None
    """None: as they are."""

    def on_image(self, array: npt.NDArray[Scalar], around: int | bool) -> npt.NDArray[Scalar]:
        """An array in the order of the file, with ``around`` where the file has no voxel of the image's."""
        return array if self.arrangement is None else self.arrangement.apply(array, around)


def _read(
    path: Path,
    names: Names | None,
    background: int,
    ignore_value: int | None,
    like: Scan | None,
    annotated_slice: int | tuple[int, int] | None,
) -> tuple[Segmentation, Bool[Tensor, "i j k"] | None, Structures | None]:
    """A label map, where it is known, and the file's structures, if it has any by name."""
    values: npt.NDArray[np.integer]
    structures = dicom_objects.structures(path, None if like is None else like.grid, _frame_of_reference(like))
    if structures is None:
        found = _values(path, like)
    else:
        values, names = structures.label_map(names)
        found = _OnImage(values, structures.grid.affine)
    known = None if annotated_slice is None else found.on_image(_only_slice(path, found, annotated_slice), False)
    values = found.on_image(found.values, background if names is None else names.values[0])
    if ignore_value is not None:
        known = (values != ignore_value) & (True if known is None else known)
        values, background = _without_ignored(path, values, ignore_value, names, background)
    if names is None:
        names = _unnamed(path, values, background)
    truth = Segmentation(torch.from_numpy(names.encode(values, str(path))), names, found.affine)
    return truth, None if known is None else torch.from_numpy(np.ascontiguousarray(known)), structures


def _frame_of_reference(image: Scan | None) -> str | None:
    header = None if image is None or image.source is None else image.source.header
    return header.frame_of_reference if isinstance(header, dicom.Series) else None


def _values(path: Path, like: Scan | None) -> _OnImage:
    stored = read_stored(path)
    values = _label_values(path, stored)
    if like is None:
        return _OnImage(values, stored.affine)
    i, j, k = values.shape
    found = grids(Grid((i, j, k), stored.affine), stored.places)
    if not (stored.spacing_known and like.spacing_known):
        if found[0].shape != like.grid.shape:
            raise GridMismatch(f"{path}: the label map is {found[0].shape}, its image {like.name} {like.grid.shape}")
        return _OnImage(values, like.affine)
    arranged = arrangement(found, like)
    if arranged is None:
        apart = like.grid.apart(found[0])
        raise GridMismatch(
            f"{path}: the label map {found[0].shape} and its image {like.name} {like.grid.shape} lie on different "
            f"grids ({apart}); {_remedy(like.grid, found[0])}",
            apart,
        )
    if any(values.shape[axis] == 1 < size for axis, size in zip(arranged.axes, arranged.shape, strict=True)):
        raise GridMismatch(
            f"{path}: holds a single slice of its image {like.name}, and it cannot be told whether the others show "
            "nothing or are not annotated; save it with all of the image's slices (and say --annotated-slice, if so)"
        )
    return _OnImage(values, like.affine, arranged)


def _without_ignored(
    path: Path, values: npt.NDArray[np.integer], ignore_value: int, names: Names | None, background: int
) -> tuple[npt.NDArray[np.integer], int]:
    if names is not None and ignore_value in names.values:
        raise UnknownLabel(f"{path}: value {ignore_value} cannot be both ignored and a structure; remove it from one")
    background = background if names is None else names.values[0]
    return np.where(values == ignore_value, np.int64(background), values), background


def _label_values(path: Path, stored: Stored) -> npt.NDArray[np.integer]:
    """Integer values (i, j, k) of a label map, whatever type they are stored in."""
    array = stored.array
    if stored.palette_indices is not None:
        array = stored.palette_indices
    elif stored.colour:
        array = grey(path, without_opacity(path, array), "its labels are colours; save them as one number per pixel")
    if array.ndim != 3:
        raise BadVoxels(f"{path}: expected a label map with three axes, got shape {array.shape}")
    if array.dtype == np.uint64 and array.max() >= 2**63:
        raise BadVoxels(f"{path}: expected label values below 2^63, got {array.max()}; give labels smaller numbers")
    if np.issubdtype(array.dtype, np.integer):
        return array.astype(np.int64) if array.dtype == np.uint64 else array
    whole = np.rint(array)
    wrong = ~np.isclose(array, whole, rtol=0, atol=1e-3) | (abs(whole) > _WHOLE)  # also NaN and infinity
    if wrong.any() and np.isnan(array[wrong]).all():
        raise BadVoxels(
            f"{path}: expected integer label values, got NaN in {int(wrong.sum()):,} voxels; replace NaN by the "
            "background value, or by a value of its own and say --ignore-value if these voxels are unknown"
        )
    if wrong.any():
        raise BadVoxels(
            f"{path}: expected integer label values, got {array[wrong][0]:.4g} and {int(wrong.sum()) - 1:,} others "
            "like it; is it the image, or probabilities, or was it resampled with interpolation?"
        )
    return np.asarray(whole, dtype=np.int64)


def _unnamed(path: Path, values: npt.NDArray[np.integer], background: int) -> Names:
    found = np.unique(values).tolist()
    if len(found) > _MOST_UNNAMED:
        raise UnknownLabel(
            f"{path}: expected a label map, got {len(found):,} different values; is it the image? If they are labels, "
            "give their names (--names)"
        )
    return Names.from_values(found, background)


def _remedy(image: Grid, labels: Grid) -> str:
    if image.shape != labels.shape:
        return "resample the label map to the image first"
    return (
        "if it was drawn on this image, its header was lost on the way: save it with the image's affine; if not, "
        "resample it to the image first"
    )


def _only_slice(path: Path, found: _OnImage, annotated_slice: int | tuple[int, int]) -> npt.NDArray[np.bool_]:
    axis, index = (2, annotated_slice) if isinstance(annotated_slice, int) else annotated_slice
    shape = found.values.shape
    if not 0 <= axis < 3 or not 0 <= index < shape[axis]:
        raise InputError(
            f"{path}: no slice {index} along axis {axis} in a label map of shape {shape}; both count from 0"
        )
    mask = np.zeros(shape, dtype=np.bool_)
    mask[(slice(None),) * axis + (index,)] = True
    return mask
