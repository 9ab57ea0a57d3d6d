"""Which DICOM files hold structures, and who reads and writes them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lowshot.atomic import atomic_path
from lowshot.imaging import dicom, dicom_seg, rtstruct
from lowshot.imaging.dicom_references import Written, not_from_dicom, refer, refusals_told
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
    read: Callable[[Path, Grid | None], Structures]
    write: Callable[[Segmentation, Path, Written], None]


KINDS = {
    "SEG": Kind(".seg.dcm", dicom_seg.names_within, dicom_seg.read, dicom_seg.write),
    "RTSTRUCT": Kind(".rtstruct.dcm", rtstruct.names_within, rtstruct.read, rtstruct.write),
}
WRITTEN = tuple(kind.written for kind in KINDS.values())
SUFFIXES = (*WRITTEN, ".dcm")


def structures(path: Path, grid: Grid | None = None) -> Structures | None:
    """What a file holds, or a folder with no other file; None where it is no such file.

    Args:
        path: any label map.
        grid: of the image that it belongs to.

    Raises:
        InputError: it is one, but cannot be used.
    """
    file, kind = _file_and_kind(path)
    return None if kind is None else kind.read(file, grid)


def names_within(path: Path) -> tuple[str, ...] | None:
    """Of the structures that a file holds; None where it is no such file.

    Raises:
        InputError: it is one, but cannot be read.
    """
    file, kind = _file_and_kind(path)
    return None if kind is None else kind.names(file)


def _file_and_kind(path: Path) -> tuple[Path, Kind | None]:
    from pydicom.misc import is_dicom

    file = path
    if path.is_dir():
        files = [each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")]
        file = files[0] if len(files) == 1 else path
    usual = file.name.lower().endswith(dicom.SUFFIXES) or not file.suffix
    if not (usual and file.is_file() and file.stat().st_size):
        return file, None
    with reading(file, "DICOM"):
        if not is_dicom(file):
            return file, None
        return file, KINDS.get(str(dicom.read_dataset(file, specific_tags=["Modality"]).get("Modality")))


def is_written_by(path: Path) -> bool:
    """Whether a result of this name is written here."""
    return path.name.lower().endswith(WRITTEN)


def require_writable(path: Path, scan: Path) -> None:
    """Refuse results of this name where none can be written, before any work.

    Args:
        path: of the result.
        scan: file or folder of the scan.

    Raises:
        OutputError: the scan is no DICOM series.
        MissingExtra: highdicom is not installed.
    """
    if path.name.lower().endswith(KINDS["SEG"].written):
        dicom_seg.require_highdicom(path)
    if not dicom.split_series(scan)[0].is_dir():
        raise not_from_dicom(path, scan)


def write(segmentation: Segmentation, path: Path, source: Source | None) -> None:
    """Write a result that refers to the images of its scan.

    Raises:
        OutputError: there are none, or they lack what it repeats; a full disk, no permission.
        MissingExtra: highdicom is not installed.
    """
    kind = next(kind for kind in KINDS.values() if path.name.lower().endswith(kind.written))
    referred = refer(segmentation, source, path)
    with atomic_path(path) as temporary, quiet(), refusals_told(path):
        kind.write(segmentation, temporary, referred)
