"""Structure sets of radiotherapy (RTSTRUCT): closed contours of each structure, slice by slice, by pydicom."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from lowshot.errors import GridMismatch, InputError
from lowshot.imaging.dicom_file import read_dataset
from lowshot.imaging.dicom_references import Referred, require_same_frame
from lowshot.imaging.grid import LPS_TO_RAS, Grid
from lowshot.imaging.scan import Segmentation
from lowshot.imaging.stored import reading
from lowshot.imaging.structures import Mask, Structures, legible_names

if TYPE_CHECKING:
    from pydicom import Dataset

Points = npt.NDArray[np.float64]

_CLOSED, _EXCLUSIVE = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
_OFF = 0.25
"""How far, in slices, a contour may lie off the slice that it is taken to belong to."""
_ROUNDED = 0.01
"""Voxels: a point so near to a voxel's centre was drawn through it, and written with fewer digits."""
_EDGE = 0.5
"""The value between outside (0) and inside (1) at which a contour runs."""


class _Contour(NamedTuple):
    points: Points
    """(points, 3)."""
    exclusive: bool
    """Whether what lies inside of an even number of such contours is outside."""


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One structure of a file."""

    name: str
    frame: str | None
    """Of reference."""
    contours: tuple[_Contour, ...]
    """In LPS mm."""


def names_within(path: Path) -> tuple[str, ...]:
    """Of the structures, drawn or not.

    Raises:
        UnreadableFile: damaged.
    """
    with reading(path, "a DICOM structure set"):
        return legible_names([each.name for each in _structures(read_dataset(path))])


def read(path: Path, grid: Grid | None, frame: str | None) -> Structures:
    """The structures as voxels of the image: those whose centres lie inside of closed contours, or upon them.

    A contour inside of another one is a hole. A structure without any is a line of the planner's form that nobody
    filled in.

    Raises:
        UnreadableFile: damaged.
        InputError: no image is given.
        GridMismatch: contours that do not lie in the image's slices, or belong to another image.
    """
    if grid is None:
        raise InputError(f"{path}: contours have no voxels of their own; give the image that they were drawn on")
    with reading(path, "a DICOM structure set"):
        found = _structures(read_dataset(path))
    names = legible_names([each.name for each in found])
    contours = [_in_voxels(each.contours, grid) for each in found]

    def mask(index: int) -> Mask:
        require_same_frame(path, found[index].frame, frame)
        return _filled(contours[index], grid, f"{path}: {names[index]}")

    return Structures(str(path), names, grid, mask, frozenset(n for n, each in enumerate(contours) if each))


def _structures(content: "Dataset") -> list[_Drawn]:
    drawn: dict[int, list[_Contour]] = defaultdict(list)
    for structure in content.get("ROIContourSequence") or ():
        for contour in structure.get("ContourSequence") or ():
            kind, data = contour.get("ContourGeometricType"), contour.get("ContourData")
            if kind in (_CLOSED, _EXCLUSIVE) and data:
                drawn[int(structure.ReferencedROINumber)].append(_Contour(_points(data), kind == _EXCLUSIVE))
    found: dict[int, _Drawn] = {}
    for each in content.get("StructureSetROISequence") or ():
        number, frame = int(each.ROINumber), each.get("ReferencedFrameOfReferenceUID")
        if number in found:
            raise ValueError(f"two structures have the number {number}")
        name = str(each.get("ROIName") or f"structure {number}")
        found[number] = _Drawn(name, frame and str(frame), tuple(drawn.pop(number, ())))
    if drawn:
        raise ValueError(f"it has contours of a structure {next(iter(drawn))}, which it does not list")
    return list(found.values())


def _points(data: object) -> Points:
    """Of a contour; elements of more than 64 KB come as they are stored."""
    numbers = data.decode("ascii").split("\\") if isinstance(data, bytes) else data
    points = np.array(numbers, dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise ValueError("a contour has points at infinity")
    return points


def _in_voxels(contours: Sequence[_Contour], grid: Grid) -> list[_Contour]:
    """From LPS mm to voxel indices of the grid, each contour once."""
    onto = np.linalg.solve(grid.affine, LPS_TO_RAS)
    found: dict[bytes, _Contour] = {}
    for points, exclusive in contours:
        voxels = points @ onto[:3, :3].T + onto[:3, 3]
        near = np.rint(voxels)
        voxels = np.where(abs(voxels - near) < _ROUNDED, near, voxels)
        found.setdefault(voxels.tobytes(), _Contour(voxels, exclusive))
    return list(found.values())


def _filled(contours: Sequence[_Contour], grid: Grid, where: str) -> Mask:
    inside = np.zeros(grid.shape, dtype=bool)
    axis = _axis(contours)
    slices = np.moveaxis(inside, axis, 0)
    areas: dict[int, list[tuple[Mask, bool]]] = defaultdict(list)
    for points, exclusive in contours:
        k = round(float(points[:, axis].mean()))
        if abs(points[:, axis] - k).max() > _OFF:
            raise GridMismatch(
                f"{where}: a contour lies between the slices of the image, or across them; give the image that it was "
                "drawn on"
            )
        flat = np.delete(points, axis, axis=1)
        beside = (flat.max(axis=0) < -_EDGE) | (flat.min(axis=0) > np.array(slices.shape[1:]) - _EDGE)
        if not 0 <= k < len(slices) or beside.any():
            raise GridMismatch(f"{where}: a contour lies beyond the image; give the image that it was drawn on")
        areas[k].append((_area(flat, slices.shape[1:]), exclusive))
    for k, here in areas.items():
        for area, exclusive in sorted(here, key=lambda each: -each[0].sum()):
            hole = exclusive or not (area & ~slices[k]).any()
            slices[k] = slices[k] ^ area if hole else slices[k] | area
    return inside


def _axis(contours: Sequence[_Contour]) -> int:
    """Along which of the grid's axes contours are stacked: where each of them is flat."""
    extents = np.sum([np.ptp(each.points, axis=0) for each in contours] or [np.zeros(3)], axis=0)
    return 2 if extents[2] <= extents.min() + _ROUNDED * max(1, len(contours)) else int(extents.argmin())


def _area(points: Points, shape: tuple[int, ...]) -> Mask:
    from skimage.draw import polygon

    area = np.zeros(shape, dtype=bool)
    rows, columns = polygon(points[:, 0], points[:, 1], shape)  # type: ignore[no-untyped-call]
    area[rows, columns] = True
    return area


def write(segmentation: Segmentation, path: Path, referred: Referred) -> None:
    """Write the contours around each structure's voxels, halfway to their neighbours; a hole is a contour inside."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import UID, ImplicitVRLittleEndian, RTStructureSetStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTStructureSetStorage, UID(referred.uid())
    meta.TransferSyntaxUID = ImplicitVRLittleEndian  # explicit, a contour could not have more than 64 KB
    content = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    _describe(content, referred)
    frame = str(referred.images[0].FrameOfReferenceUID)
    content.ReferencedFrameOfReferenceSequence = [_frame_of_reference(referred, frame)]
    content.StructureSetROISequence, content.ROIContourSequence, content.RTROIObservationsSequence = [], [], []
    for number, name in enumerate(referred.names, start=1):
        structure, contours, observation = Dataset(), Dataset(), Dataset()
        structure.ROINumber, structure.ROIName = number, name
        structure.ReferencedFrameOfReferenceUID, structure.ROIGenerationAlgorithm = frame, "AUTOMATIC"
        contours.ReferencedROINumber = number
        outlines = list(_drawn(segmentation, number, referred))
        if outlines:
            contours.ContourSequence = outlines
        observation.ObservationNumber = observation.ReferencedROINumber = number
        observation.RTROIInterpretedType, observation.ROIInterpreter = "", ""
        content.StructureSetROISequence.append(structure)
        content.ROIContourSequence.append(contours)
        content.RTROIObservationsSequence.append(observation)
    content.save_as(path, enforce_file_format=True)


def _describe(content: "Dataset", referred: Referred) -> None:
    """Patient and study of the images, and what made this."""
    from pydicom.uid import RTStructureSetStorage

    first, now = referred.images[0], datetime.now()
    for key in (
        *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDate"),
        *("StudyTime", "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID", "SpecificCharacterSet"),
    ):
        setattr(content, key, first.get(key))
    content.SOPClassUID, content.SOPInstanceUID = RTStructureSetStorage, content.file_meta.MediaStorageSOPInstanceUID
    content.Modality, content.SeriesInstanceUID = "RTSTRUCT", referred.uid()
    content.SeriesNumber, content.InstanceNumber = referred.SERIES_NUMBER, 1
    content.SeriesDescription = content.StructureSetLabel = referred.SOFTWARE
    content.Manufacturer = content.ManufacturerModelName = referred.SOFTWARE
    content.SoftwareVersions, content.OperatorsName, content.PositionReferenceIndicator = referred.version, "", ""
    content.StructureSetDate, content.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")


def _frame_of_reference(referred: Referred, frame: str) -> "Dataset":
    """The images that the contours lie on, as RTSTRUCT lists them: frame of reference, study, series, image."""
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

    first = referred.images[0]
    series, study, reference = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = [_reference(image) for image in referred.images]
    study.ReferencedSOPClassUID = UID("1.2.840.10008.3.1.2.3.1")  # Detached Study Management, as the standard has it
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    reference.FrameOfReferenceUID, reference.RTReferencedStudySequence = frame, [study]
    return reference


def _reference(image: "Dataset") -> "Dataset":
    from pydicom.dataset import Dataset

    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return reference


def _drawn(segmentation: Segmentation, structure: int, referred: Referred) -> Iterator["Dataset"]:
    from pydicom.dataset import Dataset

    onto = LPS_TO_RAS @ segmentation.affine
    inside = (segmentation.labels == structure).cpu().numpy()
    for k in np.flatnonzero(inside.any(axis=(0, 1))):
        for outline in _outlines(inside[:, :, k]):
            voxels = np.column_stack([outline, np.full(len(outline), k)])
            points = voxels @ onto[:3, :3].T + onto[:3, 3]
            contour = Dataset()
            contour.ContourImageSequence = [_reference(referred.images[k])]
            contour.ContourGeometricType, contour.NumberOfContourPoints = _CLOSED, len(points)
            contour.ContourData = [f"{value:.9g}" for value in points.ravel()]
            yield contour


def _outlines(inside: Mask) -> list[Points]:
    """Closed outlines (points, 2) of a slice's voxels, in voxel indices, each point once, none amid a line."""
    from skimage.measure import find_contours

    rows, columns = np.nonzero(inside)
    start = np.array([rows.min(), columns.min()])
    box = inside[start[0] : rows.max() + 1, start[1] : columns.max() + 1]
    padded = np.pad(box, 1).astype(np.float64)  # so that what touches the border is closed, too
    found = [outline[:-1] for outline in find_contours(padded, _EDGE)]  # type: ignore[no-untyped-call]
    return [outline[_turns(outline)] - 1 + start for outline in found]


def _turns(outline: Points) -> Mask:
    """Where a closed outline changes its direction."""
    before, after = outline - np.roll(outline, 1, axis=0), np.roll(outline, -1, axis=0) - outline
    return np.asarray(before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0])
