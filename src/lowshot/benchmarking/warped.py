"""Pictures of the annotated scan as a benchmark's systems lay it upon a query, from the models of finished cells."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowshot.atomic import atomic_path
from lowshot.benchmarking.cases import Cases
from lowshot.benchmarking.cell import MODEL, Cell, finished, read_json
from lowshot.benchmarking.compute import Machine
from lowshot.contract import Deforms
from lowshot.errors import SettingsError
from lowshot.imaging.label_maps import read_labels
from lowshot.imaging.scan import LabelledScan
from lowshot.inference.predict import prepare
from lowshot.model_file import load
from lowshot.progress import Progress
from lowshot.registration.correspondence import Correspondence
from lowshot.registration.sampling import moved, sample, voxel_positions
from lowshot.reporting.warped import picture
from lowshot.segmenting import options_of
from lowshot.training.run import Run

PICTURE = "warped.png"


def picture_warped(
    pictured: Sequence[Cell], cases: Cases, root: Path, how: Machine, progress: Progress
) -> dict[str, str]:
    """Draw the first query of each finished cell; returns what is where.

    Raises:
        SettingsError: a model finds no points of a scan in its annotated ones.
        OutputError: full disk, no permission.
    """
    cells = finished(pictured, root, progress, "warped atlases")
    if not cells:
        return {}
    fold = cells[0].fold
    atlas, query = cases.query(fold.support[0]), cases.query(fold.queries[0])
    laid = []
    with progress.task("warped atlases", len(cells)) as task:
        for cell in cells:
            laid.append((_title(cell, root, fold.queries[0]), _laid(cell, atlas, query, cases, root, how)))
            task.advance()
    with atomic_path(root / PICTURE) as temporary:
        picture(atlas, query, laid).savefig(temporary, dpi=150)
    return {"warped": str(root / PICTURE)}


def _title(cell: Cell, root: Path, case: str) -> str:
    scores = read_json(cell.folder(root) / "cases" / f"{case}.json")["scores"]
    found = [score["dice"] for score in scores if score["dice"] is not None]
    return f"{cell.name}\nDice {np.mean(found):.3f}"


def _laid(cell: Cell, atlas: LabelledScan, query: LabelledScan, cases: Cases, root: Path, how: Machine) -> LabelledScan:
    """The atlas's image where the cell's model finds its points, and the labels that it gave the query."""
    fitted = load(cell.trained.folder(root) / MODEL)
    model = fitted.segmenter()
    if not isinstance(model, Deforms):
        raise SettingsError(f"--warped: {cell.name} ({fitted.name}) does not find the points of a scan in an atlas")
    run = Run(device=how.device, precision=how.precision_for(fitted), threads=how.threads)
    options = options_of(fitted, cell.system.options)
    found, *_ = model.correspondences(prepare(model, query.scan), run, options)
    labels, _ = read_labels(cell.folder(root) / "predictions" / f"{query.scan.name}.nii.gz", cases.names)
    scan = replace(query.scan, voxels=warped(atlas, query, found))
    return LabelledScan(scan, replace(labels, affine=query.truth.affine))


def warped(atlas: LabelledScan, query: LabelledScan, found: Correspondence) -> Float[Tensor, "c i j k"]:
    """The atlas's image on the query's grid."""
    points = moved(voxel_positions(query.scan.grid.shape), query.scan.affine)
    positions = moved(found.to_atlas(points), np.linalg.inv(atlas.scan.affine))
    with torch.no_grad():
        return sample(atlas.scan.voxels.float()[None], positions[None])[0]
