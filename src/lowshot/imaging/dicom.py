"""One DICOM series, from a folder, by pydicom.

A folder with several series is not guessed at: ``folder#4`` names the series by its number, ``folder#.168.3.11`` by the
end of its unique identifier.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lowshot.errors import UnreadableFile
from lowshot.imaging import dicom_pixels
from lowshot.imaging.dicom_file import is_dicom_file, read_dataset
from lowshot.imaging.grid import LPS_TO_RAS, Affine
from lowshot.imaging.stored import Stored, reading, require_file, require_geometry
from lowshot.wording import counted, listed

if TYPE_CHECKING:
    from pydicom import Dataset

_POSITION_TOLERANCE = 0.1
"""How far, in slice distances, a slice may lie off the regular line."""
_DIRECTION_TOLERANCE = 1e-3
SUFFIXES = (".dcm", ".dicom", ".ima")
_NO_IMAGES = ("SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO", "REG")
"""Modalities of what lies beside images in some exports, and is none."""
_MOST_LISTED = 20
"""Series that a message names."""
_UNIT_TOLERANCE = 0.01
"""How far directions may be from perpendicular unit vectors."""
_NEEDED = [
    *("SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "NumberOfFrames", "Rows", "Columns"),
    *("Modality", "PatientID", "SOPInstanceUID", "FrameOfReferenceUID"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """By what results and label maps in DICOM tell which images they belong to."""

    frame_of_reference: str | None
    """Its unique identifier; None where the images do not have one, or not all the same."""
    instances: tuple[str, ...]
    """The unique identifier of every image, in the order of the slices."""


@dataclass(frozen=True, eq=False)
class Slice:
    """What one file says of itself; its pixels are read when the whole series is known to be sound."""

    file: Path
    series: str
    number: str
    description: str
    modality: str
    patient: str
    images: int
    rows: int
    columns: int
    position: Vector | None
    """Of the first pixel, in mm (LPS)."""
    directions: Vector | None
    """(2, 3): along a row, and along a column."""
    spacing: Vector | None
    """(2,) mm: between rows, and between columns."""
    thickness_mm: float
    frame_of_reference: str | None
    instance: str

    @classmethod
    def of(cls, file: Path, header: "Dataset") -> "Slice":
        """Everything is looked at here, where an error is known to be this file's."""
        directions = _numbers(header, "ImageOrientationPatient", 6)
        if directions is not None:
            directions = directions.reshape(2, 3)
            if abs(directions @ directions.T - np.eye(2)).max() > _UNIT_TOLERANCE:
                raise ValueError(f"ImageOrientationPatient is {header.ImageOrientationPatient}, no two directions")
        spacing = _numbers(header, "PixelSpacing", 2)
        if spacing is not None and spacing.min() <= 0:
            raise ValueError(f"PixelSpacing is {header.PixelSpacing}")
        thickness = _numbers(header, "SliceThickness", 1)
        return cls(
            file,
            series=str(header.SeriesInstanceUID),
            number=str(header.get("SeriesNumber") or ""),
            description=str(header.get("SeriesDescription") or ""),
            modality=str(header.get("Modality") or ""),
            patient=str(header.get("PatientID") or ""),
            images=int(header.get("NumberOfFrames") or 1),
            rows=int(header.Rows),
            columns=int(header.Columns),
            position=_numbers(header, "ImagePositionPatient", 3),
            directions=directions,
            spacing=spacing,
            thickness_mm=1.0 if thickness is None or thickness[0] <= 0 else float(thickness[0]),
            frame_of_reference=header.get("FrameOfReferenceUID") and str(header.FrameOfReferenceUID),
            instance=str(header.get("SOPInstanceUID") or ""),
        )


def _numbers(header: "Dataset", key: str, count: int) -> Vector | None:
    """The numbers of an element; None where it is missing or empty."""
    value = header.get(key)
    if value is None or value == "":
        return None
    numbers = np.atleast_1d(np.array(value, dtype=np.float64))
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{key} is {value}, expected {count} numbers")
    return numbers


def split_series(path: Path) -> tuple[Path, str | None]:
    """(folder, series) of ``folder#series``."""
    if "#" in path.name and not path.exists():
        folder, _, series = path.name.rpartition("#")
        return path.with_name(folder), series
    return path, None


def is_meant(path: Path) -> bool:
    """Whether a path is a folder, ``folder#series``, or a DICOM file.

    Raises:
        UnreadableFile: it may not be read.
    """
    if split_series(path)[0].is_dir():
        return True
    with reading(path, "DICOM"):
        return path.is_file() and is_dicom_file(path)


def read(path: Path) -> Stored:
    """The series as one volume: slices sorted along their normal, rescaled to the units of the modality (HU for CT).

    A tilted gantry becomes a sheared affine, as it is. Of the headers a ``Series`` is kept. One file is a series of one
    image, as ultrasound and X-rays are.

    Raises:
        UnreadableFile: no series or several, slices missing, uneven, repeated or of different sizes, several images in
            one file, one slice of several, or a compression that cannot be undone here.
    """
    where, _ = split_series(path)
    slices = _slices(path)
    affine, spacing_known = _geometry(where, slices)
    require_geometry(where, affine)
    pixels = [dicom_pixels.read(each.file) for each in slices]
    if len({each.values.shape for each in pixels}) > 1:
        raise UnreadableFile(f"{where}: some of its slices are grey, some coloured; choose another series")
    array = np.stack([each.values for each in pixels], axis=2)
    numbers = [each.palette_indices for each in pixels if each.palette_indices is not None]
    frames = {each.frame_of_reference for each in slices}
    series_of = Series(frames.pop() if len(frames) == 1 else None, tuple(each.instance for each in slices))
    return Stored(
        array,
        affine,
        series_of,
        colour=array.ndim == 4,
        spacing_known=spacing_known,
        palette_indices=np.stack(numbers, axis=2) if len(numbers) == len(pixels) else None,
    )


def files_in_order(path: Path) -> list[Path]:
    """The files of a series, in the order of its slices in the volume that ``read`` makes of it.

    Raises:
        UnreadableFile: as ``read``.
    """
    return [each.file for each in _slices(path)]


def _slices(path: Path) -> list[Slice]:
    """Of the one series that a path means, in their order."""
    where, series = split_series(path)
    require_file(where)
    slices = _sorted_slices(where, _chosen(where, _all_series(where), series))
    if where.is_file():
        _refuse_part(slices[0])
    return slices


def _refuse_part(image: Slice) -> None:
    """One slice of a volume is no scan; an image without a place is one, whatever else its series has."""
    if image.position is None:
        return
    folder = image.file.parent
    for other in _placed_images(folder, folder.stat().st_mtime_ns):
        if other.file != image.file and (other.series == image.series or _are_one([[image], [other]])):
            raise UnreadableFile(
                f"{image.file}: is one slice of a series, and {other.file.name} another; give their folder, {folder}"
            )


@lru_cache(maxsize=1)
def _placed_images(folder: Path, changed: int) -> tuple[Slice, ...]:
    """The images of a folder that have a place, kept while their files are asked for one by one.

    What cannot be read is none of them: nobody has asked for it.
    """
    del changed  # so that another time of the folder's last change is another question
    found = []
    for file in _visible_files(folder):
        try:
            if is_dicom_file(file):
                found.append(Slice.of(file, read_dataset(file, stop_before_pixels=True, specific_tags=list(_NEEDED))))
        except Exception:  # noqa: S112 (whatever pydicom comes upon in a damaged file)
            continue
    return tuple(each for each in found if each.position is not None)


def _visible_files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_file() and not each.name.startswith("."))


def _all_series(where: Path) -> dict[str, list[Slice]]:
    """Every image of a folder, or the one of a file, by its series; what is no DICOM image is passed over."""
    found: dict[str, list[Slice]] = defaultdict(list)
    others, no_images = [], set()
    for file in [where] if where.is_file() else _visible_files(where):
        with reading(file, "DICOM"):
            if not is_dicom_file(file):
                others.append(file)
                continue
            header = read_dataset(file, stop_before_pixels=True, specific_tags=list(_NEEDED))
            if header.get("Modality") in _NO_IMAGES:
                no_images.add(header.Modality)
            elif "Rows" in header and "SeriesInstanceUID" in header:  # a DICOMDIR has none
                found[str(header.SeriesInstanceUID)].append(Slice.of(file, header))
    if not found:
        raise UnreadableFile(_nothing_found(where, sorted(no_images)))
    _refuse_by_name(others, [each.file for slices in found.values() for each in slices])
    return found


_OTHER_IMAGES = (".nii", ".nii.gz", ".mgz", ".nrrd", ".mha", ".mhd", ".png", ".tif", ".tiff")


def _nothing_found(where: Path, others: Sequence[str]) -> str:
    only = f" (but {', '.join(others)})" if others else ""
    if where.is_file():
        return f"{where}: expected a DICOM image, found none{only}; give the images"
    inner = sorted(each.name for each in where.iterdir() if each.is_dir())
    images = sorted(each.name for each in where.iterdir() if each.name.lower().endswith(_OTHER_IMAGES))
    hint = f"; give one of its folders ({', '.join(inner[:5])})" if inner else ""
    if images:
        hint = f", but {images[0]}; give that file, or list several scans in a CSV"
    return f"{where}: expected DICOM images in this folder, found none{only}{hint}"


def _refuse_by_name(others: Sequence[Path], images: Sequence[Path]) -> None:
    """A slice that is passed over because its first bytes are damaged would be missed by nobody at either end."""
    usual = {_without_numbers(file.name) for file in images}
    for file in others:
        if file.suffix.lower() in SUFFIXES or _without_numbers(file.name) in usual:
            raise UnreadableFile(f"{file}: named as a DICOM file, it is none; copy or export it again, or remove it")


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "0", name)


def _chosen(folder: Path, found: dict[str, list[Slice]], series: str | None) -> list[Slice]:
    numbered = {uid: slices for uid, slices in found.items() if series in (None, slices[0].number)}
    if numbered and _are_one(list(numbered.values())):
        return [slices[0] for slices in numbered.values()]
    matches = numbered or {uid: slices for uid, slices in found.items() if uid.endswith(str(series))}
    if len(matches) == 1:
        return next(iter(matches.values()))
    in_order = sorted(found.values(), key=lambda slices: (len(slices[0].number), slices[0].number))
    wanted = "one series" if series is None else f"one series with number {series} or ending in it"
    raise UnreadableFile(
        f"{folder}: expected {wanted}, found {len(matches)} among {len(found)}: "
        f"{listed(list(map(_described, in_order)), _MOST_LISTED, '; ')}. "
        f"Choose one as {folder}#NUMBER or {folder}#END_OF_IDENTIFIER"
    )


def _are_one(found: Sequence[Sequence[Slice]]) -> bool:
    """Whether images with an identifier each are slices of one series, which somebody made anonymous file by file.

    What is left of number, description, modality and patient has to agree.
    """
    if any(len(slices) > 1 for slices in found):
        return False
    left = zip(*((each.number, each.description, each.modality, each.patient) for (each,) in found), strict=True)
    return all(len(set(values) - {""}) <= 1 for values in left)


def _described(slices: Sequence[Slice]) -> str:
    first = slices[0]
    description = repr(first.description) if first.description else "without a description"
    name = f"number {first.number or '?'}, {description}"
    return f"{name}, {counted(len(slices), 'file')}, identifier …{first.series[-12:]}"


def _sorted_slices(folder: Path, slices: list[Slice]) -> list[Slice]:
    """In the order of their positions along the normal, all of one size and direction."""
    enhanced = next((each for each in slices if each.images > 1), None)
    if enhanced is not None:
        raise UnreadableFile(
            f"{enhanced.file}: expected one slice per file, got {enhanced.images} images in one (enhanced DICOM); "
            "convert it to NIfTI first, for example with dcm2niix"
        )
    sizes = [(each.rows, each.columns) for each in slices]
    (usual, _), *others = Counter(sizes).most_common()
    if others:
        odd = [each for each, size in zip(slices, sizes, strict=True) if size != usual]
        raise UnreadableFile(
            f"{folder}: expected slices of one size, got {', '.join(map(str, sorted(set(sizes))))}; "
            f"{_moved_out(odd, slices)}"
        )
    if len(slices) == 1:
        return slices
    placed = [(each.position, each.directions, each) for each in slices if each.spacing is not None]
    known = [(place, turn, each) for place, turn, each in placed if place is not None and turn is not None]
    if len(known) < len(slices):
        raise UnreadableFile(
            f"{folder}: {len(slices)} images without position, orientation or pixel spacing make no volume; give one "
            "of its files"
        )
    directions = np.array([turn for _, turn, _ in known])
    if not _alike(directions, directions[0]).all():
        usual_turn = max(directions, key=lambda turn: int(_alike(directions, turn).sum()))
        odd = [each for (_, _, each), alike in zip(known, _alike(directions, usual_turn), strict=True) if not alike]
        raise UnreadableFile(
            f"{folder}: its slices point in different directions (a localiser?); {_moved_out(odd, slices)}"
        )
    _refuse_copies(slices)
    normal = np.cross(*directions[0])
    return [each for _, _, each in sorted(known, key=lambda each: float(each[0] @ normal))]


def _alike(directions: Vector, turn: Vector) -> npt.NDArray[np.bool_]:
    """Which of the directions (slices, 2, 3) are this one."""
    return np.asarray(abs(directions - turn).max(axis=(1, 2)) <= _DIRECTION_TOLERANCE)


def _moved_out(odd: Sequence[Slice], slices: Sequence[Slice]) -> str:
    names = listed([each.file.name for each in odd])
    return f"{len(odd)} of {len(slices)} are unlike the others: {names}; move them to a folder of their own"


def _refuse_copies(slices: Sequence[Slice]) -> None:
    """One image under two names; identifiers alone may be equal, where somebody has made them anonymous."""
    seen: dict[tuple[object, ...], Path] = {}
    for each in slices:
        what = each.instance, *(() if each.position is None else each.position.tolist())
        if each.instance and what in seen:
            raise UnreadableFile(f"{each.file}: is the same image as {seen[what].name}; remove one of them")
        seen[what] = each.file


def _geometry(folder: Path, slices: Sequence[Slice]) -> tuple[Affine, bool]:
    """RAS+ affine of sorted slices, and whether its millimetres are known."""
    first = slices[0]
    down, across = (1.0, 1.0) if first.spacing is None else first.spacing
    if first.position is None or first.directions is None or first.spacing is None:
        return LPS_TO_RAS @ np.diag([across, down, 1.0, 1.0]), first.spacing is not None
    along_row, along_column = first.directions
    normal = np.cross(along_row, along_column)
    positions = np.array([each.position for each in slices])
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = along_row * across, along_column * down
    lps[:3, 2] = normal * first.thickness_mm if len(slices) == 1 else _slice_step(folder, positions, normal)
    lps[:3, 3] = first.position
    return np.asarray(LPS_TO_RAS @ lps, dtype=np.float64), True


def _slice_step(folder: Path, positions: Vector, normal: Vector) -> Vector:
    """From one slice to the next, in mm; oblique to the normal where the gantry was tilted."""
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    if gaps.min() < 1e-3:
        k = int(gaps.argmin())
        raise UnreadableFile(
            f"{folder}: slices lie where others lie ({int((gaps < 1e-3).sum())} of {len(positions)}), the first at "
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
