"""Pictures of the embeddings of a benchmark's systems, from the models of its finished cells."""

from collections.abc import Sequence
from pathlib import Path

import torch

from lowshot.atomic import appearing_together, atomic_path
from lowshot.benchmarking.cases import Cases
from lowshot.benchmarking.cell import MODEL, Cell, finished
from lowshot.benchmarking.compute import Machine
from lowshot.contract import Embeds
from lowshot.errors import SettingsError
from lowshot.imaging.scan import LabelledScan
from lowshot.model_file import load
from lowshot.progress import Progress
from lowshot.reporting.embedding import (
    EmbeddedVoxels,
    draw_voxels,
    flattened,
    picture,
    points_table,
    separation,
    separation_table,
)
from lowshot.reporting.tables import Table, to_csv
from lowshot.segmenting import options_of
from lowshot.training.run import Run
from lowshot.transforms.support import known_voxels

PICTURE, POINTS = "embedding.png", "embedding.csv"


def picture_embeddings(
    pictured: Sequence[Cell], cases: Cases, root: Path, how: Machine, progress: Progress
) -> tuple[list[Table], dict[str, str]]:
    """Draw the first query of each finished cell; returns what was measured as a table, and what is where.

    Raises:
        SettingsError: a model has no embedding of voxels.
        OutputError: full disk, no permission.
    """
    cells = finished(pictured, root, progress, "embeddings")
    if not cells:
        return [], {}
    fold = cells[0].fold
    case = fold.queries[0]
    query = cases.query(case, fold.new)
    names = query.truth.names
    embedded, points = [], []
    with progress.task("embeddings", len(cells)) as task:
        for cell in cells:
            embedded.append(_embedded(cell, query, root, how))
            points.append(flattened(embedded[-1]))
            task.advance()
    measured = [separation(voxels) for voxels in embedded]
    with appearing_together():
        with atomic_path(root / POINTS) as temporary:
            temporary.write_text(to_csv(points_table(embedded, points, names)), encoding="utf-8")
        with atomic_path(root / PICTURE) as temporary:
            picture(embedded, points, measured, names).savefig(temporary, dpi=150)
    files = {"embedding": str(root / PICTURE), "points": str(root / POINTS)}
    return [separation_table(embedded, measured, case)], files


def _embedded(cell: Cell, query: LabelledScan, root: Path, how: Machine) -> EmbeddedVoxels:
    fitted = load(cell.trained.folder(root) / MODEL)
    model = fitted.segmenter()
    if not isinstance(model, Embeds):
        raise SettingsError(f"--embedding: {cell.name} ({fitted.name}) does not decide by a vector for each voxel")
    prepared = cell.prepared(model, query)
    known = known_voxels(query)
    labels = model.preparation.apply_labels(query.truth.labels, prepared, known).numpy()
    mask = model.preparation.apply_mask(known, prepared).numpy()
    voxels = draw_voxels(labels, mask)
    run = Run(device=how.device, precision=how.precision_for(fitted), threads=how.threads)
    vectors = model.embeddings(prepared, run, options_of(fitted, cell.system.options), torch.from_numpy(voxels))
    places = voxels @ prepared.grid.affine[:3, :3].T + prepared.grid.affine[:3, 3]
    return EmbeddedVoxels(cell.name, vectors.numpy(), labels[tuple(voxels.T)], places)
