"""SHA-256 of files, so that a model can say which ones it was trained on."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from lowshot.errors import UnreadableFile
from lowshot.imaging.dicom import split_series


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


def _of_file(path: Path) -> str:
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableFile(f"{path}: cannot be read: {error.strerror}") from error
