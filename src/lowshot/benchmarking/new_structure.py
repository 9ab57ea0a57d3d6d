"""One structure plays the part of the new one: what a system may see of annotated scans then, and what it is granted.

Slices are along a scan's third axis, as its file has them.
"""

from collections.abc import Collection
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from lowshot.errors import InputError
from lowshot.imaging.grid import Grid
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import Prepared
from lowshot.imaging.scan import LabelledScan, Segmentation


def only(labelled: LabelledScan, structure: str) -> LabelledScan:
    """The scan, annotated for this structure alone; the others are background."""
    names, labels = labelled.truth.names, labelled.truth.labels
    index = names.index(structure)
    alone = Names(("background", structure), (names.values[0], names.values[index]))
    truth = Segmentation((labels == index).to(labels.dtype), alone, labelled.truth.affine)
    return replace(labelled, truth=truth, annotated=None)


def without(labelled: LabelledScan, structures: Collection[str]) -> LabelledScan:
    """The scan, as if nobody had ever looked for these structures: they are background (setting 1 of SSL-ALPNet)."""
    names, labels = labelled.truth.names, labelled.truth.labels
    gone = {names.index(structure) for structure in structures}
    kept = [k for k in range(len(names)) if k not in gone]
    table = torch.zeros(len(names), dtype=labels.dtype)
    table[kept] = torch.arange(len(kept), dtype=labels.dtype)
    others = Names(tuple(names.names[k] for k in kept), tuple(names.values[k] for k in kept))
    return replace(labelled, truth=Segmentation(table[labels.long()], others, labelled.truth.affine))


def without_slices_of(labelled: LabelledScan, structures: Collection[str]) -> LabelledScan:
    """The scan, of whose slices those that show any of the structures are unknown (setting 2: they are not used)."""
    if not structures:
        return labelled
    hidden = torch.zeros(labelled.truth.labels.shape[2], dtype=torch.bool)
    for structure in structures:
        hidden |= slices_of(labelled, structure)
    known = torch.ones_like(labelled.truth.labels, dtype=torch.bool) if labelled.known is None else labelled.known
    return replace(labelled, known=known & ~hidden)


def slices_of(labelled: LabelledScan, structure: str) -> Bool[Tensor, " k"]:
    """Which slices show a structure."""
    return (labelled.truth.labels == labelled.truth.names.index(structure)).flatten(0, 1).any(dim=0)


def granted_range(labelled: LabelledScan, structure: str, above: int = 0) -> slice:
    """From the first to the last slice that shows the structure, which nobody knows who has a scan to segment.

    Args:
        labelled: the scan with its truth.
        structure: the new one.
        above: pixels of it that a slice has more of, to count.

    Raises:
        InputError: none does.
    """
    pixels = (labelled.truth.labels == labelled.truth.names.index(structure)).flatten(0, 1).sum(dim=0)
    shown = (pixels > above).nonzero().flatten()
    if not len(shown):
        enough = f" in more than {above} pixels of a slice" if above else ""
        raise InputError(f"{labelled.scan.name}: shows no {structure}{enough}, so there is no range of slices to grant")
    return slice(int(shown[0]), int(shown[-1]) + 1)


def within(labelled: LabelledScan, slices: slice) -> LabelledScan:
    """The scan, of which nothing is known beyond these slices."""
    known = torch.zeros_like(labelled.truth.labels, dtype=torch.bool)
    known[:, :, slices] = True
    return replace(labelled, known=known if labelled.known is None else labelled.known & known)


def cut(prepared: Prepared, slices: slice) -> Prepared:
    """These slices alone of a scan that was prepared, grey values scaled, as a whole; the others become background.

    Raises:
        InputError: the scan was not prepared slice by slice, or none of these is left.
    """
    lies = prepared.axis_map
    ends = sorted(round(lies.step[2] * (k - lies.start[2])) for k in (slices.start, slices.stop - 1))
    first, end = max(ends[0], 0), min(ends[1] + 1, lies.shape[2])
    if lies.axes[2] != 2 or abs(lies.step[2]) != 1 or first >= end:
        raise InputError(
            f"{prepared.name}: expected the slices {slices.start} to {slices.stop - 1} among those that the method "
            "sees, one for one; it resamples, turns or crops them, so none can be granted"
        )
    start, shape = (*lies.start[:2], lies.start[2] + lies.step[2] * first), (*lies.shape[:2], end - first)
    lies = replace(lies, start=start, shape=shape)
    grid = Grid(shape, prepared.scan_grid.affine @ lies.matrix())
    return replace(prepared, voxels=prepared.voxels[..., first:end], grid=grid, axis_map=lies)
