"""SHA-256 of files, so that a model can say which ones it was trained on, and a result, of which scan it is."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from lowshot.errors import UnreadableFile
from lowshot.imaging.dicom import split_series

LOOKED_AT = 1 << 18
"""Bytes of a file that are looked at in each of three places."""


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """Absolute path to SHA-256 in hexadecimal.

    Raises:
        UnreadableFile: a file cannot be read.
    """
    return {str(path.absolute()): digest(path) for path in paths}


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the digests of its files in the order of their names."""
    where = split_series(path)[0]
    if not where.is_dir():
        return _of_file(where)
    files = sorted(each for each in where.iterdir() if each.is_file())
    return hashlib.sha256("".join(map(_of_file, files)).encode()).hexdigest()


def fingerprint(paths: Iterable[Path]) -> str:
    """SHA-256 of a look at files: their sizes, and a part of the beginning, the middle and the end of the first in each
    folder. It tells two scans apart without reading hundreds of them.

    Raises:
        UnreadableFile: a file cannot be read.
    """
    total = hashlib.sha256()
    for path in paths:
        where = split_series(path)[0]
        files = sorted(each for each in where.iterdir() if each.is_file()) if where.is_dir() else [where]
        try:
            total.update(repr([file.stat().st_size for file in files]).encode())
            with files[0].open("rb") as content:
                size = files[0].stat().st_size
                for start in (0, size // 2, max(0, size - LOOKED_AT)):
                    content.seek(start)
                    total.update(content.read(LOOKED_AT))
        except (OSError, IndexError) as error:
            raise UnreadableFile(f"{path}: cannot be read: {error}") from error
    return total.hexdigest()


def _of_file(path: Path) -> str:
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be read: {error.strerror}") from error
