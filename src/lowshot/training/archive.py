"""A training's own files (checkpoints, stages): written whole, and checked when read. Nothing of this is published."""

import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from lowshot.atomic import atomic_path
from lowshot.errors import UnreadableFile


def write_archive(path: Path, content: Any) -> None:
    """Write tensors and plain values, in dictionaries and lists; the file that was there stays until it is done."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        watched = _Watched(file)
        try:
            torch.save(content, cast(IO[bytes], watched))
        except RuntimeError:
            if watched.refusal is not None:
                raise watched.refusal from None
            raise


class _Watched:
    """A file that remembers why it could not be written: PyTorch tells of a full disk as of a defect of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.refusal: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Write."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.refusal = error
            raise

    def flush(self) -> None:
        """Let it be seen."""
        self._file.flush()


def read_archive(path: Path, what: str) -> Any:
    """Read what ``write_archive`` wrote, with tensors on the CPU; ``what`` it is for the message if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_more_than_is_there(archive, path.stat().st_size)
            damaged = archive.testzip()  # torch.load does not look at the checksums
        if damaged is not None:
            raise ValueError(f"{damaged} has a wrong checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except torch.OutOfMemoryError:  # the file is not to blame
        raise
    except Exception as error:  # whatever the innards of zipfile and pickle come to on damaged bytes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile(
            f"{path}: expected {what}, but it is damaged ({reason}). Delete it to do this part again"
        ) from error


def _refuse_more_than_is_there(archive: zipfile.ZipFile, size: int) -> None:
    """PyTorch compresses nothing: what unpacks to more than its file was made to fill the memory."""
    if sum(entry.file_size for entry in archive.infolist()) > size:
        raise ValueError("it holds more than its size allows")
