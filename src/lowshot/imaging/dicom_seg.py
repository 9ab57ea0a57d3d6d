"""DICOM segmentations (SEG): one file, with a mask of each structure in the frames where it lies; by highdicom."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lowshot.errors import GridMismatch, InputError, MissingExtra
from lowshot.imaging.dicom_file import read_dataset
from lowshot.imaging.dicom_references import Referred, require_same_frame
from lowshot.imaging.grid import LPS_TO_RAS, Grid
from lowshot.imaging.scan import Segmentation
from lowshot.imaging.stored import reading
from lowshot.imaging.structures import Mask, Structures, legible_names

if TYPE_CHECKING:
    from pydicom import Dataset

_OFF = 0.1
"""How far, in voxels, a frame may lie off the voxels of its image."""
_INSIDE = 0.5
"""The fraction of a voxel from which on it is inside, in segmentations that have fractions."""


def require_highdicom(path: Path) -> Any:
    """The library.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import highdicom
    except ImportError as error:
        raise MissingExtra(f"{path}: DICOM segmentations need {error.name}: pip install 'lowshot[dicom]'") from error
    return highdicom


def names_within(path: Path) -> tuple[str, ...]:
    """Of the segments.

    Raises:
        UnreadableFile: damaged.
    """
    with reading(path, "a DICOM segmentation"):
        return tuple(_names_by_number(read_dataset(path, stop_before_pixels=True)).values())


def _names_by_number(content: "Dataset") -> dict[int, str]:
    segments = [each for each in content.SegmentSequence if each.SegmentNumber > 0]  # 0: background, where it is told
    names = legible_names([str(each.SegmentLabel) for each in segments])
    return {int(each.SegmentNumber): name for each, name in zip(segments, names, strict=True)}


def read(path: Path, grid: Grid | None, frame: str | None) -> Structures:
    """The segments, on the grid of the image (or on their own, where none is given).

    Raises:
        UnreadableFile: damaged.
        GridMismatch: it lies off the image, or belongs to another.
        InputError: without an image, its frames make no volume.
        MissingExtra: highdicom is not installed.
    """
    highdicom = require_highdicom(path)
    with reading(path, "a DICOM segmentation"):
        content = highdicom.seg.Segmentation.from_dataset(read_dataset(path), copy=False)
        names, frames = _names_by_number(content), list(_frames(content))
        on = grid or _own_grid(content)
    require_same_frame(path, content.get("FrameOfReferenceUID"), frame)
    if on is None:
        raise InputError(f"{path}: its frames make no volume of their own; give the image that it was drawn on")

    numbers = tuple(names)

    def mask(index: int) -> Mask:
        whole = np.zeros(on.shape, dtype=bool)
        for each in frames:
            if each.segment in (numbers[index], None):
                with reading(path, "a DICOM segmentation"):
                    inside = _inside(content, each, numbers[index])
                _lay(inside, each.onto_lps, whole, on, path)
        return whole

    return Structures(str(path), tuple(names.values()), on, mask, frozenset(range(len(names))))


class _Frame(NamedTuple):
    number: int
    """From 1."""
    segment: int | None
    """None: its pixels are segment numbers."""
    onto_lps: npt.NDArray[np.float64]
    """(3, 3): from (row, column, 1) to LPS mm."""


def _frames(content: Any) -> Iterator[_Frame]:
    shared = content.SharedFunctionalGroupsSequence[0] if content.get("SharedFunctionalGroupsSequence") else {}
    labels = content.SegmentationType == "LABELMAP"
    for number, own in enumerate(content.PerFrameFunctionalGroupsSequence, start=1):

        def found(key: str, own: Any = own) -> Any:
            return (own if key in own else shared)[key][0]

        along_row, along_column = np.array(found("PlaneOrientationSequence").ImageOrientationPatient).reshape(2, 3)
        down, across = found("PixelMeasuresSequence").PixelSpacing
        position = found("PlanePositionSequence").ImagePositionPatient
        onto = np.column_stack([along_column * down, along_row * across, position]).astype(np.float64)
        segment = None if labels else int(found("SegmentIdentificationSequence").ReferencedSegmentNumber)
        yield _Frame(number, segment, onto)


def _inside(content: Any, frame: _Frame, segment: int) -> Mask:
    """The pixels of a segment in a frame, (rows, columns)."""
    stored = np.asarray(content.get_stored_frame(frame.number))
    if frame.segment is None:
        return np.asarray(stored == segment)
    most = content.MaximumFractionalValue if content.SegmentationType == "FRACTIONAL" else 1
    return np.asarray(stored >= _INSIDE * most)


def _own_grid(content: Any) -> Grid | None:
    geometry = content.get_volume_geometry()
    if geometry is None:
        return None
    k, j, i = geometry.spatial_shape
    return Grid((i, j, k), np.array(LPS_TO_RAS @ geometry.affine, dtype=np.float64)[:, [2, 1, 0, 3]])


def _lay(inside: Mask, onto_lps: npt.NDArray[np.float64], whole: Mask, grid: Grid, path: Path) -> None:
    """Mark a frame's pixels in the voxels of a grid, whose axes may run in any order and direction.

    Raises:
        GridMismatch: they are not voxels of the grid.
    """
    onto = np.linalg.solve(grid.affine, LPS_TO_RAS @ np.vstack([onto_lps, [0, 0, 1]]))[:3]
    exact = np.rint(onto).astype(int)
    ends = np.array([inside.shape[0] - 1, inside.shape[1] - 1, 1])
    if (abs(onto - exact) * ends).sum(axis=1).max() > _OFF or not (abs(exact[:, :2]).sum(axis=0) == 1).all():
        raise GridMismatch(
            f"{path}: its voxels are not those of the image; it was drawn on another series, or on a resampled one: "
            "give the image that it was drawn on"
        )
    rows, columns = np.nonzero(inside)
    voxels = exact @ np.stack([rows, columns, np.ones_like(rows)])
    if (voxels < 0).any() or (voxels >= np.array(grid.shape)[:, None]).any():
        raise GridMismatch(f"{path}: it reaches beyond the image; give the image that it was drawn on")
    whole[tuple(voxels)] = True


def write(segmentation: Segmentation, path: Path, referred: Referred) -> None:
    """Write the structures as segments 1, 2, ... that refer to the images."""
    highdicom = require_highdicom(path)
    from pydicom.sr.codedict import codes

    made_by = highdicom.AlgorithmIdentificationSequence(
        name=referred.SOFTWARE, family=codes.DCM.ArtificialIntelligence, version=referred.version
    )
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.AnatomicalStructure,
            algorithm_type="AUTOMATIC",
            algorithm_identification=made_by,
        )
        for number, name in enumerate(referred.names, start=1)
    ]
    written: Dataset = highdicom.seg.Segmentation(
        source_images=referred.images,
        pixel_array=np.ascontiguousarray(segmentation.labels.cpu().numpy().transpose(2, 1, 0), dtype=np.uint16),
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=referred.uid(),
        series_number=referred.SERIES_NUMBER,
        sop_instance_uid=referred.uid(),
        instance_number=1,
        manufacturer=referred.SOFTWARE,
        manufacturer_model_name=referred.SOFTWARE,
        software_versions=referred.version,
        device_serial_number="none",
        series_description=referred.SOFTWARE,
        omit_empty_frames=bool((segmentation.labels > 0).any()),
    )
    written.SpecificCharacterSet = referred.CHARACTERS
    written.save_as(path, enforce_file_format=True)
