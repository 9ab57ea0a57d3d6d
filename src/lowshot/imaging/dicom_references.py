"""What a result that is written as DICOM takes over from the images that were segmented, to which it refers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lowshot.errors import GridMismatch, LowshotError, OutputError
from lowshot.imaging import dicom
from lowshot.imaging.dicom_file import read_dataset
from lowshot.imaging.scan import Segmentation, Source
from lowshot.imaging.stored import reason, require_file
from lowshot.imaging.structures import legible_names

if TYPE_CHECKING:
    from pydicom import Dataset

_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
"""Elements that a result repeats, empty where an anonymised image lacks them."""
_SHARED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
"""Elements that all images of a series have in common."""
_LONGEST_NAME = 60
"""Letters of a name that DICOM holds, but for four that tell it from another one."""


@dataclass(frozen=True, eq=False)
class Referred:
    """The images that a result refers to, and how it is named."""

    images: tuple["Dataset", ...]
    """In the order of the slices, without pixels."""
    names: tuple[str, ...]
    """Of the structures, as DICOM can hold them."""

    SOFTWARE: ClassVar[str] = "lowshot"
    SERIES_NUMBER: ClassVar[int] = 900
    """Of results, above those that a scanner gives."""
    CHARACTERS: ClassVar[str] = "ISO_IR 192"
    """UTF-8: names may be in any script."""

    @property
    def version(self) -> str:
        """Of the software."""
        return version("lowshot")

    @staticmethod
    def uid() -> str:
        """A new unique identifier."""
        from pydicom.uid import generate_uid

        return str(generate_uid())


def require_same_frame(path: Path, own: object, images: str | None) -> None:
    """Refuse what was drawn in another frame of reference than its image's, as far as both are known.

    Raises:
        GridMismatch: so it was: most likely on another patient.
    """
    if own and images and str(own) != images:
        raise GridMismatch(
            f"{path}: it has another frame of reference (…{str(own)[-12:]}) than its image (…{images[-12:]}): was it "
            "drawn on another patient, or another examination? Give the image that it was drawn on"
        )


def images_of(scan: Path, path: Path) -> tuple["Dataset", ...]:
    """The images of a DICOM series, without pixels, with all that a result repeats.

    Args:
        scan: the series.
        path: of the result, for messages.

    Raises:
        UnreadableFile: there is no such series.
        OutputError: it is none, or lacks what a result has to repeat.
    """
    require_file(dicom.split_series(scan)[0])
    if not dicom.is_meant(scan):
        raise not_from_dicom(path, scan)
    images = tuple(read_dataset(file, stop_before_pixels=True) for file in dicom.files_in_order(scan))
    needed = (*_SHARED, "SOPInstanceUID", "SOPClassUID")
    missing = [key for key in needed if any(not image.get(key) for image in images)]
    if missing:
        raise OutputError(
            f"{path}: the images of {scan} lack {', '.join(missing)}, which a result in DICOM repeats; choose another "
            "--format"
        )
    several = [key for key in _SHARED if len({image.get(key) for image in images}) > 1]
    if several:
        raise OutputError(
            f"{path}: the images of {scan} do not share one {', '.join(several)}, which a result in DICOM repeats; "
            "choose another --format"
        )
    return images


def not_from_dicom(path: Path, scan: Path | None) -> OutputError:
    """A scan that is no DICOM series has nothing that a result could refer to."""
    return OutputError(
        f"{path}: a result in DICOM refers to the DICOM images of its scan, which comes from {scan or 'no file'}; "
        "choose another --format"
    )


def refer(segmentation: Segmentation, source: Source | None, path: Path) -> Referred:
    """The images of a segmented scan.

    Raises:
        OutputError: the scan is no DICOM series, has other images by now, or lacks what a result has to repeat.
    """
    if source is None or source.format != "dicom":
        raise not_from_dicom(path, None if source is None else source.path)
    images, i, j, k = images_of(source.path, path), *segmentation.labels.shape
    known = source.header if isinstance(source.header, dicom.Series) else None
    same = (images[0].Columns, images[0].Rows, len(images)) == (i, j, k)
    if not same or (known and known.instances != tuple(str(image.SOPInstanceUID) for image in images)):
        raise OutputError(f"{path}: {source.path} holds other images than those that were segmented; segment it again")
    for image in images:
        image.decode()  # into letters, from whatever character set the images have
        for key in _MAY_BE_EMPTY:
            setattr(image, key, str(image.get(key) or ""))
        image.SpecificCharacterSet = Referred.CHARACTERS
    shortened = [name.replace("\\", "/")[:_LONGEST_NAME] for name in segmentation.names.foreground]
    return Referred(images, legible_names(shortened))


@contextmanager
def refusals_told(path: Path) -> Iterator[None]:
    """Turn what a library has against the images into one message."""
    try:
        yield
    except (LowshotError, OSError, MemoryError):
        raise
    except Exception as error:
        raise OutputError(
            f"{path}: the images do not suffice for a result in DICOM ({reason(error)}); choose another --format"
        ) from error
