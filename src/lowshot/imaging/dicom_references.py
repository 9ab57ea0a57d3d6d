"""What a result that is written as DICOM takes over from the images that were segmented, to which it refers."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from lowshot.errors import LowshotError, OutputError
from lowshot.imaging import dicom
from lowshot.imaging.scan import Segmentation, Source

if TYPE_CHECKING:
    from pydicom import Dataset

_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
"""Elements that a result repeats, empty where an anonymised image lacks them."""
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID", "SOPClassUID")
_SERIES_NUMBER = 900
"""Of results, above those that a scanner gives."""


@dataclass(frozen=True, eq=False)
class Written:
    """A result, and the images it refers to."""

    images: tuple["Dataset", ...]
    """In the order of the slices, without pixels."""
    digest: str
    """Of the images' identifiers and the labels: the same result gets the same identifiers."""
    software: str = "lowshot"
    description: str = "lowshot"

    @property
    def version(self) -> str:
        """Of the software."""
        return version("lowshot")

    @property
    def series_number(self) -> int:
        """Of the result's own series."""
        return _SERIES_NUMBER

    def uid(self, what: str) -> str:
        """A unique identifier of the result, or of a part of it."""
        from pydicom.uid import generate_uid

        return str(generate_uid(entropy_srcs=[self.digest, what]))


def not_from_dicom(path: Path, scan: Path | None) -> OutputError:
    """A scan that is no DICOM series has nothing that a result could refer to."""
    return OutputError(
        f"{path}: a result in DICOM refers to the DICOM images of its scan, which comes from {scan or 'no file'}; "
        "choose another --format"
    )


def refer(segmentation: Segmentation, source: Source | None, path: Path) -> Written:
    """The images of a segmented scan.

    Raises:
        OutputError: the scan is no DICOM series, has other slices by now, or lacks what a result has to repeat.
    """
    if source is None or source.format != "dicom":
        raise not_from_dicom(path, None if source is None else source.path)
    folder = source.path
    images = tuple(dicom.read_dataset(file, stop_before_pixels=True) for file in dicom.files_in_order(folder))
    i, j, k = segmentation.labels.shape
    if len(images) != k or (images[0].Columns, images[0].Rows) != (i, j):
        raise OutputError(f"{path}: {folder} holds other images than those that were segmented; segment it again")
    missing = [key for key in _NEEDED if any(not image.get(key) for image in images)]
    if missing:
        raise OutputError(
            f"{path}: the images of {folder} lack {', '.join(missing)}, which a result in DICOM repeats; choose "
            "another --format"
        )
    for image in images:
        for key in _MAY_BE_EMPTY:
            if key not in image:
                setattr(image, key, "")
    digest = hashlib.sha256("".join(str(image.SOPInstanceUID) for image in images).encode())
    digest.update(segmentation.labels.cpu().numpy().tobytes())
    digest.update("\n".join(segmentation.names.foreground).encode())
    return Written(images, f"{digest.hexdigest()}{path.suffixes}")


@contextmanager
def refusals_told(path: Path) -> Iterator[None]:
    """Turn what a library has against the images into one message."""
    try:
        yield
    except (LowshotError, OSError, MemoryError):
        raise
    except Exception as error:
        raise OutputError(
            f"{path}: the images do not suffice for a result in DICOM ({str(error).splitlines()[0]:.200}); choose "
            "another --format"
        ) from error
