"""Pictures of a query's maps before and after global correlation, from the models of finished cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lowshot.atomic import atomic_path
from lowshot.benchmarking.cases import Cases
from lowshot.benchmarking.cell import MODEL, Cell, finished
from lowshot.benchmarking.compute import Machine
from lowshot.contract import Model
from lowshot.errors import InputError, SettingsError
from lowshot.fewshot.examples import Paired, Shots, shots, slices_of
from lowshot.fewshot.pairing import PairingOptions
from lowshot.imaging.grid import Grid
from lowshot.imaging.preparation import Prepared
from lowshot.imaging.scan import LabelledScan
from lowshot.inference.few_shot_model import FewShotModel
from lowshot.model_file import load
from lowshot.nn.global_correlation import GlobalCorrelation
from lowshot.progress import Progress
from lowshot.reporting.correlated import CorrelatedMaps, MarkedSlice, Stage, picture
from lowshot.segmenting import options_of
from lowshot.training.run import Run
from lowshot.transforms.support import known_voxels

PICTURE = "correlated.png"
STRUCTURE = 1
"""The new one, which alone is annotated."""


@runtime_checkable
class Correlates(Protocol):
    """A network that can give its maps of a query before and after global correlation."""

    def correlated(
        self,
        support: Float[Tensor, "n k c i j"],
        masks: Float[Tensor, "n k i j"],
        query: Float[Tensor, "m c i j"],
    ) -> list[tuple[Float[Tensor, "m d ..."], Float[Tensor, "m d ..."]]]:
        """Of every stage that has it."""


def picture_correlated(
    pictured: Sequence[Cell], cases: Cases, root: Path, how: Machine, progress: Progress
) -> dict[str, str]:
    """Draw the first query of each finished cell, where the new structure is largest; returns what is where.

    Raises:
        SettingsError: a model has no global correlation.
        InputError: no slice of the query has an example.
        OutputError: full disk, no permission.
    """
    cells = finished(pictured, root, progress, "correlated maps")
    if not cells:
        return {}
    fold = cells[0].fold
    query = cases.query(fold.queries[0], fold.new)
    found = []
    with progress.task("correlated maps", len(cells)) as task:
        for cell in cells:
            found.append(_correlated(cell, query, root, how))
            task.advance()
    with atomic_path(root / PICTURE) as temporary:
        picture(found).savefig(temporary, dpi=150)
    return {"correlated": str(root / PICTURE)}


def _correlated(cell: Cell, query: LabelledScan, root: Path, how: Machine) -> CorrelatedMaps:
    fitted = load(cell.trained.folder(root) / MODEL)
    model = fitted.segmenter()
    if not (isinstance(model, FewShotModel) and correlates(model)):
        raise SettingsError(
            f"--correlated: {cell.name} ({fitted.name}) has no global correlation, so no maps before and after it"
        )
    run = Run(device=how.device, precision=how.precision_for(fitted), threads=how.threads)
    prepared = cell.prepared(model, query)
    truth = model.preparation.apply_labels(query.truth.labels, prepared, known_voxels(query)) == STRUCTURE
    paired = paired_with(model, prepared, options_of(fitted, cell.system.options))
    place = largest(truth, paired, query.scan.name)
    image, examples = slices_of(prepared.voxels)[place], shots(paired, STRUCTURE, torch.tensor([place]))
    seen = MarkedSlice(
        f"query {query.scan.name}, slice {place + 1} of {truth.shape[2]}{' granted' if cell.system.granted else ''}",
        image[0].numpy(),
        truth[..., place].float().numpy(),
        prepared.grid.affine,
    )
    return CorrelatedMaps(
        cell.name, seen, _example(paired, place, examples, prepared.grid), _stages(model, examples, image, run)
    )


def correlates(model: Model) -> bool:
    """Whether its network has global correlation and can show what comes of it."""
    network = model.learner.network if isinstance(model, FewShotModel) else None
    return isinstance(network, Correlates) and any(isinstance(part, GlobalCorrelation) for part in network.modules())


def paired_with(model: FewShotModel, prepared: Prepared, options: PairingOptions) -> list[Paired]:
    """The examples of every slice, as in ``FewShotModel.regions``."""
    image = slices_of(prepared.voxels)
    return [Paired.of(each, [STRUCTURE], image, prepared.grid, options) for each in model.examples]


def largest(truth: Tensor, paired: Sequence[Paired], name: str) -> int:
    """Of the slices that have an example, the one that shows most of the structure.

    Raises:
        InputError: none has.
    """
    asked = [place for place in range(truth.shape[2]) if any(each.chosen(STRUCTURE, place) for each in paired)]
    if not asked:
        raise InputError(f"{name}: none of its slices lies where the annotated scan has an example, so none is drawn")
    return max(asked, key=lambda place: int(truth[..., place].sum()))


def _example(paired: Sequence[Paired], place: int, examples: Shots, grid: Grid) -> MarkedSlice:
    """The first; where examples are moved, it lies on the query's grid."""
    first = next(each for each in paired if each.chosen(STRUCTURE, place))
    count = examples.masks.shape[1]
    number, total = first.chosen(STRUCTURE, place)[0] + 1, len(first.examples.image)
    moved = first.matrix is not None
    one = "example" if count == 1 else f"first of {count} examples"
    return MarkedSlice(
        f"{one}, slice {number} of {total}" + ("\nlaid upon the query" if moved else ""),
        examples.images[0, 0, 0].numpy(),
        examples.masks[0, 0].numpy(),
        grid.affine if moved else first.examples.affine.numpy(),
    )


def _stages(model: FewShotModel, examples: Shots, image: Float[Tensor, "c i j"], run: Run) -> list[Stage]:
    network = model.learner.network
    run.place(network)
    support = run.tensor(examples.images.flatten(0, 1))[None]
    with torch.inference_mode(), run.autocast():
        found = cast("Correlates", network).correlated(support, examples.masks.to(run.device), run.tensor(image[None]))
    return [Stage(*(maps[0].float().mean(dim=0).cpu().numpy() for maps in pair)) for pair in found]
