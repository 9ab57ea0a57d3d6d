"""Writing a file so that it is either complete or not there at all."""

import errno
import glob
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from lowshot.errors import OutputError


class _Written(NamedTuple):
    temporary: Path
    path: Path


_GROUP: ContextVar[list[_Written] | None] = ContextVar("files that appear together", default=None)


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
    written = _Written(path.with_name(f".part-{secrets.token_hex(4)}-{path.name}"), path)
    group = _GROUP.get()
    try:
        with _refusals_told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield written.temporary
            _flush(written.temporary)
            if group is None:
                os.replace(*written)
            else:
                group.append(written)
    finally:
        if group is None or written not in group:
            _remove(written.temporary)


@contextmanager
def appearing_together() -> Iterator[None]:
    """Files that are written by ``atomic_path`` inside appear when this block ends well, all of them or none.

    The last one written appears last, and one that stood in its place goes first: where it is, the others are whole
    and belong to it, whenever the process was killed.

    Raises:
        OutputError: the operating system refused.
    """
    group: list[_Written] = []
    token = _GROUP.set(group)
    try:
        yield
        _appear(group)
    finally:
        _GROUP.reset(token)
        for written in group:
            _remove(written.temporary)


def remove_leftovers(path: Path) -> None:
    """Remove what processes left that were killed while they wrote ``path``. For the only process that may write it."""
    for left in path.parent.glob(f".part-????????-{glob.escape(path.name)}"):
        _remove(left)


def stops_all_writing(error: Exception) -> bool:
    """Whether after this error no other file could be written either.

    So it is with a full disk or a missing permission, but not with a name or a content that does not fit.
    """
    cause = error.__cause__ if isinstance(error, OutputError) else None
    return isinstance(cause, OSError) and cause.errno not in (errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL)


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
        mend = "Shorten the name of the scan" if error.errno == errno.ENAMETOOLONG else "Free some space"
        raise OutputError(f"{path}: cannot be written: {reason}. {mend} or choose another place") from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is gone or out of reach; the error that matters is already on its way
        return
