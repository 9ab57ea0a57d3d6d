"""From annotated scans to volumes that patches are drawn from."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lowshot.errors import EmptySupport, GridMismatch
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Preparation, Prepared, prepared_grid
from lowshot.imaging.scan import LabelledScan, Scan
from lowshot.nn.geometry import working_spacing
from lowshot.progress import Progress
from lowshot.training.run import Run
from lowshot.transforms.patches import Volume
from lowshot.transforms.spatial import pixel_mm


def prepare_support(
    support: Sequence[LabelledScan], preparation: Preparation, most_voxels: int | None, run: Run
) -> tuple[Preparation, list[Volume]]:
    """Prepare each annotated scan with its labels, on the run's device; what is not known stays unknown.

    The preparation comes back with its spacing filled in: the first scan's own, or a coarser one where a scan would
    have more than ``most_voxels`` voxels. Every scan to be segmented is then brought to that spacing. Pictures, whose
    files know no millimetres, keep their pixels.

    Raises:
        EmptySupport: no structure is annotated in what the preparation leaves of the scans.
        GridMismatch: some of the scans know their spacing and some do not.
    """
    known = {labelled.scan.spacing_known for labelled in support}
    if len(known) > 1:
        raise GridMismatch("some annotated scans know their voxel size and some (PNG, TIFF) do not; use one kind")
    if preparation.spacing is None and preparation.resize is None and known == {True}:
        grids = [prepared_grid(labelled.scan, preparation.axis_map(labelled.scan)) for labelled in support]
        extent = [max(grid.shape[axis] * grid.spacing[axis] for grid in grids) for axis in range(3)]
        preparation = replace(preparation, spacing=working_spacing(extent, grids[0].spacing, most_voxels))
    volumes = [_volume(labelled, preparation, run) for labelled in support]
    if not any(bool((volume.labels[volume.known] > 0).any()) for volume in volumes):
        names = ", ".join(labelled.scan.name for labelled in support)
        raise EmptySupport(
            f"{names}: no annotated structure is left to learn from (crop: {preparation.crop}); "
            "check the label map, the ignore value and the crop"
        )
    return preparation, volumes


def _volume(labelled: LabelledScan, preparation: Preparation, run: Run) -> Volume:
    prepared = preparation.apply(labelled.scan)
    warn_of_crop(labelled, prepared, run.progress)
    known = known_voxels(labelled)
    labels = preparation.apply_labels(labelled.truth.labels, prepared, known)
    mask = preparation.apply_mask(known, prepared)
    device = run.device  # patches are drawn and augmented where the network is trained
    return Volume(prepared.voxels.to(device), labels.to(device), mask.to(device), _spacing(labelled.scan, prepared))


def annotated_planes(volume: Volume) -> Volume:
    """The slices along the third axis of which anything is known, for what draws whole slices."""
    some = volume.known.flatten(0, 1).any(dim=0)
    return Volume(volume.image[..., some], volume.labels[..., some], volume.known[..., some], volume.spacing)


def warn_of_crop(labelled: LabelledScan, prepared: Prepared, progress: Progress) -> None:
    """Tell if some of what is annotated lies outside of what a method looks at: there it will never be found."""
    annotated = labelled.truth.labels > 0
    left = int(annotated[prepared.axis_map.scan_box()].sum()) / max(1, int(annotated.sum()))
    if left < 1:
        progress.warn(f"{labelled.scan.name}: the crop leaves out {max(1 - left, 0.01):.0%} of what is annotated")


def _spacing(scan: Scan, prepared: Prepared) -> tuple[float, float, float]:
    """By which augmentation measures. Stretched pixels of a picture of unknown size are no millimetres."""
    if scan.spacing_known or prepared.grid.shape[2] > 1:
        return prepared.grid.spacing
    step = pixel_mm(prepared.grid.shape[:2])
    return step, step, step


def known_voxels(labelled: LabelledScan) -> Bool[Tensor, "i j k"] | None:
    """Where a label can be trusted; None: everywhere.

    Where only some structures were looked for, background may hide one of the others, so it counts as unknown.
    """
    known, annotated = labelled.known, labelled.annotated
    if annotated is None or annotated >= set(labelled.truth.names.foreground):
        return known
    looked_for = labelled.truth.labels > 0
    return looked_for if known is None else known & looked_for


def annotated_structures(support: Sequence[LabelledScan], names: Names) -> set[str]:
    """What occurs in any of the scans where a label can be trusted, the background among it."""
    found = set[int]()
    for labelled in support:
        labels, known = labelled.truth.labels, known_voxels(labelled)
        found.update(torch.unique(labels if known is None else labels[known]).tolist())
    return {name for index, name in enumerate(names.names) if index in found}  # others are refused by ``check``


def class_counts(volumes: Sequence[Volume], classes: int) -> Int[Tensor, " k"]:
    """Known voxels of every class, over all volumes."""
    counts = [torch.bincount(volume.labels[volume.known].long(), minlength=classes) for volume in volumes]
    return torch.stack(counts).sum(dim=0)
