"""Writing a file so that it is either complete or not there at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lowshot.errors import OutputError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary name beside ``path``, with the same suffix; renamed to ``path`` when the block ends well.

    Missing folders are made. When the block fails, or the process is interrupted, nothing is left behind and
    a file that stood at ``path`` before is untouched.

    Raises:
        OutputError: the operating system refused (full disk, no permission, a folder of that name).
    """
    path = Path(path)
    temporary = path.with_name(f".part-{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written: {reason}. Free some space or choose another place") from error
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is gone or out of reach; the error that matters is already on its way
        return
