"""DICOM segmentations (SEG): one file, with a mask of each structure in the frames where it lies; by highdicom."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lowshot.errors import GridMismatch, MissingExtra
from lowshot.imaging import dicom
from lowshot.imaging.dicom_references import Written
from lowshot.imaging.grid import LPS_TO_RAS, Affine, Grid
from lowshot.imaging.scan import Segmentation
from lowshot.imaging.stored import reading
from lowshot.imaging.structures import Mask, Structures

if TYPE_CHECKING:
    from pydicom import Dataset

_OFF = 0.1
"""How far, in voxels, a segmentation may lie off the voxels of its image."""
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
        content = dicom.read_dataset(path, specific_tags=["SegmentSequence"])
        return tuple(str(segment.SegmentLabel) for segment in content.SegmentSequence if segment.SegmentNumber > 0)


def read(path: Path, grid: Grid | None) -> Structures:
    """The segments, on the grid of the image (or on their own, where none is given).

    Raises:
        UnreadableFile: damaged.
        GridMismatch: it lies off the image.
        MissingExtra: highdicom is not installed.
    """
    highdicom = require_highdicom(path)
    with reading(path, "a DICOM segmentation"):
        segments = highdicom.seg.Segmentation.from_dataset(dicom.read_dataset(path), copy=False)
        numbers = [int(each.SegmentNumber) for each in segments.SegmentSequence if each.SegmentNumber > 0]
        geometry = segments.get_volume_geometry()
        if geometry is None:
            raise ValueError("its frames make no volume")
        columns_first = [2, 1, 0]
        own = np.array(LPS_TO_RAS @ geometry.affine)[:, [*columns_first, 3]]
        k, j, i = geometry.spatial_shape
    on = grid or Grid((i, j, k), own)

    def mask(index: int) -> Mask:
        with reading(path, "a DICOM segmentation"):
            volume = segments.get_volume(segment_numbers=[numbers[index]], combine_segments=False)
        return _laid(volume.array[..., 0].transpose(columns_first) >= _INSIDE, own, on, path)

    names = names_within(path)
    return Structures(str(path), names, on, mask, frozenset(range(len(names))))


def _laid(mask: Mask, affine: Affine, grid: Grid, path: Path) -> Mask:
    """A box of voxels where it lies on a grid, which has them in any order; nothing beside it.

    Raises:
        GridMismatch: they are not the grid's voxels.
    """
    onto = np.linalg.solve(grid.affine, affine)
    for axis, size in enumerate(mask.shape):
        if size == 1:  # a single frame does not say how far it is to the next
            onto[:3, axis] /= abs(onto[:3, axis]).max()
    steps = np.rint(onto[:3, :3])
    ends = np.array(mask.shape) - 1
    off = max(abs((onto[:3, :3] - steps) * ends).sum(axis=1).max(), abs(onto[:3, 3] - np.rint(onto[:3, 3])).max())
    if off > _OFF or not (abs(steps).sum(axis=0) == 1).all() or not (abs(steps).sum(axis=1) == 1).all():
        raise GridMismatch(
            f"{path}: its voxels are not those of the image; it was drawn on another series, or on a resampled one: "
            "give the image that it was drawn on"
        )
    axes = abs(steps).argmax(axis=1)  # of the mask, for each of the grid
    backwards = [n for n in range(3) if steps[n, axes[n]] < 0]
    turned = np.flip(mask.transpose(axes), backwards)
    start = np.rint(onto[:3, 3] + np.minimum(steps @ ends, 0)).astype(int)
    if (start < 0).any() or (start + turned.shape > grid.shape).any():
        raise GridMismatch(f"{path}: it reaches beyond the image; give the image that it was drawn on")
    whole = np.zeros(grid.shape, dtype=bool)
    whole[tuple(slice(at, at + size) for at, size in zip(start, turned.shape, strict=True))] = turned
    return whole


def write(segmentation: Segmentation, path: Path, referred: Written) -> None:
    """Write the structures as segments 1, 2, ... that refer to the images."""
    highdicom = require_highdicom(path)
    from pydicom.sr.codedict import codes

    made_by = highdicom.AlgorithmIdentificationSequence(
        name=referred.software, family=codes.DCM.ArtificialIntelligence, version=referred.version
    )
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=codes.SCT.AnatomicalStructure,
            algorithm_type="AUTOMATIC",
            algorithm_identification=made_by,
        )
        for number, name in enumerate(segmentation.names.foreground, start=1)
    ]
    written: Dataset = highdicom.seg.Segmentation(
        source_images=referred.images,
        pixel_array=_frames(segmentation),
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=referred.uid("series"),
        series_number=referred.series_number,
        sop_instance_uid=referred.uid("instance"),
        instance_number=1,
        manufacturer=referred.software,
        manufacturer_model_name=referred.software,
        software_versions=referred.version,
        device_serial_number="none",
        series_description=referred.description,
        omit_empty_frames=bool((segmentation.labels > 0).any()),
    )
    written.save_as(path, enforce_file_format=True)


def _frames(segmentation: Segmentation) -> npt.NDArray[np.uint16]:
    """Segment numbers (slices, rows, columns)."""
    return np.ascontiguousarray(segmentation.labels.cpu().numpy().transpose(2, 1, 0), dtype=np.uint16)
