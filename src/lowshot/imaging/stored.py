"""An image as a file holds it, before it is a scan or a label map, and what every reader checks first."""

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lowshot.errors import UnreadableFile
from lowshot.imaging.grid import Affine

_SYSTEM_ERRORS: tuple[type[Exception], ...] = (OSError, EOFError, MemoryError)
_SAYS_NOTHING = re.compile(
    r"Reason: (Success|No such file)|- could|Exception thrown|.*(Cannot work out|cannot be read|Error while reading)"
)
"""Lines of nibabel and ITK that only repeat the file's name, guess, or quote an older error of the system."""

_MOST_COMPRESSED = 1100
"""Deflate cannot shrink anything by more than 1032:1."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Voxels in the type of the file (rescaled where its header says so), their place, and the header."""

    array: npt.NDArray[Any]
    """(i, j, k), or (i, j, k, c) where each voxel holds several numbers."""
    affine: Affine
    """Voxel indices to RAS+ mm."""
    header: object | None = None
    colour: bool = False
    """Whether the numbers of a voxel are red, green, blue (and opacity)."""
    spacing_known: bool = True
    palette_indices: npt.NDArray[Any] | None = None
    """(i, j, k) where the file numbers its colours: the number of each voxel's colour, in label maps its label."""


def require_file(path: Path) -> None:
    """Refuse a path that is missing or empty.

    Raises:
        UnreadableFile: with the names nearest to it, if it is missing.
    """
    if not path.exists():
        raise UnreadableFile(f"{path}: no such file or folder{_nearest_name(path)}")
    if path.is_file() and path.stat().st_size == 0:
        raise UnreadableFile(f"{path}: the file is empty (0 bytes); copy or export it again")


def _nearest_name(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; its folder {path.parent} does not exist either"
    present = sorted(each.name for each in path.parent.iterdir() if not each.name.startswith("."))
    close = difflib.get_close_matches(path.name, present, n=3, cutoff=0.6)
    if close:
        return f". Did you mean {' or '.join(close)}?"
    return f"; {path.parent} holds {len(present)} others" if present else f"; {path.parent} is empty"


def require_size(path: Path, claimed: int, compressed: bool) -> None:
    """Refuse a header that claims more bytes of voxels than the file can hold, before they are allocated.

    Raises:
        UnreadableFile: the file is truncated, or its header is damaged.
    """
    size = path.stat().st_size
    if claimed > (size * _MOST_COMPRESSED if compressed else size):
        raise UnreadableFile(
            f"{path}: its header claims {claimed:,} bytes of voxels, the file has {size:,}"
            f"{' (compressed)' if compressed else ''}. It is truncated or damaged; copy or export it again"
        )


def require_geometry(path: Path, affine: Affine) -> None:
    """Refuse a header whose voxels have no volume or no place."""
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        rows = np.array2string(affine, precision=4, suppress_small=True).replace("\n", "")
        raise UnreadableFile(
            f"{path}: its header gives voxels no size or place (affine {rows}); repair or export it again"
        )


@contextmanager
def reading(path: Path, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn a library's errors into one message that names the file."""
    try:
        yield
    except (*_SYSTEM_ERRORS, *errors) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        telling = [line for line in lines if line and not _SAYS_NOTHING.match(line)]
        reason = telling[-1].rstrip(".") if telling else "its content is damaged, or of another kind"
        raise UnreadableFile(f"{path}: cannot be read as {what}: {reason}. Copy or export it again") from error
