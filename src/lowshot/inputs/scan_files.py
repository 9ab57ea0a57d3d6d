"""Which files make one scan."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from lowshot.errors import ChannelMismatch, InputError
from lowshot.imaging.files import read_scan, scan_name
from lowshot.imaging.names import is_legible
from lowshot.imaging.scan import Scan

_CHANNEL = re.compile(r"(?:^|,)\s*([\w.+-]+)\s*=")


@dataclass(frozen=True)
class Declared:
    """What the user says of files that do not say it themselves."""

    channels: tuple[str, ...] | None = None
    """Names of the fourth axis."""
    colour: bool = False
    """Whether red, green and blue are meant as three channels."""

    def __post_init__(self) -> None:
        for channel in self.channels or ():
            if not is_legible(channel):
                raise InputError(f"the channel name {channel!r} holds control characters; name it without them")


NOTHING_DECLARED = Declared()


@dataclass(frozen=True)
class ScanFiles:
    """One scan on disk: one file or DICOM folder, or one for each channel."""

    name: str
    paths: Path | Mapping[str, Path]
    channels: tuple[str, ...] | None = None
    """Names of the fourth axis of its one file, where something beside it tells them; None: as declared by the user."""

    @classmethod
    def of(
        cls, paths: Path | Mapping[str, Path], name: str | None = None, channels: tuple[str, ...] | None = None
    ) -> "ScanFiles":
        """Named after its file; several channels after what their files' names begin with in common."""
        files = list(paths.values()) if isinstance(paths, Mapping) else [paths]
        if name is None:
            names = [scan_name(os.path.abspath(path)) for path in files]
            name = _common_beginning(names) or names[0]
        if not name or name.startswith(".") or "/" in name or "\\" in name or not is_legible(name):
            raise InputError(
                f"{files[0]}: {name!r} cannot name a scan, since its results are files of this name: expected one "
                "without slashes, control characters and a dot at its beginning. Give it another in a CSV (column "
                "'name'), or rename the file"
            )
        return cls(name, paths, channels)

    @property
    def all_paths(self) -> tuple[Path, ...]:
        """Every file or folder of this scan."""
        return tuple(self.paths.values()) if isinstance(self.paths, Mapping) else (self.paths,)

    def read(self, declared: Declared = NOTHING_DECLARED) -> Scan:
        """The scan as stored; errors as ``read_scan``."""
        return read_scan(
            self.paths, name=self.name, channels=self.channels or declared.channels, colour=declared.colour
        )


def _common_beginning(names: Sequence[str]) -> str:
    """The words that all names begin with: ``sub-01`` for ``sub-01_T1w`` and ``sub-01_T2w``."""
    words = zip(*(re.split(r"([_\-. ]+)", name) for name in names), strict=False)
    same = takewhile(lambda each: len(set(each)) == 1, words)
    return "".join(each[0] for each in same).rstrip("_-. ")


def one_scan(word: str | Path) -> ScanFiles:
    """The one scan that a word means: a file, a DICOM folder, or several channels."""
    channels = _channels(str(word))
    return ScanFiles.of(channels or Path(word).expanduser())


def _channels(word: str) -> dict[str, Path]:
    """Channel by name of ``T1=a.nii.gz,FLAIR=b.nii.gz``; empty where the word is a path."""
    starts = list(_CHANNEL.finditer(word))
    if not starts or starts[0].start() > 0 or os.path.exists(word):  # unlike Path.exists, of any length
        return {}
    ends = [start.start() for start in starts[1:]] + [len(word)]
    names = [start.group(1) for start in starts]
    if len(set(names)) < len(names):
        raise ChannelMismatch(f"{word}: expected each channel once, got {', '.join(names)}")
    paths = (word[start.end() : end].strip() for start, end in zip(starts, ends, strict=True))
    return {name: Path(path).expanduser() for name, path in zip(names, paths, strict=True)}
