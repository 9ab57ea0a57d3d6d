"""An image as a file holds it, before it is a scan or a label map, and what every reader checks first."""

import difflib
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lowshot.errors import LowshotError, UnreadableFile
from lowshot.imaging.grid import Affine
from lowshot.imaging.quiet import quiet

_SAYS_NOTHING = re.compile(
    r"Reason: (Success|No such file)|- could|Exception thrown|.*(Cannot work out|cannot be read|Error while reading)"
)
"""Lines of nibabel and ITK that only repeat the file's name, guess, or quote an older error of the system."""

_ACCIDENTS = (LookupError, TypeError, ArithmeticError, AssertionError, struct.error)
"""What a library raises when damaged bytes lead it astray; its words describe the library, not the file."""

_MOST_COMPRESSED = 1100
"""Deflate cannot shrink anything by more than 1032:1."""

_POSSIBLE_MM = (1e-9, 1e9)
"""Sides of voxels, and (the larger one) places, outside of this are damage: from atoms to beyond the earth."""

_FLAT = 1e-6
"""Volume of a voxel over that of a box with its sides, from which on it has none."""


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
    places: tuple[Affine, ...] = ()
    """Where programs do not agree on the affine that the header says: ours, then ITK's; else empty."""
    palette_indices: npt.NDArray[Any] | None = None
    """(i, j, k) where the file numbers its colours: the number of each voxel's colour, in label maps its label."""


_LONGEST_REASON = 200
"""Letters: some libraries quote what they could not read."""


def require_file(path: Path) -> None:
    """Refuse a path that is missing, empty, or may not be read.

    Raises:
        UnreadableFile: with the names nearest to it, if it is missing.
    """
    try:
        if not path.exists():
            raise UnreadableFile(f"{path}: no such file or folder{_nearest_name(path)}")
        if path.is_file() and path.stat().st_size == 0:
            raise UnreadableFile(f"{path}: the file is empty (0 bytes); copy or export it again")
    except OSError as error:  # a name too long, or a folder that nobody may look into
        told = f"cannot be looked up: {error.strerror}; correct the path, or permit it"
        raise UnreadableFile(f"{path}: {told}") from error
    try:
        if path.is_file():
            path.open("rb").close()  # some libraries do not say that this is what they could not do
    except PermissionError as error:
        raise _not_permitted(path, error) from error


def _not_permitted(path: Path, error: PermissionError) -> UnreadableFile:
    return UnreadableFile(f"{path}: cannot be read: {error.strerror}; permit reading it")


def _nearest_name(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; its folder {path.parent} does not exist either"
    present = sorted(each.name for each in path.parent.iterdir() if not each.name.startswith("."))
    close = difflib.get_close_matches(path.name, present, n=3, cutoff=0.6)
    if close:
        return f". Did you mean {' or '.join(close)}?"
    return f"; {path.parent} holds {len(present)} others" if present else f"; {path.parent} is empty"


def require_size(path: Path, claimed: int, compressed: bool, held_by: Sequence[Path] = ()) -> None:
    """Refuse a header that claims more bytes of voxels than the file, or those ``held_by`` it, can hold.

    This comes before they are allocated.

    Raises:
        UnreadableFile: the file is truncated, or its header is damaged.
    """
    size = sum(each.stat().st_size for each in held_by or [path])
    if claimed > (size * _MOST_COMPRESSED if compressed else size):
        files = "the file has" if not held_by else f"{', '.join(each.name for each in held_by[:3])} has"
        raise UnreadableFile(
            f"{path}: its header claims {claimed:,} bytes of voxels, {files} {size:,}"
            f"{' (compressed)' if compressed else ''}. It is truncated or damaged; copy or export it again"
        )


def require_geometry(path: Path, affine: Affine) -> None:
    """Refuse a header whose voxels have no volume or no place."""
    if not is_possible(affine):
        rows = np.array2string(affine, precision=4, suppress_small=True).replace("\n", "")
        raise UnreadableFile(
            f"{path}: its header gives voxels no size or place (affine {rows}); repair or export it again"
        )


def is_possible(affine: Affine) -> bool:
    """Whether voxels have a volume and a place by this affine."""
    if not np.isfinite(affine).all() or abs(affine).max() > _POSSIBLE_MM[1]:
        return False
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if sides.min() < _POSSIBLE_MM[0]:
        return False
    return bool(abs(np.linalg.det(affine[:3, :3] / sides)) > _FLAT)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a library raises or says into one message that names the file.

    Whatever, because on damaged bytes libraries raise what their innards happen to, and no documentation lists it.
    """
    try:
        with quiet():
            yield
    except LowshotError:
        raise
    except Exception as error:
        if isinstance(error, PermissionError):
            raise _not_permitted(path, error) from error
        if isinstance(error, MemoryError) or "allocat" in str(error):
            raise UnreadableFile(f"{path}: takes more memory than is free; close other programs, or crop it") from error
        raise UnreadableFile(f"{path}: cannot be read as {what}: {reason(error)}. Copy or export it again") from error


def reason(error: Exception) -> str:
    """The one line of a library's message that tells something."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if line and not _SAYS_NOTHING.match(line)]
    if not telling or isinstance(error, _ACCIDENTS):
        return "its content is damaged, or of another kind"
    return telling[-1].rstrip(".")[:_LONGEST_REASON]
