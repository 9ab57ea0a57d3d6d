"""Which DICOM files hold structures, and who reads and writes them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lowshot.atomic import atomic_path
from lowshot.errors import UnreadableFile
from lowshot.imaging import dicom, dicom_seg, rtstruct
from lowshot.imaging.dicom_file import is_dicom_file, read_dataset
from lowshot.imaging.dicom_references import Referred, not_from_dicom, refer, refusals_told
from lowshot.imaging.grid import Grid
from lowshot.imaging.quiet import quiet
from lowshot.imaging.scan import Segmentation, Source
from lowshot.imaging.stored import reading
from lowshot.imaging.structures import Structures


@dataclass(frozen=True)
class Kind:
    """One kind of such files, by its modality."""

    written: str
    """The suffix under which results of this kind are written."""
    names: Callable[[Path], tuple[str, ...]]
    """Of the structures, without reading where they lie."""
    read: Callable[[Path, Grid | None, str | None], Structures]
    write: Callable[[Segmentation, Path, Referred], None]
    require: Callable[[Path], object] | None = None
    """Refuses to go on where a library is missing."""


KINDS = {
    "SEG": Kind(
        ".seg.dcm", dicom_seg.names_within, dicom_seg.read, dicom_seg.write, require=dicom_seg.require_highdicom
    ),
    "RTSTRUCT": Kind(".rtstruct.dcm", rtstruct.names_within, rtstruct.read, rtstruct.write),
}
WRITTEN = tuple(kind.written for kind in KINDS.values())
SUFFIXES = (*WRITTEN, ".dcm")


def structures(path: Path, grid: Grid | None = None, frame: str | None = None) -> Structures | None:
    """What a file holds, or a folder with no other file; None where it is no such file.

    Args:
        path: any label map.
        grid: of the image that it belongs to.
        frame: the unique identifier of that image's frame of reference.

    Raises:
        InputError: it is one, but cannot be used.
    """
    file, kind = _file_and_kind(path)
    return None if kind is None else kind.read(file, grid, frame)


def names_within(path: Path) -> tuple[str, ...] | None:
    """Of the structures that a file holds; None where it is no such file.

    Raises:
        InputError: it is one, but cannot be read.
    """
    file, kind = _file_and_kind(path)
    return None if kind is None else kind.names(file)


def _file_and_kind(path: Path) -> tuple[Path, Kind | None]:
    """The one DICOM file that a path means, whatever it is called, and what it is.

    Raises:
        UnreadableFile: a DICOM file of another kind.
    """
    file = path
    if path.is_dir():
        files = [each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")]
        file = files[0] if len(files) == 1 else path
    if not file.is_file():
        return file, None
    with reading(file, "DICOM"):
        if not is_dicom_file(file):
            return file, None
        modality = str(read_dataset(file, specific_tags=["Modality"]).get("Modality"))
    if modality not in KINDS and not path.is_dir():  # a folder may be a series of label slices
        raise UnreadableFile(
            f"{path}: expected a label map, got a DICOM file of modality {modality}; in DICOM, label maps are "
            f"{' or '.join(KINDS)} files, or folders of slices"
        )
    return file, KINDS.get(modality)


def kind_written(path: Path | str) -> Kind | None:
    """What a result of this name is; None for what is no DICOM."""
    return next((kind for kind in KINDS.values() if str(path).lower().endswith(kind.written)), None)


def require_series(path: Path, scan: Path, kind: Kind) -> None:
    """Refuse a result of a scan that is no DICOM series, which nothing has to be read for.

    Args:
        path: of the result.
        scan: file or folder of the scan.
        kind: of the result.

    Raises:
        OutputError: it is none.
        MissingExtra: a library is not installed.
    """
    if kind.require is not None:
        kind.require(path)
    if scan.is_file() and not dicom.is_meant(scan):
        raise not_from_dicom(path, scan)


def write(segmentation: Segmentation, path: Path, source: Source | None, kind: Kind) -> None:
    """Write a result that refers to the images of its scan.

    Raises:
        OutputError: there are none, or they lack what it repeats; a full disk, no permission.
        MissingExtra: a library is not installed.
    """
    with atomic_path(path) as temporary, quiet(), refusals_told(path):
        kind.write(segmentation, temporary, refer(segmentation, source, path))
