"""Reading and writing without a word from the libraries: what matters reaches the user as one message of ours."""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_STANDARD_ERROR = 2
_ONE_AT_A_TIME = threading.RLock()
"""The descriptor belongs to the whole process: a second thread would keep the silence as what to go back to."""


@contextmanager
def quiet() -> Iterator[None]:
    """Drop Python's warnings and nibabel's log."""
    log = logging.getLogger("nibabel.global")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(level)


@contextmanager
def no_standard_error() -> Iterator[None]:
    """Drop what C++ libraries print to standard error, past Python: MetaIO and libpng do on damaged files."""
    with _ONE_AT_A_TIME:
        sys.stderr.flush()
        kept, nothing = os.dup(_STANDARD_ERROR), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, _STANDARD_ERROR)
        try:
            yield
        finally:
            os.dup2(kept, _STANDARD_ERROR)
            os.close(kept)
            os.close(nothing)
