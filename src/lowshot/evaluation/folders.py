"""Scoring a folder of predictions against a folder of truth."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lowshot.errors import GridMismatch, InputError, UnknownLabel
from lowshot.evaluation.evaluate import evaluate
from lowshot.evaluation.pairing import PairedFiles, Pairing, bare_name, pair_files
from lowshot.evaluation.scores import Empty, Evaluation, Pair
from lowshot.evaluation.sidecar import Sidecar, read_sidecar, was_changed
from lowshot.imaging.label_maps import names_within, read_labelled, read_labels
from lowshot.imaging.names import Names, merged
from lowshot.imaging.scan import LabelledScan
from lowshot.progress import Progress
from lowshot.wording import listed

NOT_SHOWN = "the image is not shown"
_MANY_VALUES, _TIMES_AS_MANY = 100, 10
"""Images have more values than this, and so many times as many as a label map."""


class FilePairs:
    """Pairs that are read from their files each time they are asked for, so that one at a time is in memory."""

    def __init__(
        self,
        files: Sequence[PairedFiles],
        names: Names,
        ignore_value: int | None = None,
        annotated_slice: int | tuple[int, int] | None = None,
        structures: Sequence[str] | None = None,
    ) -> None:
        self._files, self._names = files, names
        self._ignore_value, self._annotated_slice = ignore_value, annotated_slice
        self._structures = structures

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, position: int) -> Pair:
        """Read one pair. Without an image, black stands in its place.

        Raises:
            InputError: a label map cannot be read, lies on another grid, or holds a value without a name.
        """
        files = self._files[position]
        labelled, notes = self._labelled(files)
        notes = (*notes, *self._nothing_in_slice(files.truth, labelled))
        if files.prediction is None:
            return Pair(files.case, None, labelled, notes=notes)
        try:
            prediction, _ = read_labels(
                files.prediction, self._names, ignore_value=self._ignore_value, like=labelled.scan
            )
        except GridMismatch as error:
            told = f" ({error.apart})" if error.apart else ""
            raise GridMismatch(
                f"{files.prediction}: lies on another grid than its truth {files.truth}{told}; results lie on the grid "
                "of the scan that was segmented, so give the truth of that scan",
                error.apart,
            ) from error
        sidecar = _told_of(files.prediction)
        return Pair(files.case, prediction, labelled, sidecar.expected_dice, (*notes, *sidecar.notes))

    def _labelled(self, files: PairedFiles) -> tuple[LabelledScan, tuple[str, ...]]:
        """The truth on its image. The image is for pictures alone: a bad one is a note."""
        read = partial(
            read_labelled,
            labels=files.truth,
            names=self._names,
            ignore_value=self._ignore_value,
            annotated_slice=self._annotated_slice,
            annotated=self._structures,
            name=files.case,
        )
        if files.image is None:
            return _blackened(read(_in_its_place(files))), ()
        try:
            return read(files.image), ()
        except InputError as error:
            return _blackened(read(_in_its_place(files))), (f"{NOT_SHOWN}: {error}",)

    def _nothing_in_slice(self, path: Path, labelled: LabelledScan) -> list[str]:
        """A note where the only annotated slice shows no structure, as where it was counted along another axis."""
        if self._annotated_slice is None or labelled.truth.labels[labelled.known].any():
            return []
        where = _slice_in_words(self._annotated_slice)
        return [f"{path.name}: shows no structure in slice {where}, the only annotated one; was another meant?"]


def _slice_in_words(annotated_slice: int | tuple[int, int]) -> str:
    axis, index = (2, annotated_slice) if isinstance(annotated_slice, int) else annotated_slice
    return f"{index} along axis {axis}"


def _told_of(prediction: Path) -> Sidecar:
    """What stands beside a prediction; nothing of the model's is true of one that somebody has changed since."""
    sidecar = read_sidecar(prediction)
    if not was_changed(prediction, sidecar):
        return sidecar
    note = f"{prediction.name}: was changed since lowshot wrote it; the Dice that the model expected is left out"
    return Sidecar(notes=(*sidecar.notes, note), values=sidecar.values, example=sidecar.example)


def _in_its_place(files: PairedFiles) -> Path:
    """A file on the grid of the image, where that is not given: the truth, unless that has no voxels of its own."""
    if names_within(files.truth) is None:
        return files.truth
    if files.prediction is None or names_within(files.prediction) is not None:
        raise InputError(f"{files.truth}: to be scored it needs the image that it was drawn on; give that (--images)")
    return files.prediction


def _blackened(labelled: LabelledScan) -> LabelledScan:
    """The same without a picture: label values are no grey values."""
    return replace(labelled, scan=replace(labelled.scan, voxels=torch.zeros_like(labelled.scan.voxels)))


def evaluate_folders(
    predictions: Path | str,
    truth: Path | str,
    *,
    images: Path | str | None = None,
    names: Names | None = None,
    ignore_value: int | None = None,
    annotated_slice: int | tuple[int, int] | None = None,
    structures: Sequence[str] | None = None,
    variants: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Pair label maps by file name and score them.

    A truth without a prediction is scored as missing. The model's own examples (as the sidecars say) are not scored,
    unless there is nothing else.

    Args:
        predictions: a folder of label maps, or one.
        truth: a folder of label maps with the same names, or one.
        images: a folder with the scans, for the pictures of the report.
        names: what the label values mean; without it each value found in any file is a structure, named as the JSON
            files beside the predictions say if all say the same, else "label 5". DICOM segmentations and structure sets
            have names of their own.
        ignore_value: a value of the truth that marks unknown voxels; in a prediction it is background.
        annotated_slice: index (from 0) along the third axis, or (axis, index), as the truth's file stores it, of the
            only slice that was annotated in each truth; nothing else is scored.
        structures: names of those that were annotated in the truth, where these are not all; no other is scored.
        variants: also compute Dice and HD95 as other scorers do.
        progress: where to say how far the work is.

    Raises:
        InputError: nothing can be scored; one bad pair among good ones is listed in ``failed`` instead.
    """
    paths = {"predictions": Path(predictions), "truth": Path(truth), "images": Path(images) if images else None}
    pairing = pair_files(Path(predictions), Path(truth), paths["images"])
    beside = {files.case: _told_of(files.prediction) for files in pairing.files if files.prediction}
    scored, examples = _without_examples(pairing.files, beside)
    sidecars = list(beside.values())
    known = names or _names_in_dicom(scored, sidecars) or _named(_values_as_names(scored, ignore_value), sidecars)
    for structure in structures or ():
        known.index(structure)
    pairs = FilePairs(scored, known, ignore_value, annotated_slice, structures)
    evaluation = evaluate(pairs, variants=variants, progress=progress)
    settings: dict[str, Any] = {key: str(path) for key, path in paths.items() if path is not None}
    if ignore_value is not None:
        settings["ignore value"] = ignore_value
    if annotated_slice is not None:
        settings["annotated slice"] = _slice_in_words(annotated_slice)
    if structures is not None:
        settings["structures"] = ", ".join(structures)
    settings |= _model(sidecars)
    notes = [*examples, *Pairing(tuple(scored), pairing.surplus).notes]
    if images is not None and not any(files.image for files in scored):
        notes.append(f"{images}: no scan has the name of one that is scored, so the report is without pictures")
    notes += [*_not_shown(evaluation), *_never_annotated(evaluation)]
    if Path(predictions).resolve() == Path(truth).resolve():
        notes.append(f"{truth}: is given as predictions and as truth, so that nothing is compared")
    elif any(read_sidecar(files.truth).expected_dice for files in scored):
        notes.append(f"{truth}: lowshot wrote label maps of the truth; are predictions and truth exchanged?")
    return replace(evaluation, notes=tuple(notes), settings=settings)


def _not_shown(evaluation: Evaluation) -> list[str]:
    """Which images could not be read, with the reason for the first: scores do not need them."""
    found = {case.case: note for case in evaluation.cases for note in case.notes if note.startswith(NOT_SHOWN)}
    return [f"{listed(list(found))}: {next(iter(found.values()))}"] if found else []


def _never_annotated(evaluation: Evaluation) -> list[str]:
    """What is said of structures that are predicted and in no truth at all: perhaps nobody annotated them."""
    empty: dict[str, set[Empty]] = {}
    for score in evaluation.scores:
        empty.setdefault(score.structure, set()).add(score.empty)
    found = [name for name, kinds in empty.items() if "truth" in kinds and kinds <= {"truth", "both"}]
    if not found or len(found) == len(empty):
        return []
    return [
        f"{', '.join(found)}: predicted, and in no truth, so that every Dice is 0; if nobody annotated that, name what "
        "was annotated (--structures)"
    ]


def _without_examples(
    files: Sequence[PairedFiles], beside: Mapping[str, Sidecar]
) -> tuple[list[PairedFiles], tuple[str, ...]]:
    """The cases to score, and what is to be said about those that the model had as examples.

    Where no file beside the prediction tells, its name has to do.
    """
    support = {bare_name(name) for sidecar in beside.values() for name in sidecar.support}
    told = {case: sidecar.example for case, sidecar in beside.items() if sidecar.example is not None}
    examples = [each for each in files if told.get(each.case, bare_name(each.case) in support)]
    others = [each for each in files if each not in examples]
    scored = others or [each for each in examples if each.prediction is not None]
    notes = (
        f"{each.case}: the model's own example; {'its score is not a test' if each in scored else 'not scored'}"
        for each in examples
    )
    return scored, tuple(notes)


def _values_as_names(files: Sequence[PairedFiles], ignore_value: int | None) -> Names:
    """A name for every value that occurs in any of the files that can be read; the others fail when they are scored.

    Raises:
        UnknownLabel: truth and predictions have no value in common, so that every score would be 0 for no good reason;
            or so many more values are in one than in the other that it must be images.
    """
    true, predicted = (
        _values(filter(None, paths)) - {ignore_value, 0}
        for paths in ((each.truth for each in files), (each.prediction for each in files))
    )
    if true and predicted and not true & predicted:
        raise UnknownLabel(
            f"no label value occurs in both: the truth has {_listed(true)}, the predictions {_listed(predicted)}; give "
            "a structure the same value in both, or names to the values (--names) if they are other structures"
        )
    few, many = sorted((len(true), len(predicted)))
    if many > _MANY_VALUES and many > _TIMES_AS_MANY * few:
        raise UnknownLabel(
            f"{len(true)} different values in the truth, {len(predicted)} in the predictions; is one of them a folder "
            "of images? If all are structures, say what they are called (--names)"
        )
    return Names.from_values(true | predicted)


def _names_in_dicom(files: Sequence[PairedFiles], sidecars: Sequence[Sidecar]) -> Names | None:
    """Names that DICOM files have, with the values that others use for them; None where all label maps have values.

    Raises:
        UnknownLabel: values and names meet, and nothing says which are the same.
    """
    paths = [path for each in files for path in (each.truth, each.prediction) if path is not None]
    tables: dict[Path, Names | None] = {}
    for path in paths:
        with suppress(InputError):  # told when it is scored
            tables[path] = names_within(path)
    named = [table for table in tables.values() if table is not None]
    if not named:
        return None
    told = [sidecar.values for sidecar in sidecars]
    if told and told[0] and all(each == told[0] for each in told):
        return Names.of({value: name for name, value in told[0].items()})
    unnamed = next((path for path, table in tables.items() if table is None), None)
    if unnamed is not None:
        other = next(path for path, table in tables.items() if table is not None)
        raise UnknownLabel(f"{other} has names, {unnamed} has values; say what the values mean (--names)")
    return merged(named)


def _named(values: Names, sidecars: Sequence[Sidecar]) -> Names:
    """The values with the names of their structures, where a file beside every prediction tells them, and all alike."""
    told = [sidecar.values for sidecar in sidecars]
    if not told or any(each != told[0] for each in told):
        return values
    names = {value: name for name, value in told[0].items()}
    with suppress(UnknownLabel):  # a name that stands for two values, or that no file can hold: somebody changed it
        foreground = zip(values.values[1:], values.foreground, strict=True)
        return Names((values.names[0], *(names.get(value, name) for value, name in foreground)), values.values)
    return values


def _values(paths: Iterable[Path]) -> set[int]:
    values: set[int] = set()
    for path in paths:
        with suppress(InputError):
            values.update(read_labels(path)[0].names.values)
    return values


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(values)))


def _model(sidecars: Sequence[Sidecar]) -> dict[str, Any]:
    """The model that made all predictions, if it is one and the same."""
    models = [sidecar.model for sidecar in sidecars if sidecar.model]
    return {"model": models[0]} if models and all(model == models[0] for model in models) else {}
