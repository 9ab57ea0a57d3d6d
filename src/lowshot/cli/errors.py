"""How a command ends: one line on standard error and an exit code, never a traceback."""

import errno
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from lowshot.errors import LowshotError, printable
from lowshot.progress import Unbreakable
from lowshot.training.interruption import Stopped

P = ParamSpec("P")
DEBUG = "LOWSHOT_DEBUG"
INTERRUPTED = 130
_REFUSED = (errno.EACCES, errno.ENAMETOOLONG, errno.EPERM)
"""With these the system answers to a path that no program can use, wherever it is looked up first."""


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """The command, with every exception turned into a line on standard error and an exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, BrokenPipeError):  # typer's own way to end
            raise
        except (Exception, KeyboardInterrupt) as error:
            message, code = ending(error)
            if os.environ.get(DEBUG):
                traceback.print_exc()
            what = "stopped" if isinstance(error, KeyboardInterrupt) else "error"
            _print(what, message, code, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(code) from error

    return guarded


def ending(error: BaseException) -> tuple[str, int]:
    """The sentence and the exit code for an exception."""
    if isinstance(error, LowshotError):
        return str(error), error.exit_code
    if isinstance(error, Stopped):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "by Ctrl-C", INTERRUPTED
    first = printable(str(error).strip().partition("\n")[0])
    if isinstance(error, OSError) and error.errno in _REFUSED and error.filename is not None:
        return f"{printable(str(error.filename))}: cannot be used: {error.strerror}; correct the path, or permit it", 2
    if isinstance(error, MemoryError) or "out of memory" in first or "can't allocate memory" in first:
        return "not enough memory; close other programs, or use smaller scans or settings", 1
    return (
        f"internal error: {type(error).__name__}: {first}. This is a bug: run it again with {DEBUG}=1 and report "
        "what it prints",
        1,
    )


def _print(what: str, message: str, code: int, *, as_json: bool) -> None:
    event = {"event": what, "message": message, "exit_code": code}
    line = json.dumps(event) if as_json else f"lowshot: {what}: {message}"
    print(line, file=Unbreakable(sys.stderr), flush=True)
