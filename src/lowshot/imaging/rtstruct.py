"""Structure sets of radiotherapy (RTSTRUCT): closed contours of each structure, slice by slice, by pydicom."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lowshot.errors import GridMismatch, InputError
from lowshot.imaging import dicom
from lowshot.imaging.dicom_references import Written
from lowshot.imaging.grid import LPS_TO_RAS, Grid
from lowshot.imaging.scan import Segmentation
from lowshot.imaging.stored import reading
from lowshot.imaging.structures import Mask, Structures

if TYPE_CHECKING:
    from pydicom import Dataset

Points = npt.NDArray[np.float64]

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OFF = 0.25
"""How far, in slices, a contour may lie off the slice that it is taken to belong to."""
_EDGE = 0.5
"""The value between outside (0) and inside (1) at which a contour runs."""


def names_within(path: Path) -> tuple[str, ...]:
    """Of the structures, drawn or not.

    Raises:
        UnreadableFile: damaged.
    """
    with reading(path, "a DICOM structure set"):
        return tuple(name for name, _ in _contours(dicom.read_dataset(path)))


def read(path: Path, grid: Grid | None) -> Structures:
    """The structures as voxels of the image: those whose centres lie inside of closed contours.

    Where contours of one structure lie in each other, the inner ones are holes. A structure without any is a line of
    the planner's form that nobody filled in.

    Raises:
        UnreadableFile: damaged.
        InputError: no image is given.
        GridMismatch: contours that do not lie in the image's slices.
    """
    if grid is None:
        raise InputError(f"{path}: contours have no voxels of their own; give the image that they were drawn on")
    with reading(path, "a DICOM structure set"):
        found = _contours(dicom.read_dataset(path))
    names, contours = tuple(name for name, _ in found), [_in_voxels(each, grid) for _, each in found]
    axis = _axis(contours)

    def mask(index: int) -> Mask:
        return _filled(contours[index], axis, grid, f"{path}: {names[index]}")

    return Structures(str(path), names, grid, mask, frozenset(n for n, each in enumerate(contours) if each))


def _contours(content: "Dataset") -> list[tuple[str, list[Points]]]:
    """Name and closed contours, (points, 3) in LPS mm, of every structure, in the file's order."""
    drawn: dict[int, list[Points]] = defaultdict(list)
    for structure in content.get("ROIContourSequence") or ():
        for contour in structure.get("ContourSequence") or ():
            if contour.ContourGeometricType in _CLOSED:
                points = np.array(contour.ContourData, dtype=np.float64).reshape(-1, 3)
                if not np.isfinite(points).all():
                    raise ValueError("a contour has points at infinity")
                drawn[int(structure.ReferencedROINumber)].append(points)
    named = {int(each.ROINumber): str(each.ROIName) for each in content.get("StructureSetROISequence") or ()}
    return [(name, drawn[number]) for number, name in named.items()]


def _in_voxels(contours: Sequence[Points], grid: Grid) -> list[Points]:
    """From LPS mm to voxel indices of the grid."""
    onto = np.linalg.solve(grid.affine, LPS_TO_RAS)
    return [each @ onto[:3, :3].T + onto[:3, 3] for each in contours]


def _axis(structures: Sequence[Sequence[Points]]) -> int:
    """Along which of the grid's axes the contours are stacked: where each of them is flat."""
    extents = [np.ptp(contour, axis=0) for contours in structures for contour in contours]
    return int(np.sum(extents, axis=0).argmin()) if extents else 2


def _filled(contours: Sequence[Points], axis: int, grid: Grid, where: str) -> Mask:
    from skimage.draw import polygon

    inside = np.zeros(grid.shape, dtype=bool)
    slices = np.moveaxis(inside, axis, 0)
    across = [n for n in range(3) if n != axis]
    for contour in contours:
        k = round(float(contour[:, axis].mean()))
        if abs(contour[:, axis] - k).max() > _OFF:
            raise GridMismatch(
                f"{where}: a contour lies between the slices of the image, or across them; give the image that it was "
                "drawn on"
            )
        if not 0 <= k < len(slices):
            raise GridMismatch(f"{where}: a contour lies beyond the image; give the image that it was drawn on")
        first, second = contour[:, across].T
        rows, columns = polygon(first, second, slices.shape[1:])  # type: ignore[no-untyped-call]
        slices[k][rows, columns] ^= True
    return inside


def write(segmentation: Segmentation, path: Path, referred: Written) -> None:
    """Write the contours around each structure's voxels, halfway to their neighbours; a hole is a contour inside."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, RTStructureSetStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTStructureSetStorage, UID(referred.uid("instance"))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    _describe(content, referred)
    frame = str(referred.images[0].FrameOfReferenceUID)
    content.ReferencedFrameOfReferenceSequence = [_frame_of_reference(referred, frame)]
    content.StructureSetROISequence, content.ROIContourSequence, content.RTROIObservationsSequence = [], [], []
    for number, name in enumerate(segmentation.names.foreground, start=1):
        structure, contours, observation = Dataset(), Dataset(), Dataset()
        structure.ROINumber, structure.ROIName = number, name[:64]
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


def _describe(content: "Dataset", referred: Written) -> None:
    """Patient and study of the images, and what made this."""
    from pydicom.uid import RTStructureSetStorage

    first = referred.images[0]
    for key in (
        *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDate"),
        *("StudyTime", "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID"),
    ):
        setattr(content, key, first.get(key))
    if "SpecificCharacterSet" in first:
        content.SpecificCharacterSet = first.SpecificCharacterSet
    content.SOPClassUID, content.SOPInstanceUID = RTStructureSetStorage, referred.uid("instance")
    content.Modality, content.SeriesInstanceUID = "RTSTRUCT", referred.uid("series")
    content.SeriesNumber, content.InstanceNumber = referred.series_number, 1
    content.SeriesDescription = content.StructureSetLabel = referred.description
    content.Manufacturer = content.ManufacturerModelName = referred.software
    content.SoftwareVersions, content.OperatorsName, content.PositionReferenceIndicator = referred.version, "", ""
    content.StructureSetDate, content.StructureSetTime = first.StudyDate, first.StudyTime


def _frame_of_reference(referred: Written, frame: str) -> "Dataset":
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


def _drawn(segmentation: Segmentation, structure: int, referred: Written) -> Iterator["Dataset"]:
    from pydicom.dataset import Dataset

    onto = LPS_TO_RAS @ segmentation.affine
    inside = (segmentation.labels == structure).cpu().numpy()
    for k in np.flatnonzero(inside.any(axis=(0, 1))):
        for outline in _outlines(inside[:, :, k]):
            voxels = np.column_stack([outline, np.full(len(outline), k)])
            points = voxels @ onto[:3, :3].T + onto[:3, 3]
            contour = Dataset()
            contour.ContourImageSequence = [_reference(referred.images[k])]
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            contour.ContourData = [f"{value:.9g}" for value in points.ravel()]
            yield contour


def _outlines(inside: Mask) -> list[Points]:
    """Closed outlines (points, 2) of a slice's voxels, in voxel indices, each point once."""
    from skimage.measure import find_contours

    rows, columns = np.nonzero(inside)
    start = np.array([rows.min(), columns.min()])
    box = inside[start[0] : rows.max() + 1, start[1] : columns.max() + 1]
    padded = np.pad(box, 1).astype(np.float64)  # so that what touches the border is closed, too
    return [outline[:-1] - 1 + start for outline in find_contours(padded, _EDGE)]  # type: ignore[no-untyped-call]
