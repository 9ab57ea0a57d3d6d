"""Reading scans and label maps, and writing results on the scan's own grid with its own header."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from lowshot.atomic import atomic_path
from lowshot.errors import (
    BadVoxels,
    ChannelMismatch,
    GridMismatch,
    OutputError,
    UnreadableFile,
)
from lowshot.imaging import dicom, dicom_objects, itk, nifti
from lowshot.imaging.arranging import affine_in_viewers, arrangement, grids_of
from lowshot.imaging.grid import Affine
from lowshot.imaging.names import Names
from lowshot.imaging.quiet import quiet
from lowshot.imaging.scan import Scan, Segmentation, Source
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

IMAGE_SUFFIXES = tuple(suffix for each in FORMATS.values() for suffix in each.suffixes)
LABEL_SUFFIXES = (*IMAGE_SUFFIXES, *dicom_objects.SUFFIXES)
_WRITTEN = tuple(suffix for each in FORMATS.values() for suffix in each.written)
LABELS_WRITTEN = (*_WRITTEN, *dicom_objects.WRITTEN)

_COLOURS = ("red", "green", "blue")

Paths = Path | str | Mapping[str, Path | str]
"""One file or DICOM folder, or one for each channel: ``{"T1": "a.nii.gz", "FLAIR": "b.nii.gz"}``."""


def scan_format(path: Path | str) -> str:
    """The key of ``FORMATS`` for a file, by its suffix, or for a DICOM folder or file.

    Raises:
        UnreadableFile: no such format.
    """
    path = Path(path)
    for key, each in FORMATS.items():
        if path.name.lower().endswith(each.suffixes):
            return key
    require_file(dicom.split_series(path)[0])
    if dicom.is_meant(path):
        return "dicom"
    known = ", ".join(IMAGE_SUFFIXES)
    raise UnreadableFile(f"{path}: expected {known}, or DICOM (a file, or a folder of files), got none of these")


def scan_name(path: Path | str) -> str:
    """The file's name without its suffix: ``1000`` for ``images/1000.nii.gz``."""
    name = Path(path).name
    for suffix in LABEL_SUFFIXES:
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
        if channels or colour:
            listed = ", ".join(f"{channel}={path}" for channel, path in paths.items())
            raise ChannelMismatch(f"{listed}: each channel has a file of its own; leave out --channels and --colour")
        return _read_channels(paths, name)
    path = Path(paths)
    stored = read_stored(path)
    array, names = _channels(path, stored, channels, colour)
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinite
        voxels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0), dtype=np.float32))
    _require_finite(path, voxels)
    source = Source(path, scan_format(path), stored.header, stored.places)
    return Scan(name or scan_name(path), voxels, stored.affine, names, stored.spacing_known, source)


def write_segmentation(segmentation: Segmentation, path: Path | str, source: Source | None = None) -> None:
    """Write a label map with the values of its names, in the smallest integer type that holds them all.

    ``.seg.dcm`` and ``.rtstruct.dcm`` hold names instead, and refer to the DICOM series in ``source``.

    Raises:
        OutputError: the format cannot be written, or cannot hold this; a full disk, no permission.
        MissingExtra: a DICOM segmentation, without highdicom.
    """
    kind = dicom_objects.kind_written(path)
    if kind is not None:
        dicom_objects.write(segmentation, Path(path), source, kind)
        return
    values = segmentation.names.values
    table = np.array(values, dtype=_smallest_type(min(values), max(values)))
    _write(table[segmentation.labels.cpu().numpy()], segmentation.affine, Path(path), source, labels=True)


def refuse_format(path: Path, shape: tuple[int, int, int], names: Names) -> None:
    """Refuse a format that cannot hold a label map of this shape with all of these values, before the work.

    Raises:
        OutputError: so it is.
    """
    refuse = next((each.refuse for each in FORMATS.values() if _is_written_by(each, path)), None)
    if refuse is not None:
        for value in (min(names.values), max(names.values)):
            refuse(np.broadcast_to(np.int64(value), shape), path, True)


def write_volume(
    volume: Float[Tensor, "c i j k"], affine: Affine, path: Path | str, source: Source | None = None
) -> None:
    """Write probabilities or other real numbers as float32; several channels become a fourth axis.

    Raises:
        OutputError: as for ``write_segmentation``.
    """
    array = np.moveaxis(volume.float().cpu().numpy(), 0, -1)
    _write(array[..., 0] if array.shape[-1] == 1 else array, affine, Path(path), source, labels=False)


def read_stored(path: Path) -> Stored:
    """The file's content; an axis of size 1 behind the third is no axis."""
    key = scan_format(path)
    require_file(dicom.split_series(path)[0] if key == "dicom" else path)
    stored = FORMATS[key].read(path)
    if np.iscomplexobj(stored.array):
        raise BadVoxels(f"{path}: expected real numbers, got complex ones; export the magnitude")
    if stored.array.shape[3:] == (1,):
        return replace(stored, array=stored.array[..., 0], colour=False)
    return stored


def _channels(
    path: Path, stored: Stored, channels: Sequence[str] | None, colour: bool
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Voxels (i, j, k, c) and a name for each channel."""
    array = stored.array
    names = tuple(channels or ())
    if stored.colour:
        array = without_opacity(path, array)
        if not colour:
            array = grey(path, array, "convert it to grey, or declare it as colour (--colour)")
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
    voxels = torch.cat([_voxels_on(first, scan, paths[channel]) for channel, scan in scans.items()])
    return Scan(name or first.name, voxels, first.affine, tuple(scans), first.spacing_known, first.source)


def _voxels_on(first: Scan, scan: Scan, path: Path | str) -> Float[Tensor, "1 i j k"]:
    """The voxels of a channel, in the order of the first one's."""
    arranged = arrangement(grids_of(scan), first)
    if arranged is None or not arranged.covers(scan.grid.shape):
        raise GridMismatch(
            f"{path}: channel {scan.channels[0]} lies on another grid {scan.grid.shape} than "
            f"{first.channels[0]} {first.grid.shape} ({first.grid.apart(scan.grid)}); resample it to that one first"
        )
    return torch.from_numpy(np.ascontiguousarray(arranged.apply(scan.voxels[0].numpy(), 0)))[None]


def grey(path: Path, array: npt.NDArray[Any], remedy: str) -> npt.NDArray[Any]:
    """The one channel of an image whose red, green and blue are equal; others are refused with this remedy."""
    coloured = (array != array[..., :1]).any(axis=-1)
    if coloured.any():
        raise BadVoxels(f"{path}: expected grey values, got colour in {coloured.mean():.2%} of its pixels; {remedy}")
    return array[..., 0]


def without_opacity(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
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


def _smallest_type(low: int, high: int) -> type[np.integer]:
    """uint8 where it fits, else a signed type: viewers read those everywhere."""
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    return np.int64


def _is_written_by(each: Format, path: Path) -> bool:
    return path.name.lower().endswith(each.written)


def _write(array: npt.NDArray[Any], affine: Affine, path: Path, source: Source | None, labels: bool) -> None:
    for each in FORMATS.values():
        if each.write is not None and _is_written_by(each, path):
            if each.refuse is not None:
                each.refuse(array, path, labels)
            with atomic_path(path) as temporary, quiet():
                # NIfTI keeps all that the header says; other formats have one place, where viewers see the scan
                placed = affine if each.write is nifti.write else affine_in_viewers(affine, source)
                each.write(array, placed, temporary, source, labels)
            return
    raise OutputError(f"{path}: expected a file ending in {', '.join(LABELS_WRITTEN if labels else _WRITTEN)}")
