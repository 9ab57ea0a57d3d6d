"""Writing a file so that it is either complete or not there at all."""

import errno
import glob
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from lowshot.errors import OutputError

_MENDS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.ENAMETOOLONG: "shorten the name of the scan",
    errno.EACCES: "permit writing there",
    errno.EPERM: "permit writing there",
}
"""What helps against a refusal of the operating system, but for another place."""


class _Written(NamedTuple):
    temporary: Path
    path: Path


_GROUP: ContextVar[dict[Path, Path] | None] = ContextVar("files that appear together, and where they lie", default=None)


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary name beside ``path``, with the same suffix; renamed to ``path`` when the block ends well.

    Missing folders are made. When the block fails, or the process is interrupted, nothing is left behind and
    a file that stood at ``path`` before is untouched. A process that is killed leaves the temporary file: a hidden
    one, which nobody reads and ``remove_leftovers`` removes.

    Raises:
        OutputError: the operating system refused (full disk, no permission, a folder of that name).
    """
    path = Path(path)
    written = _Written(path.with_name(f".part-{_shown(os.getpid())}{secrets.token_hex(1)}-{path.name}"), path)
    group = _GROUP.get()
    try:
        with _refusals_told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield written.temporary
            _flush(written.temporary)
            if group is None:
                os.replace(*written)
            else:
                group[path] = written.temporary
    finally:
        if group is None or group.get(path) != written.temporary:
            _remove(written.temporary)


@contextmanager
def appearing_together(last: Path | None = None) -> Iterator[dict[Path, Path]]:
    """Files that are written by ``atomic_path`` inside appear when this block ends well, all of them or none.

    The last one appears last, and one that stood in its place goes first: where it is, the others are whole and belong
    to it, whenever the process was killed.

    Args:
        last: which of them that is; None: the one that is written last.

    Yields:
        where each that was written lies until then.

    Raises:
        OutputError: the operating system refused.
    """
    group: dict[Path, Path] = {}
    token = _GROUP.set(group)
    try:
        yield group
        _appear([_Written(group[path], path) for path in sorted(group, key=lambda path: path == last)])
    finally:
        _GROUP.reset(token)
        for temporary in group.values():
            _remove(temporary)


def require_writable_folder(folder: Path) -> None:
    """Refuse a folder for results in which no file can be made: better now than after hours of computing.

    Nothing is left behind, and one that is not there yet is not made: of that its nearest folder is asked.

    Raises:
        OutputError: a file stands in its place, or the operating system refuses.
    """
    with _refusals_told(folder):
        nearest = _nearest(folder)
        if not nearest.is_dir():
            which = "this" if nearest == folder else str(nearest)
            raise OutputError(f"{folder}: expected a folder for results, {which} is a file. Choose another place")
        tempfile.TemporaryFile(dir=nearest).close()


def mend(error: OSError, otherwise: str) -> str:
    """What a user can do about a refusal of the operating system: what helps against this one, or ``otherwise``."""
    helps = _MENDS.get(error.errno or 0)
    told = f"{helps} or {otherwise}" if helps else otherwise
    return f"{told[0].upper()}{told[1:]}"


def remove_leftovers(path: Path) -> None:
    """Remove what processes left that were killed while they wrote ``path``; one that is still at it keeps its own."""
    for left in path.parent.glob(f".part-????????-{glob.escape(path.name)}"):
        if not _is_written_by_another(left):
            _remove(left)


def stops_all_writing(error: Exception) -> bool:
    """Whether after this error no other file could be written either.

    So it is with a full disk or a missing permission, but not with a name or a content that does not fit.
    """
    cause = error.__cause__ if isinstance(error, OutputError) else None
    others = (errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL, errno.ENOENT)
    return isinstance(cause, OSError) and cause.errno not in others


def _shown(process: int) -> str:
    return f"{process & 0xFFFFFF:06x}"


def _is_written_by_another(temporary: Path) -> bool:
    """Whether the process that a temporary file is named after is there, on this machine, and not this one."""
    name = temporary.name.removeprefix(".part-")[:6]
    if os.name == "nt" or name == _shown(os.getpid()):  # Windows lets nobody remove what another has opened
        return False
    try:
        os.kill(int(name, 16), 0)  # asks alone
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return int(name, 16) > 0  # 0 would be this process and its kin


def _appear(group: Sequence[_Written]) -> None:
    if len(group) > 1:
        with _refusals_told(group[-1].path):
            group[-1].path.unlink(missing_ok=True)
    for written in group:
        with _refusals_told(written.path):
            os.replace(*written)


def _flush(path: Path) -> None:
    """Wait until the content is on the disk: a name in place of the old one must not outlive a power cut alone."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


@contextmanager
def _refusals_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        told = f"{path}: cannot be written: {reason}. {mend(error, 'choose another place')}"
        raise OutputError(told) from error


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest above it that is there."""
    for each in (path, *path.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            each.stat()
            return each
    return path


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is gone or out of reach; the error that matters is already on its way
        return
