"""One DICOM series, from a folder, by pydicom.

A folder with several series is not guessed at: ``folder#4`` names the series by its number, ``folder#.168.3.11`` by the
end of its unique identifier.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lowshot.errors import UnreadableFile
from lowshot.imaging.grid import Affine
from lowshot.imaging.stored import Stored, reading, require_file, require_geometry

if TYPE_CHECKING:
    from pydicom import Dataset

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_POSITION_TOLERANCE = 0.1
"""How far, in slice distances, a slice may lie off the regular line."""
_DIRECTION_TOLERANCE = 1e-3
_MEASURED = ("CT", "PT")
"""Modalities whose rescaled numbers are a measurement (HU, Bq/ml), however bright they are to be shown."""
_NEEDED = [
    *("SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "NumberOfFrames", "Rows", "Columns"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "InstanceNumber"),
]

Vector = npt.NDArray[np.float64]


def split_series(path: Path) -> tuple[Path, str | None]:
    """(folder, series) of ``folder#series``."""
    if "#" in path.name and not path.exists():
        folder, _, series = path.name.rpartition("#")
        return path.with_name(folder), series
    return path, None


def read(path: Path) -> Stored:
    """The series as one volume: slices sorted along their normal, rescaled to the units of the modality (HU for CT).

    A tilted gantry becomes a sheared affine, as it is. The header is the first slice's data set without its pixels.

    Raises:
        UnreadableFile: no series or several, slices missing, uneven, repeated or of different sizes, several images in
            one file, or a compression that pydicom cannot undo here.
    """
    folder, series = split_series(path)
    require_file(folder)
    slices = _sorted_slices(folder, _chosen(folder, _all_series(folder), series))
    affine, spacing_known = _geometry(folder, [header for _, header in slices])
    require_geometry(folder, affine)
    with reading(folder, "DICOM", RuntimeError, NotImplementedError, AttributeError, ValueError):
        array = np.stack([_pixels(file) for file, _ in slices], axis=2)
    return Stored(array, affine, slices[0][1], colour=array.ndim == 4, spacing_known=spacing_known)


Series = list[tuple[Path, "Dataset"]]


def _all_series(folder: Path) -> dict[str, Series]:
    """Every image in the folder by its series; what is no DICOM image is passed over."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    found: dict[str, Series] = defaultdict(list)
    for file in sorted(each for each in folder.iterdir() if each.is_file()):
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_NEEDED))
        except InvalidDicomError:
            continue
        if "Rows" in header and "SeriesInstanceUID" in header:  # a DICOMDIR or a report has none
            found[str(header.SeriesInstanceUID)].append((file, header))
    if not found:
        inner = sorted(each.name for each in folder.iterdir() if each.is_dir())
        hint = f"; give one of its folders ({', '.join(inner[:5])})" if inner else ""
        raise UnreadableFile(f"{folder}: expected DICOM images in this folder, found none{hint}")
    return found


def _chosen(folder: Path, found: dict[str, Series], series: str | None) -> Series:
    matches = dict(found)
    if series is not None:
        numbered = {uid for uid, slices in found.items() if str(slices[0][1].get("SeriesNumber", "")) == series}
        matches = {uid: found[uid] for uid in numbered or (uid for uid in found if uid.endswith(series))}
    if len(matches) == 1:
        return next(iter(matches.values()))
    in_order = sorted(found.items(), key=lambda each: int(each[1][0][1].get("SeriesNumber") or 0))
    listed = "; ".join(_described(uid, slices) for uid, slices in in_order)
    wanted = "one series" if series is None else f"one series with number {series} or ending in it"
    raise UnreadableFile(
        f"{folder}: expected {wanted}, found {len(matches)} among {len(found)}: {listed}. "
        f"Choose one as {folder}#NUMBER or {folder}#END_OF_IDENTIFIER"
    )


def _described(uid: str, slices: Series) -> str:
    header = slices[0][1]
    name = f"number {header.get('SeriesNumber', '?')}, {header.get('SeriesDescription', 'without a description')!r}"
    return f"{name}, {len(slices)} files, identifier …{uid[-12:]}"


def _sorted_slices(folder: Path, slices: Series) -> Series:
    """In the order of their positions along the normal, all of one size and direction."""
    first = slices[0][1]
    if int(first.get("NumberOfFrames") or 1) > 1:
        raise UnreadableFile(
            f"{slices[0][0]}: expected one slice per file, got {first.NumberOfFrames} images in one (enhanced DICOM); "
            "convert it to NIfTI first, for example with dcm2niix"
        )
    sizes = {(header.Rows, header.Columns) for _, header in slices}
    if len(sizes) > 1:
        raise UnreadableFile(f"{folder}: expected slices of one size, got {', '.join(map(str, sorted(sizes)))}")
    if len(slices) == 1:
        return slices
    if not all("ImagePositionPatient" in header and "ImageOrientationPatient" in header for _, header in slices):
        raise UnreadableFile(f"{folder}: {len(slices)} images without position or orientation make no volume")
    directions = np.array([header.ImageOrientationPatient for _, header in slices], dtype=np.float64)
    if abs(directions - directions[0]).max() > _DIRECTION_TOLERANCE:
        raise UnreadableFile(
            f"{folder}: its slices point in different directions (a localiser?); choose another series"
        )
    normal = np.cross(directions[0, :3], directions[0, 3:])
    return sorted(slices, key=lambda each: float(_position(each[1]) @ normal))


def _geometry(folder: Path, headers: Sequence["Dataset"]) -> tuple[Affine, bool]:
    """RAS+ affine of sorted slices, and whether its millimetres are known."""
    first = headers[0]
    if "ImagePositionPatient" not in first or "ImageOrientationPatient" not in first:
        down, across = (float(mm) for mm in first.get("PixelSpacing") or (1, 1))
        return _LPS_TO_RAS @ np.diag([across, down, 1.0, 1.0]), "PixelSpacing" in first
    along_row, along_column = np.array(first.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    down, across = (float(mm) for mm in first.PixelSpacing)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = along_row * across, along_column * down
    lps[:3, 2] = _slice_step(folder, headers, np.cross(along_row, along_column))
    lps[:3, 3] = _position(first)
    return np.asarray(_LPS_TO_RAS @ lps, dtype=np.float64), True


def _slice_step(folder: Path, headers: Sequence["Dataset"], normal: Vector) -> Vector:
    """From one slice to the next, in mm; oblique to the normal where the gantry was tilted."""
    if len(headers) == 1:
        return normal * float(headers[0].get("SliceThickness") or 1)
    positions = np.array([_position(header) for header in headers])
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    if gaps.min() < 1e-3:
        k = int(gaps.argmin())
        raise UnreadableFile(
            f"{folder}: {int((gaps < 1e-3).sum())} slices lie where another one lies, the first at "
            f"{positions[k] @ normal:.2f} mm: several volumes (times, echoes) in one series; export them one by one"
        )
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    off = np.linalg.norm(positions - positions[0] - np.arange(len(positions))[:, None] * step, axis=1)
    if off.max() > _POSITION_TOLERANCE * usual:
        k = int(gaps.argmax())
        raise UnreadableFile(
            f"{folder}: expected evenly spaced slices, got {gaps[k]:.2f} mm between slices {k + 1} and "
            f"{k + 2} where {usual:.2f} mm are usual: slices are missing, or the spacing is uneven; export it again"
        )
    return np.asarray(step, dtype=np.float64)


def _position(header: "Dataset") -> Vector:
    return np.array(header.ImagePositionPatient, dtype=np.float64)


def _pixels(file: Path) -> npt.NDArray[np.float32]:
    """One slice as (i, j), or (i, j, colour): columns first."""
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut

    dataset = pydicom.dcmread(file)
    stored = dataset.pixel_array
    if dataset.PhotometricInterpretation == "MONOCHROME1" and dataset.get("Modality") not in _MEASURED:
        signed = dataset.PixelRepresentation == 1
        stored = (-1 if signed else 2**dataset.BitsStored - 1) - stored  # white is the lowest number: turn it round
    pixels = apply_modality_lut(stored, dataset)
    return np.ascontiguousarray(pixels.swapaxes(0, 1), dtype=np.float32)
