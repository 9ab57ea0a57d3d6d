"""The cases of a protocol, from a folder in its layout: read when asked for, and known by their content."""

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path

import torch
from filelock import FileLock

from lowshot.benchmarking.new_structure import only, without, without_slices_of
from lowshot.errors import InputError
from lowshot.imaging.dicom import split_series
from lowshot.imaging.digests import digest
from lowshot.imaging.label_maps import read_labels
from lowshot.imaging.names import Names
from lowshot.imaging.names_file import read_names
from lowshot.imaging.scan import LabelledScan
from lowshot.inputs.scan_files import ScanFiles
from lowshot.inputs.table import TABLE, Row, read_table
from lowshot.inputs.task_files import ReadWhenAsked, TaskFiles, read_labelled_row, read_task
from lowshot.inputs.words import scan_files
from lowshot.phantoms.study import Study
from lowshot.phantoms.study_folder import write_study
from lowshot.progress import Progress
from lowshot.protocols.protocol import Fold, Layout, Protocol
from lowshot.task import LowShotTask


@dataclass(frozen=True)
class Cases:
    """Annotated scans on disk, by name."""

    folder: Path
    layout: Layout

    @cached_property
    def names(self) -> Names:
        """What the label values mean."""
        if self.layout.structures is not None:
            return Names.of(dict(self.layout.structures))
        return read_names(self.folder / self.layout.names)

    @cached_property
    def _rows(self) -> list[Row] | None:
        """Where a table says which files are a case, as of several channels; None: folders do."""
        table = self.folder / TABLE
        return read_table(table) if table.exists() else None

    @cached_property
    def _images(self) -> dict[str, ScanFiles]:
        scans = scan_files([self.folder / self.layout.images]) if self._rows is None else [r.scan for r in self._rows]
        return {scan.name: scan for scan in scans}

    @cached_property
    def _labels(self) -> dict[str, Path]:
        if self._rows is not None:
            return {row.scan.name: row.labels for row in self._rows if row.labels is not None}
        found = scan_files([self.folder / self.layout.labels])
        return {labels.name: labels.all_paths[0] for labels in found}

    @property
    def annotated(self) -> tuple[str, ...]:
        """Every case that has an image and a label map, in the order in which the folder or its table has them."""
        return tuple(case for case in self._images if case in self._labels)

    def scans(self, cases: Iterable[str]) -> list[ScanFiles]:
        """Where the images of these cases are."""
        return [self._images[case] for case in cases]

    def require(self, cases: Iterable[str]) -> None:
        """Refuse a folder that lacks an image or a label map of a case.

        Raises:
            InputError: names what is missing.
        """
        for what, found in ((self.layout.images, self._images), (self.layout.labels, self._labels)):
            missing = [case for case in dict.fromkeys(cases) if case not in found]
            if missing:
                raise InputError(f"{self.folder / what}: the protocol needs {', '.join(missing)}, which is not there")

    def task(self, fold: Fold, seed: int) -> LowShotTask:
        """What a system may learn from with this seed: annotated scans now, the pool when it asks for it."""
        support = self._support(fold, random.Random(seed))  # noqa: S311 (nothing to keep secret)
        if fold.new:
            return self._new_structure(fold, support)
        annotated = {row.scan.name for row in support}
        pool = self.scans(case for case in fold.unlabelled if case not in annotated)
        return read_task(TaskFiles(support, unlabelled=pool), names=self.names, ignore_value=self.layout.unknown)

    def _new_structure(self, fold: Fold, support: Sequence[Row]) -> LowShotTask:
        """The new structure in the support alone, all others in the base alone."""

        def read(row: Row) -> LabelledScan:
            labelled = without_slices_of(self._read(row), fold.hidden)
            return without(labelled, {fold.new, *fold.hidden})

        annotated = [only(self._read(row), fold.new) for row in support]
        base = ReadWhenAsked(read, [self._row(case) for case in fold.base])
        return LowShotTask(annotated[0].truth.names, annotated, base=base)

    def _support(self, fold: Fold, draw: random.Random) -> list[Row]:
        if fold.one_slice:
            case, index = draw.choice(self._full_slices(fold.support))
            return [replace(self._row(case), annotated_slice=index)]
        drawn = fold.support if fold.drawn is None else sorted(draw.sample(fold.support, fold.drawn))
        return [self._row(case) for case in drawn]

    def _full_slices(self, cases: Sequence[str]) -> list[tuple[str, int]]:
        """The slices, along the files' third axis, that show every structure; where none does, as many as any does.

        Raises:
            InputError: no slice shows any structure.
        """
        found: dict[tuple[str, int], int] = {}
        for case in cases:
            labels, _ = read_labels(self._labels[case], self.names, ignore_value=self.layout.unknown)
            shown = [(labels.labels == index).flatten(0, 1).any(dim=0) for index in range(1, len(self.names))]
            found |= {(case, at): int(count) for at, count in enumerate(torch.stack(shown).sum(dim=0))}
        most = max(found.values())
        if most == 0:
            raise InputError(f"{self.folder / self.layout.labels}: no slice of {', '.join(cases)} shows any structure")
        return [place for place, count in found.items() if count == most]

    def query(self, case: str, new: str = "") -> LabelledScan:
        """A scan to be segmented, with the truth that only the scores may see: of all structures, or of the new one."""
        labelled = self._read(self._row(case))
        return only(labelled, new) if new else labelled

    def digests(self, cases: Sequence[str], *, labels: bool = True) -> dict[str, str]:
        """SHA-256 of the images (and label maps), by case."""
        images = {
            f"{case} image" + (f" {path.name}" if number else ""): _digest(path)
            for case in cases
            for number, path in enumerate(self._images[case].all_paths)
        }
        return images | ({f"{case} labels": _digest(self._labels[case]) for case in cases} if labels else {})

    @property
    def digest_of_names(self) -> str:
        """SHA-256 of the names file, or of what stands in its place."""
        if self.layout.structures is not None:
            return hashlib.sha256(repr(sorted(self.layout.structures.items())).encode()).hexdigest()
        return _digest(self.folder / self.layout.names)

    def _read(self, row: Row) -> LabelledScan:
        return read_labelled_row(row, self.names, self.layout.unknown)

    def _row(self, case: str) -> Row:
        return Row(self._images[case], self._labels[case])


def cases_of(protocol: Protocol, data: Path | None, folder: Path, progress: Progress) -> Cases:
    """The protocol's cases in ``data``; for a phantom study without data they are made, once, in ``folder``.

    Raises:
        InputError: no data is given and there is no study, or a case is missing.
    """
    if data is None:
        if protocol.study is None:
            raise InputError(f"{protocol.name} needs real scans: give their folder with --data")
        data = folder / "data"
        made_once(data, repr(protocol.study), partial(_write_subjects, protocol.study, data, progress))
    cases = Cases(data, protocol.layout)
    parts = (part for fold in protocol.folds for part in (fold.support, fold.base, fold.queries, fold.unlabelled))
    cases.require(case for part in parts for case in part)
    return cases


def _digest(path: Path) -> str:
    """A scan is in many cells of one benchmark; it is read again only where it has changed."""
    found = split_series(path)[0].stat()
    return _digest_as_of(path, found.st_mtime_ns, found.st_size)


@cache
def _digest_as_of(path: Path, changed: int, size: int) -> str:
    return digest(path)


def made_once(folder: Path, what: str, make: Callable[[], None]) -> None:
    """Call ``make`` unless the folder holds ``what`` already; it makes the same every time, so it may be cut short."""
    folder.mkdir(parents=True, exist_ok=True)
    complete = folder / "complete"
    with FileLock(folder / ".lock"):
        if complete.exists() and complete.read_text() == what:
            return
        complete.unlink(missing_ok=True)
        make()
        complete.write_text(what)


def _write_subjects(study: Study, folder: Path, progress: Progress) -> None:
    with progress.task("making synthetic scans", len(study)) as task:
        for subject in study:
            write_study([subject], folder)
            task.advance()
