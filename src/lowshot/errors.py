"""Every error a user can meet, as one tree.

    LowshotError                    exit code 1: something went wrong inside lowshot
    ├── InputError                  exit code 2: a file or an argument is not usable
    │   ├── UnreadableFile          missing, truncated, not an image, a header that lies about its size
    │   ├── GridMismatch            an image and a label map do not share one grid
    │   ├── UnknownLabel            a label value without a name, or a name without a value
    │   ├── BadVoxels               NaN or infinite voxels, colour, an undeclared fourth dimension
    │   ├── ChannelMismatch         channels (sequences) missing, surplus or swapped
    │   └── EmptySupport            no annotated scan, or one without any annotated structure
    ├── SettingsError               exit code 2: a setting that does not exist or is out of range
    ├── TaskProblem                 exit code 2: the method cannot work on this task (``Method.problems``)
    ├── MissingExtra                exit code 2: an optional dependency is not installed
    ├── ModelFileError              exit code 2: not a lowshot model, damaged, or from another version
    ├── OutputError                 exit code 2: a result could not be written (full disk, no permission)
    ├── Diverged                    exit code 1: a loss or a weight became infinite or NaN while training
    └── SomeScansFailed             exit code 3: a batch went through, but not for every scan

A message says which file, what was expected, what came, and what to do. The command line prints it
without a traceback and ends with the exit code of its class.
"""

from typing import ClassVar


class LowshotError(Exception):
    """Root of the tree; also raised for what fits nowhere below."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        """The message: it may quote a file that a stranger made, from which a terminal must take no orders."""
        return printable(super().__str__())


def printable(text: str) -> str:
    """The text on one line, without what a terminal would obey or could not show."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "?" for letter in text)


class InputError(LowshotError):
    """A file or an argument is not usable."""

    exit_code = 2


class UnreadableFile(InputError):
    """A file is missing, truncated, or not what its name says."""


class GridMismatch(InputError):
    """An image and a label map do not share one grid.

    ``apart`` says how far they are from each other, for messages in other words; empty where nobody knows.
    """

    def __init__(self, message: str, apart: str = "") -> None:
        super().__init__(message)
        self.apart = apart


class UnknownLabel(InputError):
    """A label value has no name, or a name has no value."""


class BadVoxels(InputError):
    """Voxels are NaN, infinite, coloured, or have an undeclared fourth dimension."""


class ChannelMismatch(InputError):
    """Channels (sequences) are missing, surplus or swapped."""


class EmptySupport(InputError):
    """There is no annotated scan, or one without any annotated structure."""


class SettingsError(LowshotError):
    """A setting does not exist or is out of range."""

    exit_code = 2


class TaskProblem(LowshotError):
    """The method cannot work on this task."""

    exit_code = 2


class MissingExtra(LowshotError):
    """An optional dependency is not installed."""

    exit_code = 2


class ModelFileError(LowshotError):
    """Not a lowshot model file, a damaged one, or one from an unknown version."""

    exit_code = 2


class OutputError(LowshotError):
    """A result could not be written."""

    exit_code = 2


class Diverged(LowshotError):
    """A loss or a weight became infinite or NaN while training."""


class SomeScansFailed(LowshotError):
    """A batch went through, but not for every scan."""

    exit_code = 3
