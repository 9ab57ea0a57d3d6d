"""A data set prepared as a protocol wants it, once, in the plain layout that ``lowshot bench`` reads.

DATASET-KEY/
  names.txt             value, tab, structure; values count from 1
  cases.csv             name, an image for each channel, labels
  images/  labels/      UNKNOWN in a label map is neither background nor a structure
  complete              written last; the key is of the files' contents and the recipe
"""

import csv
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float
from torch import Tensor

from lowshot.atomic import atomic_path
from lowshot.datasets.reader import CaseFiles, Found, read_case
from lowshot.datasets.recipe import Recipe
from lowshot.errors import InputError
from lowshot.imaging.digests import digest
from lowshot.imaging.files import write_segmentation, write_volume
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.inputs.table import TABLE
from lowshot.progress import Progress

FORM = 2
"""Of prepared cases: another number makes all of them anew, so it is raised whenever they come out differently."""
UNKNOWN = 255
"""In prepared label maps; no data set has as many structures."""


def prepared_cases(found: Found, recipe: Recipe, cache: Path, progress: Progress) -> Path:
    """Every complete case that was found, prepared; done before, it is found by its key.

    Raises:
        InputError: there is none, or a file that cannot be used.
        OutputError: full disk, no permission.
    """
    if not found.cases:
        raise InputError(f"{found.folder}: expected {found.dataset.title}, found {found.summary}")
    folder = cache / f"{found.dataset.name}-{_key(found, recipe)}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if (folder / "complete").exists():
            return folder
        rows = []
        with progress.task(f"preparing {found.dataset.name}", len(found.cases)) as task:
            for case, files in found.cases.items():
                rows.append(_write(prepare(read_case(found.dataset, files), recipe), case, folder))
                task.advance()
        _write_text(folder / "names.txt", _table(Names.of(dict(found.dataset.structures))))
        _write_text(folder / TABLE, _csv(rows))
        _write_text(folder / "complete", repr(recipe))
    return folder


def prepare(labelled: LabelledScan, recipe: Recipe) -> LabelledScan:
    """A scan as the recipe says, on the grid that this gives it. Unknown voxels stay unknown.

    Raises:
        InputError: slices are no larger than the border that is to be cut.
    """
    scan = labelled.scan
    voxels = torch.stack([_intensities(image.float(), recipe) for image in scan.voxels])
    labelled = LabelledScan(
        Scan(scan.name, voxels, scan.affine, scan.channels, scan.spacing_known), labelled.truth, labelled.known
    )
    cut = recipe.border
    if cut:
        i, j, _ = voxels.shape[1:]
        if min(i, j) <= 2 * cut:
            raise InputError(
                f"{scan.name}: expected slices of more than {2 * cut} pixels, of which {cut} are cut from each side, "
                f"got {i} × {j}; prepare the data set as it is distributed, not a copy of fewer pixels"
            )
        labelled = _box(labelled, (slice(cut, i - cut), slice(cut, j - cut), slice(None)))
    crop = "foreground" if recipe.crop_to_body else "none"
    labelled = _moved(labelled, Preparation(None, recipe.spacing_mm, crop, "none", recipe.resize))
    if recipe.size is None:
        return labelled
    x, y, z = recipe.size
    return _moved(labelled, Preparation(None, None, (x, y, labelled.scan.voxels.shape[3] if z is None else z), "none"))


def _intensities(image: Float[Tensor, "i j k"], recipe: Recipe) -> Float[Tensor, "i j k"]:
    if recipe.cut_top:
        image = image.clamp(max=float(np.quantile(image.numpy(), 1 - recipe.cut_top)))
    return image if recipe.clip is None else image.clamp(*recipe.clip)


def _moved(labelled: LabelledScan, preparation: Preparation) -> LabelledScan:
    prepared = preparation.apply(labelled.scan)
    labels = preparation.apply_labels(labelled.truth.labels, prepared, labelled.known)
    known = labelled.known
    if known is not None:  # what is added around a scan is background, as it is where everything is known
        known = preparation.apply_mask(known, prepared) | ~preparation.apply_mask(None, prepared)
    old = labelled.scan
    scan = Scan(old.name, prepared.voxels, prepared.grid.affine, old.channels, old.spacing_known)
    return LabelledScan(scan, Segmentation(labels, labelled.truth.names, prepared.grid.affine), known)


def _box(labelled: LabelledScan, box: tuple[slice, slice, slice]) -> LabelledScan:
    scan, truth = labelled.scan, labelled.truth
    affine = scan.affine.copy()
    affine[:3, 3] = (scan.affine @ [*(part.start or 0 for part in box), 1])[:3]
    cut = Scan(scan.name, scan.voxels[(slice(None), *box)], affine, scan.channels, scan.spacing_known)
    known = None if labelled.known is None else labelled.known[box]
    return LabelledScan(cut, Segmentation(truth.labels[box], truth.names, affine), known)


def _write(labelled: LabelledScan, case: str, folder: Path) -> Mapping[str, str]:
    scan, several = labelled.scan, len(labelled.scan.channels) > 1
    row = {"name": case}
    for at, channel in enumerate(scan.channels):
        file = f"images/{case}{f'_{channel}' if several else ''}.nii.gz"
        write_volume(scan.voxels[at : at + 1], scan.affine, folder / file)
        row[channel if several else "image"] = file
    names = labelled.truth.names
    labels, values = labelled.truth.labels.clone(), tuple(range(len(names)))
    written = Names(names.names, values)
    if labelled.known is not None:
        written = Names((*names.names, "unknown"), (*values, UNKNOWN))
        labels[~labelled.known] = len(names)
    row["labels"] = f"labels/{case}.nii.gz"
    write_segmentation(Segmentation(labels, written, scan.affine), folder / row["labels"])
    return row


def _key(found: Found, recipe: Recipe) -> str:
    """Of what is read and what is done to it, not of where it lies."""
    known = hashlib.sha256(repr((FORM, recipe, found.dataset)).encode())
    for case, files in found.cases.items():
        known.update(case.encode())
        for path in _contents(files):
            known.update(digest(path).encode())
    return known.hexdigest()[:16]


def _contents(files: CaseFiles) -> list[Path]:
    return [*files.images.values(), *files.labels]


def _table(names: Names) -> str:
    return "".join(f"{value}\t{name}\n" for value, name in enumerate(names.foreground, start=1))


def _csv(rows: list[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
