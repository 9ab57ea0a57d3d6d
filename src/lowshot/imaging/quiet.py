"""Reading and writing without a word from the libraries: what matters reaches the user as one message of ours."""

import ctypes
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_DESCRIPTORS = (1, 2)
_ONE_AT_A_TIME = threading.RLock()
"""The descriptors belong to the whole process: a second thread would keep the silence as what to go back to."""


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
def no_output() -> Iterator[None]:
    """Drop what C and C++ libraries print, past Python: NrrdIO, MetaIO and libpng do on damaged files.

    MetaIO prints to standard output too, where it would stand before what a program is to read (``--json``).
    """
    with _ONE_AT_A_TIME:
        _flush()
        nothing = os.open(os.devnull, os.O_WRONLY)
        kept = {descriptor: os.dup(descriptor) for descriptor in _DESCRIPTORS}
        for descriptor in _DESCRIPTORS:
            os.dup2(nothing, descriptor)
        try:
            yield
        finally:
            _flush()
            for descriptor, copy in kept.items():
                os.dup2(copy, descriptor)
                os.close(copy)
            os.close(nothing)


def _flush() -> None:
    """Send off what Python and C have gathered to print, so that it goes where it was meant to go."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    with suppress(OSError, AttributeError, TypeError):  # without C's own library within reach its text may come late
        ctypes.CDLL(None).fflush(None)
