"""A training's own files (checkpoints, stages): written whole, and checked when read. Nothing of this is published."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from lowshot.atomic import atomic_path
from lowshot.errors import UnreadableFile

DAMAGE = (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError)


def write_archive(path: Path, content: Any) -> None:
    """Write tensors and plain values, in dictionaries and lists; the file that was there stays until it is done."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def read_archive(path: Path, what: str) -> Any:
    """Read what ``write_archive`` wrote, with tensors on the CPU; ``what`` it is for the message if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at the checksums
        if damaged is not None:
            raise ValueError(f"{damaged} has a wrong checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile(
            f"{path}: expected {what}, but it is damaged ({reason}). Delete it to do this part again"
        ) from error
