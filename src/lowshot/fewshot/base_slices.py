"""The base: slices of scans that are annotated for other structures than the one to be learned from an example."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowshot.errors import ChannelMismatch, EmptySupport
from lowshot.imaging.names import Names
from lowshot.imaging.placement import cut_otherwise, placement
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan, Segmentation
from lowshot.progress import Progress
from lowshot.task import LowShotTask
from lowshot.training.run import Run
from lowshot.transforms.slices import problems_of_slices
from lowshot.wording import listed

NOTHING = Names(("background",), (0,))


@dataclass(frozen=True, eq=False)
class Base:
    """Every slice of the base, scan after scan, in the order of the scans' third axis."""

    image: Float[Tensor, "n c i j"]
    labels: Int[Tensor, "n i j"]
    """Indices into ``structures``; 0 where nothing is known."""
    known: Bool[Tensor, "n i j"]
    scan: Int[Tensor, " n"]
    """From which scan a slice is."""
    looked_for: Bool[Tensor, "scans k"]
    """Which structures somebody looked for in a scan; another that is not marked there may be there all the same."""
    structures: tuple[str, ...]
    """By name, over all scans; the first is background."""
    spacing: tuple[tuple[float, float, float], ...]
    """Of every scan as prepared, in mm."""

    def shares(self) -> Float[Tensor, "n k"]:
        """Which part of a slice each structure covers; NaN where nobody looked for it, or nothing is known."""
        counts = [((self.labels == k) & self.known).flatten(1).sum(dim=1) for k in range(len(self.structures))]
        shares = torch.stack(counts, dim=1) / self.labels.shape[1:].numel()
        unknown = ~self.looked_for.to(shares.device)[self.scan] | ~self.known.flatten(1).any(dim=1, keepdim=True)
        return shares.masked_fill(unknown, torch.nan)


def read_base(
    base: Sequence[LabelledScan],
    preparation: Preparation,
    channels: tuple[str, ...],
    run: Run,
    *,
    images_alone: bool = False,
) -> Base:
    """Prepare the base, on the run's device, with one table of structures by name for all of its scans.

    Args:
        base: the scans.
        preparation: of each.
        channels: that each has to have.
        run: device, and where to tell how far it is.
        images_alone: whether it is for a system that does not look at labels, so that there may be none.

    Raises:
        ChannelMismatch: a scan has other channels than the first.
        EmptySupport: no scan shows any structure; or one is annotated across its slices.
    """
    structures = ["background"]
    parts: dict[str, list[Tensor]] = {"image": [], "labels": [], "known": [], "scan": []}
    looked_for: list[set[int]] = []
    spacing, partly, lie = [], list[str](), list[Any]()
    with run.progress.task("preparing the base", total=len(base)) as task:
        for number in range(len(base)):  # each is read from its files when it is indexed
            labelled = base[number]
            if labelled.scan.channels != channels:
                had, wanted = (", ".join(each) for each in (labelled.scan.channels, channels))
                raise ChannelMismatch(f"{labelled.scan.name}: has the channels {had}, other scans of the base {wanted}")
            if across := problems_of_slices([labelled]):
                raise EmptySupport("; ".join(across))
            for sentence in cut_otherwise(labelled.scan, lie):
                run.progress.warn(f"{labelled.scan.name}: {sentence}")
            lie.append(placement(labelled.scan))
            index = _indices(labelled, structures)
            looked_for.append(_looked_for(labelled, index))
            if partly_known(labelled):
                partly.append(labelled.scan.name)
            prepared = preparation.apply(labelled.scan)
            labels = index[preparation.apply_labels(labelled.truth.labels, prepared, labelled.known).long()]
            known = preparation.apply_mask(labelled.known, prepared)
            seen = (prepared.voxels, labels.where(known, 0), known)
            stacked = (each.movedim(-1, 0).contiguous() for each in seen)
            for name, part in zip(("image", "labels", "known"), stacked, strict=True):
                parts[name].append(part.to(run.device))
            parts["scan"].append(torch.full((prepared.grid.shape[2],), number, device=run.device))
            spacing.append(prepared.grid.spacing)
            task.advance()
    warn_of_unknown(partly, run.progress)
    together = {name: torch.cat(each) for name, each in parts.items()}
    if not images_alone and not bool((together["labels"] > 0).any()):
        raise EmptySupport(f"none of the {len(base)} scans of the base shows a structure; check its label maps")
    flags = torch.tensor([[k in found for k in range(len(structures))] for found in looked_for])
    return Base(**together, looked_for=flags, structures=tuple(structures), spacing=tuple(spacing))


def _indices(labelled: LabelledScan, structures: list[str]) -> Int[Tensor, " k"]:
    """From the scan's own indices to those of the base, which grows by the names that are new."""
    names = labelled.truth.names.foreground
    structures.extend(name for name in names if name not in structures)
    return torch.tensor([0, *(structures.index(name) for name in names)], dtype=torch.int16)


def _looked_for(labelled: LabelledScan, index: Int[Tensor, " k"]) -> set[int]:
    names = labelled.truth.names.foreground
    looked = set(names) if labelled.annotated is None else labelled.annotated
    return {0, *(int(k) for name, k in zip(names, index[1:], strict=True) if name in looked)}


def partly_known(labelled: LabelledScan) -> bool:
    """Whether some slice is known in part."""
    known = labelled.known
    return known is not None and bool((known.any(dim=0).any(dim=0) & ~known.all(dim=0).all(dim=0)).any())


def warn_of_unknown(scans: Sequence[str], progress: Progress) -> None:
    """Networks that learn from masks know the structure and the rest, nothing in between."""
    if scans:
        progress.warn(f"{listed(scans)}: what is unknown within annotated slices counts as background in examples")


def problems_of_base(task: LowShotTask) -> list[str]:
    """Why a system that learns from other structures cannot learn from a task."""
    return [] if len(task.base) else ["learns from scans annotated for other structures; give them with --base"]


def problems_of_images(task: LowShotTask) -> list[str]:
    """Why a system that looks at images alone cannot learn from a task."""
    if len(task.base) or len(task.unlabelled):
        return []
    return ["learns from scans whose labels it does not look at; give them with --unlabelled, or with --base"]


class Images(Sequence[LabelledScan]):
    """The base, and after it the scans without labels: as scans in which nobody looked for anything."""

    def __init__(self, task: LowShotTask) -> None:
        self._base, self._unlabelled = task.base, task.unlabelled

    def __len__(self) -> int:
        return len(self._base) + len(self._unlabelled)

    @overload
    def __getitem__(self, position: int) -> LabelledScan: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[LabelledScan]: ...
    def __getitem__(self, position: int | slice) -> LabelledScan | Sequence[LabelledScan]:
        if isinstance(position, slice):
            return [self[number] for number in range(*position.indices(len(self)))]
        if position < len(self._base):
            return self._base[position]
        scan = self._unlabelled[position - len(self._base)]
        nothing = Segmentation(torch.zeros(scan.grid.shape, dtype=torch.int16), NOTHING, scan.affine)
        return LabelledScan(scan, nothing, annotated=frozenset())
