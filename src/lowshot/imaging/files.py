"""Reading scans and label maps, and writing results on the scan's own grid with its own header."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lowshot.atomic import atomic_path
from lowshot.errors import (
    BadVoxels,
    ChannelMismatch,
    GridMismatch,
    InputError,
    OutputError,
    UnknownLabel,
    UnreadableFile,
)
from lowshot.imaging import dicom, itk, nifti
from lowshot.imaging.grid import Affine, Grid
from lowshot.imaging.names import Names
from lowshot.imaging.quiet import quiet
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation, Source
from lowshot.imaging.stored import Stored, require_file

Write = Callable[[npt.NDArray[Any], Affine, Path, Source | None, bool], None]


@dataclass(frozen=True)
class Format:
    """How files with these suffixes are read and, if they can be, written."""

    suffixes: tuple[str, ...]
    read: Callable[[Path], Stored]
    write: Write | None = None
    written: tuple[str, ...] = ()
    """The suffixes that can be written."""
    refuse: Callable[[npt.NDArray[Any], Path, bool], None] | None = None
    """Refuses what the format cannot hold, before anything is written."""


FORMATS: dict[str, Format] = {
    "nifti": Format((".nii.gz", ".nii"), nifti.read, nifti.write, (".nii.gz", ".nii")),
    "mgz": Format((".mgz", ".mgh"), nifti.read),
    "nrrd": Format((".nrrd", ".nhdr"), itk.read_volume, itk.write, (".nrrd",)),
    "metaimage": Format((".mha", ".mhd"), itk.read_volume, itk.write, (".mha",)),
    "png": Format((".png",), itk.read_picture, itk.write_picture, (".png",), itk.refuse_picture),
    "tiff": Format((".tif", ".tiff"), itk.read_picture),
    "dicom": Format((), dicom.read),
}

_COLOURS = ("red", "green", "blue")

_MOST_UNNAMED = 1000
"""More different values than this are an image, unless somebody has named them."""

_WHOLE = 2**53
"""From here on not every whole number is one in float64, so that labels would be confused."""

Paths = Path | str | Mapping[str, Path | str]
"""One file or DICOM folder, or one for each channel: ``{"T1": "a.nii.gz", "FLAIR": "b.nii.gz"}``."""


def scan_format(path: Path | str) -> str:
    """The key of ``FORMATS`` for a file, by its suffix, or for a DICOM folder.

    Raises:
        UnreadableFile: no such format.
    """
    path = Path(path)
    for key, each in FORMATS.items():
        if path.name.lower().endswith(each.suffixes):
            return key
    if dicom.split_series(path)[0].is_dir():
        return "dicom"
    require_file(path)
    known = ", ".join(suffix for each in FORMATS.values() for suffix in each.suffixes)
    raise UnreadableFile(f"{path}: expected {known} or a folder of DICOM files, got {path.suffix or 'no suffix'}")


def scan_name(path: Path | str) -> str:
    """The file's name without its suffix: ``1000`` for ``images/1000.nii.gz``."""
    name = Path(path).name
    for suffix in (suffix for each in FORMATS.values() for suffix in each.suffixes):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def read_scan(
    paths: Paths, *, name: str | None = None, channels: Sequence[str] | None = None, colour: bool = False
) -> Scan:
    """A scan exactly as stored, in float32.

    ``channels`` names the fourth axis of a file that has one; without it such a file is refused. A picture whose red,
    green and blue are equal is grey; real colour is refused, or with ``colour`` read as three channels.

    Raises:
        UnreadableFile: missing, truncated, not an image.
        BadVoxels: NaN or infinite voxels, colour, an undeclared fourth axis.
        ChannelMismatch: another number of channels than declared.
        GridMismatch: the files of several channels lie on different grids.
    """
    if isinstance(paths, Mapping):
        return _read_channels(paths, name)
    path = Path(paths)
    stored = _read(path)
    array, names = _channels(path, stored, channels, colour)
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinite
        voxels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0), dtype=np.float32))
    _require_finite(path, voxels)
    source = Source(path, scan_format(path), stored.header)
    return Scan(name or scan_name(path), voxels, stored.affine, names, stored.spacing_known, source)


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

    Raises:
        BadVoxels: values that are not integers.
        UnknownLabel: a value that ``names`` does not have.
        GridMismatch: it does not lie on the grid of ``like``.
    """
    path = Path(path)
    stored = _read(path)
    if like is not None:
        stored = _in_the_order_of(like, stored)
    values = _label_values(path, stored)
    known = None if ignore_value is None else torch.from_numpy(values != ignore_value)
    if ignore_value is not None:
        if names is not None and ignore_value in names.values:
            raise UnknownLabel(
                f"{path}: value {ignore_value} cannot be both ignored and a structure; remove it from one"
            )
        background = background if names is None else names.values[0]
        values = np.where(values == ignore_value, np.int64(background), values)
    if names is None:
        names = _unnamed(path, values, background)
    affine = stored.affine if like is None else _affine_like(path, stored, like)
    return Segmentation(torch.from_numpy(names.encode(values, str(path))), names, affine), known


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
    slice. ``annotated`` names the structures that were looked for, if not all of them.
    """
    scan = read_scan(image, name=name, channels=channels, colour=colour)
    truth, known = read_labels(labels, names, ignore_value=ignore_value, like=scan)
    if annotated_slice is not None:
        known = _only_slice(Path(labels), truth, known, annotated_slice)
    for structure in annotated or ():
        truth.names.index(structure)
    return LabelledScan(scan, truth, known, None if annotated is None else frozenset(annotated))


def write_segmentation(segmentation: Segmentation, path: Path | str, source: Source | None = None) -> None:
    """Write a label map with the values of its names, in the smallest integer type that holds them all.

    Raises:
        OutputError: the format cannot be written, or cannot hold this; a full disk, no permission.
    """
    values = segmentation.names.values
    table = np.array(values, dtype=_smallest_type(min(values), max(values)))
    _write(table[segmentation.labels.cpu().numpy()], segmentation.affine, Path(path), source, labels=True)


def write_volume(
    volume: Float[Tensor, "c i j k"], affine: Affine, path: Path | str, source: Source | None = None
) -> None:
    """Write probabilities or other real numbers as float32; several channels become a fourth axis.

    Raises:
        OutputError: as for ``write_segmentation``.
    """
    array = np.moveaxis(volume.float().cpu().numpy(), 0, -1)
    _write(array[..., 0] if array.shape[-1] == 1 else array, affine, Path(path), source, labels=False)


def _read(path: Path) -> Stored:
    """The file's content; an axis of size 1 behind the third is no axis."""
    key = scan_format(path)
    require_file(dicom.split_series(path)[0] if key == "dicom" else path)
    stored = FORMATS[key].read(path)
    if np.iscomplexobj(stored.array):
        raise BadVoxels(f"{path}: expected real numbers, got complex ones; export the magnitude")
    if stored.array.shape[3:] == (1,):
        return Stored(stored.array[..., 0], stored.affine, stored.header, False, stored.spacing_known)
    return stored


def _channels(
    path: Path, stored: Stored, channels: Sequence[str] | None, colour: bool
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Voxels (i, j, k, c) and a name for each channel."""
    array = stored.array
    names = tuple(channels or ())
    if stored.colour:
        array = _without_opacity(path, array)
        if not colour:
            array = _grey(path, array)
        names = names or (_COLOURS if array.shape[-1:] == (len(_COLOURS),) and colour else ())
    elif array.ndim == 4 and not names:
        raise BadVoxels(
            f"{path}: expected three axes, got shape {array.shape}; if the fourth holds channels, declare their "
            f"{array.shape[3]} names (--channels A,B), if it holds times, split the file"
        )
    array = array[..., None] if array.ndim == 3 else array
    names = names or ("image",)
    if len(names) != array.shape[3]:
        raise ChannelMismatch(f"{path}: expected {len(names)} channels ({', '.join(names)}), got {array.shape[3]}")
    return array, names


def _read_channels(paths: Mapping[str, Path | str], name: str | None) -> Scan:
    """One scan from one file for each channel, all on the first one's grid."""
    if not paths:
        raise ChannelMismatch("expected at least one channel, got none")
    scans = {channel: read_scan(path, channels=[channel]) for channel, path in paths.items()}
    first = next(iter(scans.values()))
    for channel, scan in scans.items():
        if not first.grid.same_as(scan.grid):
            raise GridMismatch(
                f"{paths[channel]}: channel {channel} lies on another grid {scan.grid.shape} than "
                f"{next(iter(paths.values()))} {first.grid.shape} ({_distance(first.grid, scan.grid)}); "
                "resample it to that one first"
            )
    voxels = torch.cat([scan.voxels for scan in scans.values()])
    return Scan(name or first.name, voxels, first.affine, tuple(scans), first.spacing_known, first.source)


def _grey(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The one channel of an image whose red, green and blue are equal."""
    coloured = (array != array[..., :1]).any(axis=-1)
    if coloured.any():
        raise BadVoxels(
            f"{path}: expected grey values, got colour in {coloured.mean():.2%} of its pixels; convert it to grey, or "
            "declare it as colour (--colour)"
        )
    return array[..., 0]


def _without_opacity(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The colours without their opacity, which must be full."""
    if array.shape[-1] in (1, 3):
        return array
    opacity = array[..., -1]
    if opacity.min() != opacity.max():
        raise BadVoxels(f"{path}: some of its pixels are transparent; save it without an alpha channel")
    return array[..., :-1]


def _require_finite(path: Path, voxels: Float[Tensor, "c i j k"]) -> None:
    bad = int((~torch.isfinite(voxels)).sum())
    if bad:
        raise BadVoxels(
            f"{path}: expected finite numbers, got {bad:,} NaN or infinite voxels of {voxels.numel():,}; "
            "export it again, or replace them by the background value"
        )


def _label_values(path: Path, stored: Stored) -> npt.NDArray[np.integer]:
    """Integer values (i, j, k) of a label map, whatever type they are stored in."""
    array = stored.array
    if stored.palette_indices is not None:
        array = stored.palette_indices
    elif stored.colour:
        array = _grey(path, _without_opacity(path, array))
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
                f"grids ({_distance(image.grid, own)}); {_remedy(image.grid, own)}"
            )
        return stored.affine
    if own.shape != image.grid.shape:
        raise GridMismatch(f"{path}: the label map is {own.shape}, its image {image.name} {image.grid.shape}")
    return image.affine


def _distance(one: Grid, other: Grid) -> str:
    return "shapes differ" if one.shape != other.shape else f"{one.distance_mm(other):.3g} mm apart at the corners"


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


def _smallest_type(low: int, high: int) -> type[np.integer]:
    """uint8 where it fits, else a signed type: viewers read those everywhere."""
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    return np.int64


def _write(array: npt.NDArray[Any], affine: Affine, path: Path, source: Source | None, labels: bool) -> None:
    for each in FORMATS.values():
        if each.write is not None and path.name.lower().endswith(each.written):
            if each.refuse is not None:
                each.refuse(array, path, labels)
            with atomic_path(path) as temporary, quiet():
                each.write(array, affine, temporary, source, labels)
            return
    written = ", ".join(suffix for each in FORMATS.values() for suffix in each.written)
    raise OutputError(f"{path}: expected a file ending in {written}")
