"""Scoring a folder of predictions against a folder of truth."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lowshot.errors import InputError
from lowshot.evaluation.evaluate import evaluate
from lowshot.evaluation.pairing import PairedFiles, Pairing, bare_name, pair_files
from lowshot.evaluation.scores import Evaluation, Pair
from lowshot.evaluation.sidecar import Sidecar, read_sidecar
from lowshot.imaging.files import read_labelled, read_labels
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan
from lowshot.progress import Progress


class FilePairs:
    """Pairs that are read from their files each time they are asked for, so that one at a time is in memory."""

    def __init__(
        self,
        files: Sequence[PairedFiles],
        names: Names,
        ignore_value: int | None = None,
        annotated_slice: int | tuple[int, int] | None = None,
    ) -> None:
        self._files, self._names = files, names
        self._ignore_value, self._annotated_slice = ignore_value, annotated_slice

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, position: int) -> Pair:
        """Read one pair. Without an image, black stands in its place.

        Raises:
            InputError: a label map cannot be read, lies on another grid, or holds a value without a name.
        """
        files = self._files[position]
        labelled, notes = self._labelled(files)
        if files.prediction is None:
            return Pair(files.case, None, labelled, notes=notes)
        prediction, _ = read_labels(files.prediction, self._names, ignore_value=self._ignore_value, like=labelled.scan)
        sidecar = read_sidecar(files.prediction)
        return Pair(files.case, prediction, labelled, sidecar.expected_dice, (*notes, *sidecar.notes))

    def _labelled(self, files: PairedFiles) -> tuple[LabelledScan, tuple[str, ...]]:
        """The truth on its image. The image is for pictures alone: a bad one is a note."""
        read = partial(
            read_labelled,
            labels=files.truth,
            names=self._names,
            ignore_value=self._ignore_value,
            annotated_slice=self._annotated_slice,
            name=files.case,
        )
        if files.image is None:
            return _blackened(read(files.truth)), ()
        try:
            return read(files.image), ()
        except InputError as error:
            return _blackened(read(files.truth)), (f"the image is not shown: {error}",)


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
    variants: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Pair label maps by file name and score them.

    A truth without a prediction is scored as missing, unless it is the model's own example (as the sidecars say).

    Args:
        predictions: a folder of label maps, or one.
        truth: a folder of label maps with the same names, or one.
        images: a folder with the scans, for the pictures of the report.
        names: what the label values mean; without it each value found in any file is a structure, "label 5".
        ignore_value: a value of the truth that marks unknown voxels; in a prediction it is background.
        annotated_slice: index (from 0) along the third axis, or (axis, index), of the only slice that was annotated in
            each truth; nothing else is scored.
        variants: also compute the variants of HD95 that other scorers report.
        progress: where to say how far the work is.

    Raises:
        InputError: nothing can be scored; one bad pair among good ones is listed in ``failed`` instead.
    """
    paths = {"predictions": Path(predictions), "truth": Path(truth), "images": Path(images) if images else None}
    pairing = pair_files(Path(predictions), Path(truth), paths["images"])
    sidecars = [read_sidecar(files.prediction) for files in pairing.files if files.prediction]
    scored, examples = _without_examples(pairing.files, sidecars)
    pairs = FilePairs(scored, names or _values_as_names(scored, ignore_value), ignore_value, annotated_slice)
    evaluation = evaluate(pairs, variants=variants, progress=progress)
    settings: dict[str, Any] = {key: str(path) for key, path in paths.items() if path is not None}
    if ignore_value is not None:
        settings["ignore value"] = ignore_value
    if annotated_slice is not None:
        axis, index = (2, annotated_slice) if isinstance(annotated_slice, int) else annotated_slice
        settings["annotated slice"] = f"{index} along axis {axis}"
    settings |= _model(sidecars)
    return replace(evaluation, notes=(*examples, *Pairing(tuple(scored), pairing.surplus).notes), settings=settings)


def _without_examples(
    files: Sequence[PairedFiles], sidecars: Sequence[Sidecar]
) -> tuple[list[PairedFiles], tuple[str, ...]]:
    """The cases to score, and what is to be said about those that the model had as examples."""
    support = {bare_name(name) for sidecar in sidecars for name in sidecar.support}
    examples = [each for each in files if bare_name(each.case) in support]
    left_out = [each for each in examples if each.prediction is None]
    notes = (
        f"{each.case}: the model's own example"
        + (", without a prediction; not scored" if each in left_out else "; its score is not a test")
        for each in examples
    )
    return [each for each in files if each not in left_out], tuple(notes)


def _values_as_names(files: Sequence[PairedFiles], ignore_value: int | None) -> Names:
    """A name for every value that occurs in any of the files that can be read; the others fail when they are scored."""
    values: set[int] = set()
    for each in files:
        for path in filter(None, (each.truth, each.prediction)):
            with suppress(InputError):
                values.update(read_labels(path)[0].names.values)
    return Names.from_values(values - {ignore_value})


def _model(sidecars: Sequence[Sidecar]) -> dict[str, Any]:
    """The model that made all predictions, if it is one and the same."""
    models = [sidecar.model for sidecar in sidecars if sidecar.model]
    return {"model": models[0]} if models and all(model == models[0] for model in models) else {}
