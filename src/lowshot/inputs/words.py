"""Which scans the user's words mean: files, folders, patterns, tables, channels."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lowshot.errors import InputError, UnreadableFile
from lowshot.evaluation.pairing import bare_name
from lowshot.imaging.dicom_file import is_dicom_file
from lowshot.imaging.files import IMAGE_SUFFIXES, Paths, scan_name
from lowshot.imaging.folders import image_files, visible
from lowshot.inputs.scan_files import ScanFiles, one_scan
from lowshot.inputs.table import Row, read_table
from lowshot.wording import listed

_PATTERN = re.compile(r"[*?\[]")
_LABELS = re.compile(r"(?<![a-z])(labels?|seg|segmentations?|masks?|gt|truth|annotations?)(?![a-z])", re.IGNORECASE)
"""In the name of a file that is hardly a scan."""
_SOLID = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix not in (".png", ".tif", ".tiff"))
"""Of volumes; pictures beside them are of results and reports."""
_UNREAD = (".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".hdr", ".img", ".mnc", ".vtk")
"""Of image files that nothing here reads; some DICOM files are called so, too."""

Warn = Callable[[str], None]


def _say_nothing(message: str) -> None:
    del message


def scan_files(words: Iterable[str | Path], warn: Warn = _say_nothing) -> list[ScanFiles]:
    """The scans that words mean, in their order; ``warn`` is told of what is left out. Each word is one of these:

    - a file, or a folder with the files of one DICOM series (``folder#4`` for one of several);
    - several channels of one scan, ``T1=a.nii.gz,FLAIR=b.nii.gz``;
    - a folder of images, in the order of their names, or of folders with one image or DICOM series each, which the
      scan is named after;
    - a pattern such as ``'scans/*.nii.gz'``; files of one name, ``'scans/*/T1.nii.gz'``, are named after their folders;
    - a CSV with a row for each scan (``lowshot.inputs.table``).

    Raises:
        UnreadableFile: there is no such file, or nothing in a folder or behind a pattern.
        InputError: two scans have one name, so that their results would have one file; a folder mixes images and DICOM,
            or images and folders with scans.
    """
    return [row.scan for row in rows(words, warn)]


def rows(words: Iterable[str | Path], warn: Warn = _say_nothing) -> list[Row]:
    """The same, with the label maps that tables give beside scans."""
    found = [row for word in words for row in _meant_by(str(word), warn)]
    _refuse_equal_names([row.scan for row in found])
    return found


def _meant_by(word: str, warn: Warn) -> list[Row]:
    path = Path(word).expanduser()
    if path.suffix.lower() == ".csv":
        return read_table(path)
    if path.is_dir():
        return [Row(each) for each in _in_folder(path, warn)]
    if not path.exists() and _PATTERN.search(word) and "=" not in word:
        return [Row(each) for each in _matching(word)]
    return [Row(one_scan(word))]


def _in_folder(folder: Path, warn: Warn) -> list[ScanFiles]:
    images, entries = image_files(folder), visible(folder)
    if not entries:
        raise UnreadableFile(f"{folder}: expected scans in this folder, it is empty")
    patients, files = [each for each in entries if each.is_dir()], [each for each in entries if each.is_file()]
    unread = [each for each in files if each.suffix.lower() in _UNREAD]
    if images:
        _refuse_dicom_among(images, folder)
        _refuse_patients_among(images, patients, folder)
        if unread:
            warn(_told_of_unread(unread, f"{folder}: left out"))
        return [ScanFiles.of(each) for each in images]
    slices = any(map(_is_slice, files))
    if unread and not patients and not slices:
        raise UnreadableFile(_told_of_unread(unread, f"{folder}: expected images or DICOM files in this folder, found"))
    if not patients or slices:
        return [ScanFiles.of(folder)]  # DICOM files need no suffix; reading tells if these are none
    return [_of_patient(each) for each in patients]  # beside them lie a table, a DICOMDIR, a Thumbs.db


def _told_of_unread(files: Sequence[Path], begin: str) -> str:
    suffixes, some = sorted({each.suffix for each in files}), listed([each.name for each in files])
    return f"{begin} {', '.join(suffixes)} ({some}); convert them: images end in {', '.join(IMAGE_SUFFIXES)}"


def _is_slice(file: Path) -> bool:
    return file.name.upper() != "DICOMDIR" and is_dicom_file(file)


def _of_patient(folder: Path) -> ScanFiles:
    """The one scan of a folder, which may lie a folder deeper."""
    images = image_files(folder)
    if len(images) > 1:
        scan = next((each for each in images if not _LABELS.search(each.name)), images[0])
        raise InputError(
            f"{folder}: holds {len(images)} images ({images[0].name}, {images[1].name}, ...); say which is meant, with "
            f"a pattern such as '{folder.parent}/*/{scan.name}', or give channels in a CSV"
        )
    within = visible(folder)
    if not images and len(within) == 1 and within[0].is_dir():
        return ScanFiles.of(_of_patient(within[0]).paths, folder.name)
    return ScanFiles.of(images[0] if images else folder, folder.name)


def _refuse_dicom_among(images: Sequence[Path], folder: Path) -> None:
    others = (each for each in sorted(folder.iterdir()) if each.is_file() and each not in images)
    first = next((each for each in others if is_dicom_file(each)), None)
    if first is not None:
        raise InputError(
            f"{folder}: holds images ({images[0].name}) and DICOM files ({first.name}), so it cannot be told which are "
            "the scans; move one kind to a folder of its own"
        )


def _refuse_patients_among(images: Sequence[Path], folders: Sequence[Path], folder: Path) -> None:
    """Folders of label maps, and of results, in which something is named after an image, are none of patients."""
    own = {bare_name(scan_name(image)) for image in images}
    suffixes = _SOLID if any(image.name.lower().endswith(_SOLID) for image in images) else IMAGE_SUFFIXES
    patients = [each.name for each in folders if not _LABELS.search(each.name) and _holds_others(each, own, suffixes)]
    if patients:
        raise InputError(
            f"{folder}: holds images ({listed([image.name for image in images])}) and folders with scans "
            f"({listed(patients)}), so it cannot be told which are the scans; move one kind to a folder of its own, or "
            f"name those that are meant by a pattern such as '{folder}/*{_suffix(images[0])}'"
        )


def _holds_others(folder: Path, names: set[str], suffixes: tuple[str, ...]) -> bool:
    """Whether there is an image, or a DICOM file, in a folder or deeper, but nothing of one of these names."""
    try:
        entries = visible(folder)
        if any(bare_name(scan_name(each)) in names for each in entries):
            return False
        return any(_is_other(each, names, suffixes) for each in entries)
    except OSError:  # nobody may look into it, or read a file of it
        return False


def _is_other(path: Path, names: set[str], suffixes: tuple[str, ...]) -> bool:
    if path.is_dir():
        return not path.is_symlink() and _holds_others(path, names, suffixes)  # a link may lead back to where it stands
    if path.name.lower().endswith(IMAGE_SUFFIXES):
        return path.name.lower().endswith(suffixes)
    return path.is_file() and _is_slice(path)


def _suffix(image: Path) -> str:
    return image.name.removeprefix(scan_name(image))


def _matching(pattern: str) -> list[ScanFiles]:
    paths = [Path(each) for each in sorted(glob.glob(os.path.expanduser(pattern), recursive=True))]
    images = [path for path in paths if path.is_dir() or path.name.lower().endswith(IMAGE_SUFFIXES)]
    images = images or [path for path in paths if path.is_file() and _is_slice(path)]
    if not images:
        matched = f"only {paths[0].name}, which is no image" if paths else "nothing"
        raise UnreadableFile(f"{pattern}: expected scans, this pattern matches {matched}")
    scans = [ScanFiles.of(each) for each in images]
    if len(images) > 1 and len({scan.name for scan in scans}) == 1:
        return [ScanFiles.of(each, each.parent.name) for each in images]
    return scans


def _refuse_equal_names(scans: Sequence[ScanFiles]) -> None:
    seen: dict[str, ScanFiles] = {}
    for scan in scans:
        if scan.name in seen:
            raise InputError(
                f"two scans are named {scan.name}: {_shown(seen[scan.name].paths)} and {_shown(scan.paths)}; their "
                "results would overwrite each other. Give them in two runs with two output folders (-o), or name them "
                "in a CSV (column 'name')"
            )
        seen[scan.name] = scan


def _shown(paths: Paths) -> str:
    return ",".join(f"{k}={v}" for k, v in paths.items()) if isinstance(paths, Mapping) else str(paths)
