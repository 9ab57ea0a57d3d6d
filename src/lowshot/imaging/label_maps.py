"""Reading label maps, and scans with them, on the grid of the image that they belong to."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool
from torch import Tensor

from lowshot.errors import BadVoxels, GridMismatch, InputError, UnknownLabel
from lowshot.imaging import dicom, dicom_objects
from lowshot.imaging.files import Paths, grey, read_scan, read_stored, without_opacity
from lowshot.imaging.grid import Affine, Grid
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

    Values may be any integers; ``names`` says what they mean, without it they become "label 5". In a PNG with a palette
    they are the numbers of the colours. ``like`` is the image it belongs to: a label map without a spacing of its own
    (PNG) lies where that image lies, and one that stores the same voxels in another order comes in the image's.

    A DICOM segmentation or structure set (a file, or a folder with nothing else) has structures with names instead of
    values. With ``names``, those of its structures are taken that are named there; the others are left out.

    Raises:
        BadVoxels: values that are not integers.
        UnknownLabel: a value that ``names`` does not have; structures of which ``names`` has none, or that overlap.
        GridMismatch: it does not lie on the grid of ``like``.
    """
    truth, known, _ = _read(Path(path), names, background, ignore_value, like)
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

    ``annotated_slice`` is the index (from 0) along the file's third axis, or (axis, index), of the only annotated
    slice. ``annotated`` names the structures that were looked for, if not all of them; what a DICOM segmentation or
    structure set has no entry for was not.
    """
    scan = read_scan(image, name=name, channels=channels, colour=colour)
    truth, known, structures = _read(Path(labels), names, 0, ignore_value, scan)
    if annotated_slice is not None:
        known = _only_slice(Path(labels), truth, known, annotated_slice)
    for structure in annotated or ():
        truth.names.index(structure)
    if annotated is None and structures is not None:
        annotated = structures.annotated(truth.names)
    return LabelledScan(scan, truth, known, None if annotated is None else frozenset(annotated))


def _read(
    path: Path, names: Names | None, background: int, ignore_value: int | None, like: Scan | None
) -> tuple[Segmentation, Bool[Tensor, "i j k"] | None, Structures | None]:
    """A label map, where it is known, and the file's structures, if it has any by name."""
    values: npt.NDArray[np.integer]
    grid = None if like is None else like.grid
    structures = dicom_objects.structures(path, grid, _frame_of_reference(like))
    if structures is None:
        values, affine = _values(path, like)
    else:
        affine = structures.grid.affine
        values, names = structures.label_map(names)
    known = None if ignore_value is None else torch.from_numpy(values != ignore_value)
    if ignore_value is not None:
        values, background = _without_ignored(path, values, ignore_value, names, background)
    if names is None:
        names = _unnamed(path, values, background)
    return Segmentation(torch.from_numpy(names.encode(values, str(path))), names, affine), known, structures


def _frame_of_reference(image: Scan | None) -> str | None:
    header = None if image is None or image.source is None else image.source.header
    return header.frame_of_reference if isinstance(header, dicom.Series) else None


def _values(path: Path, like: Scan | None) -> tuple[npt.NDArray[np.integer], Affine]:
    stored = read_stored(path)
    if like is None:
        return _label_values(path, stored), stored.affine
    stored = _in_the_order_of(like, stored)
    return _label_values(path, stored), _affine_like(path, stored, like)


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
        array = grey(path, without_opacity(path, array))
    if array.ndim != 3:
        raise BadVoxels(f"{path}: expected a label map with three axes, got shape {array.shape}")
    if array.dtype == np.uint64 and array.max() >= 2**63:
        raise BadVoxels(f"{path}: expected label values below 2^63, got {array.max()}; give labels smaller numbers")
    if np.issubdtype(array.dtype, np.integer):
        return array.astype(np.int64) if array.dtype == np.uint64 else array
    whole = np.rint(array)
    wrong = ~np.isclose(array, whole, rtol=0, atol=1e-3) | (abs(whole) > _WHOLE)  # also NaN and infinity
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


def _in_the_order_of(image: Scan, stored: Stored) -> Stored:
    """A label map of the very same voxels, stored along other axes or in the other direction, as the image has them."""
    if stored.array.ndim != 3 or not (stored.spacing_known and image.spacing_known):
        return stored
    i, j, k = stored.array.shape
    order = Grid((i, j, k), stored.affine).reordering(image.grid)
    if order is None or order == ((0, 1, 2), ()):
        return stored
    axes, flips = order
    return replace(stored, array=np.flip(stored.array.transpose(axes), flips), affine=image.affine)


def _affine_like(path: Path, stored: Stored, image: Scan) -> Affine:
    """The label map's own affine, or the image's where one of the two knows no millimetres; refused if they differ."""
    i, j, k = stored.array.shape[:3]
    own = Grid((i, j, k), stored.affine)
    if stored.spacing_known and image.spacing_known:
        if not image.grid.same_as(own):
            raise GridMismatch(
                f"{path}: the label map {own.shape} and its image {image.name} {image.grid.shape} lie on different "
                f"grids ({image.grid.apart(own)}); {_remedy(image.grid, own)}"
            )
        return stored.affine
    if own.shape != image.grid.shape:
        raise GridMismatch(f"{path}: the label map is {own.shape}, its image {image.name} {image.grid.shape}")
    return image.affine


def _remedy(image: Grid, labels: Grid) -> str:
    if image.shape != labels.shape:
        return "resample the label map to the image first"
    return (
        "if it was drawn on this image, its header was lost on the way: save it with the image's affine; if not, "
        "resample it to the image first"
    )


def _only_slice(
    path: Path, truth: Segmentation, known: Tensor | None, annotated_slice: int | tuple[int, int]
) -> Tensor:
    axis, index = (2, annotated_slice) if isinstance(annotated_slice, int) else annotated_slice
    shape = truth.grid.shape
    if not 0 <= axis < 3 or not 0 <= index < shape[axis]:
        raise InputError(
            f"{path}: no slice {index} along axis {axis} in a label map of shape {shape}; both count from 0"
        )
    mask = torch.zeros(shape, dtype=torch.bool)
    mask.select(axis, index).fill_(True)
    return mask if known is None else mask & known
