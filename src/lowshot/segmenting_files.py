"""Many scans, from files to files: what ``lowshot segment`` does. A bad scan does not stop the others."""

import re
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lowshot.atomic import appearing_together, remove_leftovers, require_writable_folder, stops_all_writing
from lowshot.contract import Quality
from lowshot.errors import LowshotError, OutputError, SettingsError, UnreadableFile, printable
from lowshot.evaluation.sidecar import Sidecar, read_sidecar, sidecar_path, was_changed, write_sidecar
from lowshot.imaging import dicom_objects
from lowshot.imaging.dicom_references import images_of
from lowshot.imaging.digests import digest, fingerprint
from lowshot.imaging.files import LABELS_WRITTEN, refuse_format, write_segmentation, write_volume
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Scan
from lowshot.inference.footprint import available_bytes, gigabytes, memory_needed, resident_bytes
from lowshot.inference.predict import look, predict_prepared
from lowshot.inputs.scan_files import NOTHING_DECLARED, Declared, ScanFiles
from lowshot.model_file import Fitted
from lowshot.options import ONLY_SPEED
from lowshot.segmenting import options_of, with_doubts
from lowshot.training.run import Run
from lowshot.wording import listed

DEFAULT_SUFFIX = ".nii.gz"
"""Where the source's own format cannot be written (DICOM, MGZ, TIFF)."""

TRANSDUCTIVE = (
    "among the scans that the model learned from, if not from labels of them: scores are transductive and do not hold "
    "for scans that come later"
)


@dataclass(frozen=True)
class Outputs:
    """Where results go, and what of them is kept."""

    folder: Path
    suffix: str | None = None
    """Of the label maps, such as ".nrrd"; None: the scan's own where it can be written, else ".nii.gz"."""
    probabilities: bool = False

    def path(self, scan: ScanFiles) -> Path:
        """The label map of a scan."""
        file = scan.all_paths[0].name.lower()
        own = next((suffix for suffix in LABELS_WRITTEN if file.endswith(suffix)), DEFAULT_SUFFIX)
        return self.folder / f"{scan.name}{self.suffix or own}"

    def there(self, scan: ScanFiles) -> Path | None:
        """A result of this scan that is there already, in this format or another.

        A JSON file alone is none: a process that is killed while a result appears may leave that.
        """
        path = self.path(scan)
        if path.exists():
            return path
        return next(self._others(scan), None) if _is_ours(path) else None

    def is_of_another(self, scan: ScanFiles) -> bool:
        """Whether the result that is there tells that it is of another scan of this name, such as another patient's."""
        told = read_sidecar(self.path(scan)).scan
        with suppress(UnreadableFile):  # a scan that is gone is told when its turn comes
            return told is not None and told != fingerprint(scan.all_paths)
        return False

    def was_corrected(self, scan: ScanFiles) -> bool:
        """Whether somebody has worked on the result that is there."""
        there = self.there(scan)
        return there is not None and was_changed(there, read_sidecar(there))

    def in_another_format(self, scan: ScanFiles) -> Path | None:
        """The label map that the file beside it tells of, where a result in this format would not take its place."""
        told = read_sidecar(self.path(scan)).file
        return next((path for path in self._others(scan) if path.name == told), None)

    def _others(self, scan: ScanFiles) -> Iterator[Path]:
        """Label maps of its name in other formats."""
        label_maps = (self.folder / f"{scan.name}{suffix}" for suffix in LABELS_WRITTEN)
        return (path for path in label_maps if path != self.path(scan) and path.is_file())

    def has_probabilities(self, scan: ScanFiles, names: Names) -> bool:
        """Whether the probabilities of every structure are there."""
        return all(_probability_path(self.path(scan), scan.name, names, name).exists() for name in names.names)

    def require_apart(self, scans: Sequence[ScanFiles]) -> None:
        """Refuse a folder in which one of the scans lies: results would be over it, or count as scans the next time.

        Raises:
            OutputError: so it is.
        """
        folder = self.folder.resolve()
        for path in (each.resolve() for scan in scans for each in scan.all_paths):
            if folder == path or (path.is_file() and folder == path.parent):
                raise OutputError(
                    f"{self.folder}: a scan to be segmented lies there ({path.name}); choose another output folder (-o)"
                )

    def require_place(self, scans: Sequence[ScanFiles]) -> None:
        """Refuse to write a result among the scans, over a file that is no result, or where none can be.

        Raises:
            OutputError: so it is.
            MissingExtra: results are to be DICOM segmentations, without highdicom.
        """
        self.require_apart(scans)
        require_writable_folder(self.folder)
        kind = dicom_objects.kind_written(self.suffix or "")
        if kind is not None:
            for scan in scans:
                dicom_objects.require_series(self.path(scan), scan.all_paths[0], kind)
        for path in map(self.path, scans):
            beside, told = sidecar_path(path), read_sidecar(path)
            foreign = [beside] if beside.exists() and not told.expected_dice else []
            if path.exists() and (not told.expected_dice or told.file not in (None, path.name)):
                foreign.append(path)
            if foreign:
                raise OutputError(
                    f"{foreign[0]}: not written by lowshot; move it, or choose another output folder (-o)"
                )


def _is_ours(segmentation: Path) -> bool:
    """Whether the JSON file beside a segmentation was written with one."""
    return bool(read_sidecar(segmentation).expected_dice)


@dataclass(frozen=True)
class Segmented:
    """One scan that went well."""

    case: str
    path: Path
    quality: Mapping[str, Quality | None]
    present: tuple[str, ...]
    """The structures that were found."""
    notes: tuple[str, ...]
    seconds: float

    @property
    def lowest(self) -> tuple[str, float] | None:
        """The structure the model trusts least, and its expected Dice; None where it estimates none."""
        known = {name: quality.expected_dice for name, quality in self.quality.items() if quality is not None}
        return min(known.items(), key=lambda item: item[1]) if known else None


@dataclass(frozen=True)
class Failed:
    """One scan that did not."""

    case: str
    error: LowshotError


@dataclass(frozen=True, eq=False)
class Batch:
    """A model, and how it is applied to files."""

    fitted: Fitted
    outputs: Outputs
    run: Run
    """Device, precision, and where to tell how far the work is."""
    declared: Declared = NOTHING_DECLARED
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the method offers at inference, by name."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """Which model this is, for the file beside each segmentation."""

    def segment(self, scans: Sequence[ScanFiles]) -> Iterator[Segmented | Failed]:
        """Read, segment and write scan after scan; each is read when its turn comes.

        Raises:
            ModelFileError: the model needs an example first.
            SettingsError: no such option.
            OutputError: a result would overwrite what is not one; a full disk, no permission.
        """
        self.fitted.segmenter(), options_of(self.fitted, self.options)
        self.outputs.require_place(scans)
        for number, files in enumerate(scans, start=1):
            try:
                yield self._segment(files, f"{number} of {len(scans)}")
            except Exception as error:  # whatever it is, hours of other scans must not be lost to it
                if stops_all_writing(error):
                    raise
                failure = error if isinstance(error, LowshotError) else LowshotError(_described(files, error))
                self.run.progress.warn(str(failure))
                yield Failed(files.name, failure)

    def _segment(self, files: ScanFiles, which: str) -> Segmented:
        start = time.monotonic()
        path, replaced = self.outputs.path(files), self.outputs.in_another_format(files)
        _refuse_corrected([each for each in (path, replaced) if each is not None])
        model, options = self.fitted.segmenter(), options_of(self.fitted, self.options)
        scan = files.read(self.declared)
        refuse_format(path, scan.grid.shape, model.names)
        axis_map = look(model, scan)
        _announce(scan, which, memory_needed(model, axis_map, self.run, options), self.run)
        prepared = model.preparation.apply(scan, axis_map)
        if dicom_objects.kind_written(path) is not None:
            images_of(files.all_paths[0], path)  # so that what they lack is told before the work
        for each in (path, sidecar_path(path)):
            remove_leftovers(each)
        keep = _ProbabilityFiles(path, scan, model.names).write if self.outputs.probabilities else None
        with appearing_together(last=path) as written:  # where it is, the scan is finished
            result = with_doubts(predict_prepared(model, scan, prepared, self.run, options, keep), self.fitted, scan)
            del prepared  # writing needs its memory
            write_segmentation(result.segmentation, path, scan.source)
            example, sha256 = _is_example(scan, self.fitted), digest(written[path])
            if not example and _was_learned_from(files, self.fitted):
                result = replace(result, notes=(*result.notes, TRANSDUCTIVE))
            known = scan.spacing_known
            own = fingerprint(files.all_paths)
            write_sidecar(path, result, self.source, sha256=sha256, scan=own, spacing_known=known, example=example)
        _remove_older_probabilities(path, files.name, written)
        if replaced is not None:  # or one scan would have two results
            replaced.unlink(missing_ok=True)
        sizes = result.segmentation.sizes()[1:]
        present = [name for name, size in zip(model.names.foreground, sizes, strict=True) if size]
        return Segmented(files.name, path, result.quality, tuple(present), result.notes, time.monotonic() - start)


def _refuse_corrected(results: Sequence[Path]) -> None:
    """Refuse to replace what somebody has worked on.

    Raises:
        OutputError: a file is no longer as it was written.
    """
    for path in results:
        if path.exists() and was_changed(path, read_sidecar(path)):
            raise OutputError(f"{path}: was changed since lowshot wrote it; move it to keep it, or delete it")


def _is_example(scan: Scan, fitted: Fitted) -> bool | None:
    """Whether the model was shown this very scan with its labels; None where it does not tell."""
    shown = fitted.provenance.get("support_voxels")
    return scan.digest() in shown if isinstance(shown, list) else None


def _was_learned_from(files: ScanFiles, fitted: Fitted) -> bool:
    """Whether one of the scan's files is among those that the model was trained with."""
    known = fitted.provenance.get("training_files")
    return isinstance(known, list) and any(digest(path) in known for path in files.all_paths)


def _announce(scan: Scan, which: str, needed: int, run: Run) -> None:
    shape, free, peak = "×".join(map(str, scan.grid.shape)), available_bytes(), resident_bytes() + needed
    run.progress.note(f"{scan.name} ({which}): {shape} voxels, takes {gigabytes(peak)} of memory")
    if free is not None and needed > free:
        run.progress.warn(f"{scan.name}: only {gigabytes(free)} are free; close other programs, or crop the scan")


def _described(files: ScanFiles, error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, MemoryError) or "memory" in first.lower():
        return f"{files.name}: not enough memory ({first or 'MemoryError'}); close other programs, or crop the scan"
    return f"{files.name}: {type(error).__name__}: {first}"


_LONGEST_WORD = 40
"""Of a structure's name in a file name: file systems end at 255 bytes, of which a letter may take four."""


def _probability_path(segmentation: Path, case: str, names: Names, name: str) -> Path:
    """The file of one structure. Its name may come from a stranger's model file: it is no path."""
    value, word = names.values[names.index(name)], re.sub(r"[^\w.-]+", "-", name)[:_LONGEST_WORD]
    return segmentation.parent / "probabilities" / case / f"{value}-{word}{DEFAULT_SUFFIX}"


def _remove_older_probabilities(segmentation: Path, case: str, written: Container[Path]) -> None:
    """Those of an earlier result, which the one that took its place does not have: they would pass as its own."""
    folder = segmentation.parent / "probabilities" / case
    for path in folder.glob(f"[0-9]*-*{DEFAULT_SUFFIX}"):
        if path not in written:
            path.unlink(missing_ok=True)
    with suppress(OSError):  # it is not there, or not empty
        folder.rmdir()


@dataclass(frozen=True)
class _ProbabilityFiles:
    """``probabilities/CASE/VALUE-NAME.nii.gz`` beside the segmentation, one for each structure."""

    segmentation: Path
    scan: Scan
    names: Names

    def write(self, name: str, probability: Float[Tensor, "i j k"]) -> None:
        """Write one structure."""
        path = _probability_path(self.segmentation, self.scan.name, self.names, name)
        remove_leftovers(path)
        write_volume(probability[None], self.scan.affine, path, self.scan.source)


def unlike_kept(kept: Sequence[ScanFiles], outputs: Outputs, fitted: Fitted, source: Mapping[str, Any]) -> str | None:
    """A sentence about results that are kept although the model would now make others; None where it would not.

    Of one without a JSON file beside it, or with one that does not tell the model, nobody knows what made it, and it is
    only told if a file is missing that is asked for.

    Args:
        kept: scans whose results are there.
        outputs: where, and how they would be written now.
        fitted: the model.
        source: which model it is, and its options, as ``Batch.source`` has them.

    Raises:
        SettingsError: no such option.
    """
    cases: dict[str, list[str]] = {}
    options = options_of(fitted, source.get("options", {}))
    for scan in kept:
        differs = _difference(scan, outputs, fitted, source, options)
        if differs is not None and not outputs.was_corrected(scan):  # what was is to stay, whatever made it
            cases.setdefault(differs, []).append(scan.name)
    if not cases:
        return None
    told = "; ".join(f"{len(names)} {differs}: {listed(names)}" for differs, names in cases.items())
    return (
        f"of the {len(kept)} results that are kept, this command would make {sum(map(len, cases.values()))} otherwise "
        f"({told}); to have all alike, use --overwrite, which keeps what was corrected, or another output folder"
    )


def _difference(
    scan: ScanFiles, outputs: Outputs, fitted: Fitted, source: Mapping[str, Any], options: Any
) -> str | None:
    """What sets a result that is there apart from the one that would be made now; the gravest difference alone."""
    beside = read_sidecar(outputs.path(scan))
    made_by = beside.model.get("sha256")
    if made_by is not None and made_by != source.get("sha256"):
        file = printable(str(beside.model.get("file")))[:_LONGEST_WORD]
        return f"by another {file}" if file == source.get("file") else f"by another model, {file}"
    if made_by is not None and not _same_labels(fitted, beside, options):
        return "with other options"
    if outputs.probabilities and not outputs.has_probabilities(scan, fitted.segmenter().names):
        return "without probabilities"
    return None if outputs.path(scan).exists() else "in another format"


def _same_labels(fitted: Fitted, beside: Sidecar, options: Any) -> bool:
    """Whether a model makes the same labels with these options as with those it had, defaults included."""
    had = beside.model.get("options", {})
    if not isinstance(had, Mapping):
        return False
    try:
        then, now = asdict(options_of(fitted, had)), asdict(options)
    except SettingsError:  # written by a version that had other options
        return False
    return all(then[name] == now[name] for name in now if name not in ONLY_SPEED)
