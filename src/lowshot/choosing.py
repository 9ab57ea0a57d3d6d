"""Which scan to annotate, from the images alone: what ``lowshot choose`` does."""

from collections.abc import Sequence
from dataclasses import dataclass

from lowshot.errors import BadVoxels, InputError
from lowshot.imaging.check import check, given_before
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan
from lowshot.inputs.scan_files import NOTHING_DECLARED, Declared, ScanFiles
from lowshot.progress import Progress
from lowshot.registration.affine import Picture
from lowshot.registration.typical import ROUNDS, coarse, distances_from_average

PREPARATION = Preparation("RAS", None, "foreground", "percentiles")


@dataclass(frozen=True)
class Ranked:
    """A scan, and how far it is from the average of all."""

    scan: str
    distance: float
    """Root of the mean squared difference, in per cent of the scans' range of grey values."""


@dataclass(frozen=True)
class Choice:
    """Which scan to annotate first."""

    ranking: tuple[Ranked, ...]
    """The most typical first."""
    failed: tuple[tuple[str, InputError], ...]
    """Scans that could not be compared, and why."""


def choose(scans: Sequence[ScanFiles], declared: Declared = NOTHING_DECLARED, *, progress: Progress) -> Choice:
    """Rank scans of one part of the body: the labels of the most typical one carry over best.

    One scan after the other is read, and kept at 4 mm (finer where the body is small).

    Raises:
        InputError: fewer than two scans can be compared.
    """
    pictures, failed, seen = list[Picture](), list[tuple[str, InputError]](), dict[str, str]()
    channels: tuple[str, ...] | None = None
    with progress.task("reading", len(scans)) as task:
        for files in scans:
            try:
                scan = files.read(declared)
                _look_at(scan, progress)
                pictures.append(_coarse(scan, channels))
            except InputError as error:
                failed.append((files.name, error))
                progress.warn(str(error))
            else:
                channels = scan.channels
                for finding in given_before(scan, seen):
                    progress.warn(finding.message)
            task.advance()
    if len(pictures) < 2:
        raise InputError(f"expected at least two scans to choose from, got {len(pictures)} that can be read")
    with progress.task("comparing", ROUNDS * len(pictures)) as task:
        distances = distances_from_average(pictures, task.advance)
    ranked = list[Ranked]()
    for picture, distance in zip(pictures, distances, strict=True):
        if isinstance(distance, InputError):
            failed.append((picture.name, distance))
            progress.warn(str(distance))
        else:
            ranked.append(Ranked(picture.name, 100 * distance**0.5))
    return Choice(tuple(sorted(ranked, key=lambda each: each.distance)), tuple(failed))


def _look_at(scan: Scan, progress: Progress) -> None:
    """Refuse what shows nothing, or no finite numbers; tell of label maps and other oddities."""
    for finding in check(scan):
        if finding.severity == "error":
            raise BadVoxels(finding.message)
        if finding.severity == "warning":
            progress.warn(finding.message)


def _coarse(scan: Scan, channels: tuple[str, ...] | None) -> Picture:
    if channels not in (None, scan.channels):
        had, before = ", ".join(scan.channels), ", ".join(channels or ())
        raise InputError(f"{scan.name}: has the channels {had}, the scans before it {before}")
    prepared = PREPARATION.apply(scan)
    return coarse(Picture.of(prepared.name, prepared.voxels, prepared.grid))
