"""The images and label maps of a folder, told by their names."""

from pathlib import Path

from lowshot.imaging.files import IMAGE_SUFFIXES, LABEL_SUFFIXES


def image_files(folder: Path) -> list[Path]:
    """The files of a folder that are images by their suffix, in the order of their names."""
    return _files(folder, IMAGE_SUFFIXES)


def label_files(folder: Path) -> list[Path]:
    """The same of label maps, which may be DICOM files, too: each holds all of its case."""
    return _files(folder, LABEL_SUFFIXES)


def visible(folder: Path) -> list[Path]:
    """What a folder holds, in the order of names; what systems and editors hide there is left out."""
    return sorted(each for each in folder.iterdir() if not each.name.startswith("."))


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return [each for each in visible(folder) if each.is_file() and each.name.lower().endswith(suffixes)]
