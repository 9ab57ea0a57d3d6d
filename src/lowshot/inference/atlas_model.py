"""A model that carries annotated scans along, and copies their labels to where a correspondence leads."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowshot.contract import Region, State
from lowshot.errors import EmptySupport, ModelFileError
from lowshot.imaging.grid import Grid
from lowshot.imaging.names import Names
from lowshot.imaging.preparation import MOST_VOXELS, Preparation, Prepared
from lowshot.imaging.scan import LabelledScan
from lowshot.inference.header import Header
from lowshot.nn.geometry import Triple
from lowshot.progress import Progress
from lowshot.registration.affine import Picture
from lowshot.registration.correspondence import Correspondence
from lowshot.registration.labels import shares
from lowshot.registration.likeness import likeness
from lowshot.registration.sampling import moved, voxel_positions
from lowshot.task import LowShotTask
from lowshot.training.allocator import freed_memory_kept
from lowshot.training.run import Run
from lowshot.transforms.support import warn_of_crop

SLAB_VOXELS = 100_000
"""Of the scan, whose labels are copied at a time: few enough for the processor's cache."""
SLAB_BYTES = 290
"""Per voxel of a slab: labels and weights of eight corners, what they are made from, positions, shares (measured)."""

SMALLEST_VOXEL_MM3, FARTHEST_MM = 1e-18, 1e9
"""What a stored affine may say: beyond, it is damaged."""
MOST_UNKNOWN = 0.1
"""Of what is marked in an atlas, unknown or a structure: so much unknown tissue may be carried over as background."""
MOST_LETTERS = 1_000
"""Of an atlas's name."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """An annotated scan as the model sees it."""

    picture: Picture
    labels: Int[Tensor, "i j k"]

    def to(self, device: torch.device) -> "Atlas":
        """The same on another device."""
        return Atlas(self.picture.to(device), self.labels.to(device))


@dataclass(eq=False)
class AtlasModel(ABC):
    """What all methods with atlases share; each brings its own ``correspondence``."""

    names: Names
    channels: tuple[str, ...]
    preparation: Preparation
    atlases: tuple[Atlas, ...]

    @abstractmethod
    def correspondence(self, query: Picture, atlas: Atlas, run: Run, options: Any) -> Correspondence:
        """Where in the atlas each point of the query is found."""

    @abstractmethod
    def correspondence_memory(self, shape: Triple, run: Run, options: Any) -> int:
        """Bytes that ``correspondence`` takes at its peak for a scan of this shape."""

    def correspondences(self, prepared: Prepared, run: Run, options: Any) -> list[Correspondence]:
        """One for each atlas."""
        with torch.no_grad(), freed_memory_kept():
            query = Picture.of(prepared.name, prepared.voxels, prepared.grid).to(run.device)
            found = (self.correspondence(query, atlas.to(run.device), run, options) for atlas in self.atlases)
            return [each.to(torch.device("cpu")) for each in found]

    def likeness(self, prepared: Prepared, found: Sequence[Correspondence]) -> float:
        """Of the atlas that came to look most like the scan."""
        query = Picture.of(prepared.name, prepared.voxels, prepared.grid)
        return max(likeness(query, atlas.picture, each) for atlas, each in zip(self.atlases, found, strict=True))

    def regions(self, prepared: Prepared, run: Run, options: Any) -> Iterator[Region]:
        """The shares that structures have of the atlases' votes: weighted means of interpolated shares, not counts."""
        return self.copied(prepared, self.correspondences(prepared, run, options))

    def copied(self, prepared: Prepared, found: Sequence[Correspondence]) -> Iterator[Region]:
        """Slab by slab and structure by structure."""
        shape = prepared.grid.shape
        thickness = max(1, SLAB_VOXELS // (shape[1] * shape[2]))
        for first in range(0, shape[0], thickness):
            slab = slice(first, min(first + thickness, shape[0]))
            for label, share in self._votes(found, prepared.grid, slab):
                here = (slab, slice(None), slice(None))
                yield Region(here, share[None], slice(label, label + 1), sure=len(found) > 1)

    def working_memory(self, shape: Triple, run: Run, options: Any) -> int:
        """The larger of finding correspondences and copying labels."""
        slab = min(math.prod(shape), max(SLAB_VOXELS, shape[1] * shape[2]))
        copying = (SLAB_BYTES + 32 * len(self.atlases) + 4 * len(self.names)) * slab
        return max(self.correspondence_memory(shape, run, options), copying)

    def _votes(
        self, found: Sequence[Correspondence], grid: Grid, slab: slice
    ) -> Iterator[tuple[int, Float[Tensor, "x y z"]]]:
        with torch.no_grad():
            size = (slab.stop - slab.start, *grid.shape[1:])
            points = moved(voxel_positions(size) + torch.tensor([slab.start, 0.0, 0.0]), grid.affine)
            places = [
                moved(each.to_atlas(points), np.linalg.inv(atlas.picture.grid.affine))
                for each, atlas in zip(found, self.atlases, strict=True)
            ]
            alone = [torch.ones(())]
            weights = alone if len(found) == 1 else _weights(found, self.atlases, points, places)
            votes: dict[int, Tensor] = {}
            for atlas, positions, weight in zip(self.atlases, places, weights, strict=True):
                for label, share in shares(atlas.labels, positions):
                    vote = share * weight
                    votes[label] = votes[label] + vote if label in votes else vote
        yield from ((label, vote.clamp(0, 1)) for label, vote in votes.items())

    def state(self) -> State:
        """Atlases: their pictures, labels and grids; what else a method needs it adds."""
        header = Header(self.names, self.channels, self.preparation).to_json()
        header["atlases"] = [
            {"name": atlas.picture.name, "affine": atlas.picture.grid.affine.tolist()} for atlas in self.atlases
        ]
        tensors: dict[str, Tensor] = {}
        for n, atlas in enumerate(self.atlases):
            tensors |= {f"atlas {n} image": atlas.picture.voxels.cpu(), f"atlas {n} labels": atlas.labels.cpu()}
        return State(header, tensors)


def _weights(
    found: Sequence[Correspondence],
    atlases: Sequence[Atlas],
    points: Float[Tensor, "x y z 3"],
    places: Sequence[Float[Tensor, "x y z 3"]],
) -> list[Float[Tensor, "x y z"]]:
    """Of the atlases' votes, at each point together 1. Beyond an atlas's own field of view nobody looked: where others
    did, it has no vote.
    """
    trusts = torch.stack([each.trust(points) for each in found])
    seen = torch.stack([_within(each, atlas.labels) for each, atlas in zip(places, atlases, strict=True)])
    trusts = torch.where(seen.any(dim=0), trusts * seen, trusts)
    return list(trusts / trusts.sum(dim=0))


def _within(positions: Float[Tensor, "x y z 3"], labels: Int[Tensor, "i j k"]) -> Bool[Tensor, "x y z"]:
    last = torch.tensor(labels.shape, device=positions.device) - 0.5
    return ((positions >= -0.5) & (positions <= last)).all(dim=-1)


def atlas_problems(task: LowShotTask, most: int) -> list[str]:
    """Why the annotated scans of a task cannot be atlases, whose labels are copied as they are."""
    found = []
    if not 1 <= len(task.support) <= most:
        wanted = "one annotated scan" if most == 1 else f"one to {most} annotated scans"
        found.append(f"needs {wanted}, got {len(task.support)}")
    for labelled in task.support:
        looked_for = set(task.names.foreground if labelled.annotated is None else labelled.annotated)
        if _unknown_share(labelled) > MOST_UNKNOWN or not looked_for >= set(task.names.foreground):
            found.append(
                f"{labelled.scan.name} is annotated only in part, and what is not known cannot be copied; mre-net "
                "learns from such scans"
            )
    return found


def _unknown_share(labelled: LabelledScan) -> float:
    """How much of what is marked, unknown or a structure, is unknown."""
    if labelled.known is None:
        return 0.0
    unknown = int((~labelled.known).sum())
    return unknown / max(1, unknown + int((labelled.known & (labelled.truth.labels > 0)).sum()))


def prepare_atlases(support: Sequence[LabelledScan], preparation: Preparation, progress: Progress) -> tuple[Atlas, ...]:
    """The annotated scans on their own prepared grids; what is unknown of them is background, which is told.

    Raises:
        EmptySupport: no structure is annotated in any of them.
    """
    atlases = []
    for labelled in support:
        prepared, unknown = preparation.apply(labelled.scan), _unknown_share(labelled)
        warn_of_crop(labelled, prepared, progress)
        if unknown:
            progress.warn(
                f"{labelled.scan.name}: what is unknown of it, {unknown:.1%} of what is marked, is carried over as "
                "background"
            )
        truth = labelled.truth.labels if labelled.known is None else labelled.truth.labels * labelled.known
        labels = preparation.apply_labels(truth, prepared).to(torch.int16)
        atlases.append(Atlas(Picture.of(prepared.name, prepared.voxels, prepared.grid), labels))
    if not any(bool((atlas.labels > 0).any()) for atlas in atlases):
        names = ", ".join(labelled.scan.name for labelled in support)
        raise EmptySupport(f"{names}: no structure is annotated, so there is nothing to copy; check the label map")
    return tuple(atlases)


def stored_atlases(state: State) -> tuple[Header, tuple[Atlas, ...]]:
    """What ``AtlasModel.state`` kept.

    Raises:
        LowshotError, KeyError: this is no such state.
    """
    header, described = Header.from_json(state.header), state.header["atlases"]
    if not isinstance(described, list) or not described or not all(isinstance(each, dict) for each in described):
        raise ModelFileError("atlases: expected a list of at least one, each with a name and an affine")
    return header, tuple(_atlas(n, each, state.tensors, header) for n, each in enumerate(described))


def _atlas(number: int, described: Mapping[str, Any], tensors: Mapping[str, Tensor], header: Header) -> Atlas:
    image, labels = tensors[f"atlas {number} image"], tensors[f"atlas {number} labels"]
    if (image.dtype, labels.dtype) != (torch.float32, torch.int16):
        raise ModelFileError(f"atlas {number}: expected float32 and int16, got {image.dtype} and {labels.dtype}")
    if image.ndim != 4 or len(image) != len(header.channels) or image.shape[1:] != labels.shape or not image.numel():
        channels = f"an image of {len(header.channels)} channels"
        raise ModelFileError(f"atlas {number}: expected {channels} and labels on one grid, got {image.shape}")
    if not bool(image.isfinite().all()) or not 0 <= int(labels.min()) <= int(labels.max()) < len(header.names):
        raise ModelFileError(f"atlas {number}: values that no image or no label map has")
    name, grid = described["name"], stored_grid({"shape": labels.shape, "affine": described["affine"]})
    if not isinstance(name, str) or len(name) > MOST_LETTERS:
        raise ModelFileError(f"atlas {number}: expected a name of at most {MOST_LETTERS:,} letters")
    return Atlas(Picture.of(name, image, grid), labels)


def stored_grid(described: Mapping[str, Any]) -> Grid:
    """A grid from its shape and affine, as a model's header has them.

    Raises:
        ModelFileError: such a grid cannot be.
    """
    i, j, k = (int(size) for size in described["shape"])
    affine = np.array(described["affine"], dtype=np.float64)
    if min(i, j, k) < 1 or i * j * k > MOST_VOXELS:
        raise ModelFileError(f"grid: expected three positive sizes, {MOST_VOXELS:,} voxels at most, got {(i, j, k)}")
    if affine.shape != (4, 4) or not (abs(affine) <= FARTHEST_MM).all() or affine[3].tolist() != [0, 0, 0, 1]:
        raise ModelFileError("grid: expected a (4, 4) affine from voxels to mm")
    if abs(np.linalg.det(affine)) < SMALLEST_VOXEL_MM3:
        raise ModelFileError("grid: expected an affine that can be inverted, and voxels of some size")
    return Grid((i, j, k), affine)
