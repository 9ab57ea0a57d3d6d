"""Slices of volumes, stretched to one size: what is annotated of them, and the pool that is not."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from lowshot.errors import EmptySupport, SettingsError
from lowshot.imaging.check import refuse_blank
from lowshot.imaging.placement import cut_otherwise, placement
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan, Scan
from lowshot.progress import Progress
from lowshot.task import LowShotTask
from lowshot.transforms.intensity import IntensityRanges, transform_intensity
from lowshot.transforms.levels import Augmentation
from lowshot.transforms.spatial import SpatialRanges, apply_spatial, draw_spatial, pixel_mm
from lowshot.transforms.support import annotated_structures, known_voxels

MOST_PIXELS = 4096**2


def refuse_plane(size: tuple[int, int], multiple: int, least: int = 1) -> None:
    """Look at the setting ``size`` of a network that halves its maps, the smallest of which has a cell or more.

    Args:
        size: in pixels.
        multiple: how many of them are one cell of the smallest map.
        least: how many cells it needs along each side.

    Raises:
        SettingsError: no multiples, too few, or absurdly many pixels.
    """
    if min(size) < least * multiple:
        raise SettingsError(f"size: expected at least {least * multiple} pixels along both sides, got {size}")
    if any(each % multiple for each in size) or math.prod(size) > MOST_PIXELS:
        of = f"multiples of {multiple} and " if multiple > 1 else ""
        raise SettingsError(f"size: expected {of}at most {MOST_PIXELS:,} pixels, got {size}")


class Slices(NamedTuple):
    """A batch of slices, or all there are."""

    image: Float[Tensor, "n c i j"]
    labels: Int[Tensor, "n i j"]
    known: Bool[Tensor, "n i j"]

    def of(self, chosen: Int[Tensor, " m"]) -> "Slices":
        """These ones."""
        return Slices(*(part[chosen.to(part.device)] for part in self))

    def drawn(self, count: int, generator: Generator) -> "Slices":
        """Some of them, each drawn from all."""
        return self.of(torch.randint(len(self.image), (count,), generator=generator))

    def on(self, device: torch.device) -> "Slices":
        """The same on another device."""
        return Slices(*(part.to(device) for part in self))

    def shows_structures(self) -> Bool[Tensor, " n"]:
        """Which of them show any, where that is known."""
        return (self.known & (self.labels > 0)).flatten(1).any(dim=1)


def together(batches: Iterable[Slices]) -> Slices:
    """One batch after the other."""
    image, labels, known = (torch.cat(columns) for columns in zip(*batches, strict=True))
    return Slices(image, labels, known)


def problems_of_slices(support: Sequence[LabelledScan]) -> list[str]:
    """Why what looks at slices along the third axis cannot learn from annotated scans."""
    thin = [labelled.scan for labelled in support if 1 in labelled.scan.grid.shape[:2]]
    if thin:
        return [
            f"{scan.name}: has a single voxel along axis {scan.grid.shape.index(1)}, and slices along axis 2 are what "
            "is looked at; store a slice as i × j × 1"
            for scan in thin
        ]
    axes = {labelled.scan.name: _axis_of_the_only_slice(labelled.known) for labelled in support}
    return [
        f"{name}: the annotated slice lies along axis {axis}, and slices along axis 2, which are what is looked at, "
        "show a line of it each; annotate one along axis 2, or take a method that looks at volumes (mre-net)"
        for name, axis in axes.items()
        if axis != 2
    ]


def _axis_of_the_only_slice(known: Bool[Tensor, "i j k"] | None) -> int:
    """Along which axis the only slice lies of which anything is known, or a few lie that are known throughout; 2 where
    slices along axis 2 may be meant, as where most of each is known.
    """
    if known is None or _in_whole_slices(known, 2):
        return 2
    counts = [int(known.movedim(axis, 0).flatten(1).any(dim=1).sum()) for axis in range(3)]
    few = [axis for axis in (0, 1) if 2 * counts[axis] <= known.shape[axis]]
    across = [axis for axis in few if counts[axis] == 1 or _in_whole_slices(known, axis)]
    return across[0] if across and counts[2] > 1 else 2


def _in_whole_slices(known: Bool[Tensor, "i j k"], axis: int) -> bool:
    """Whether of every slice along an axis all is known, or nothing; and of some all."""
    slices = known.movedim(axis, 0).flatten(1)
    return bool((slices.all(dim=1) | ~slices.any(dim=1)).all()) and bool(slices.any())


def has_pool(task: LowShotTask) -> bool:
    """Whether there are slices without labels: in scans without any, or in those where only others are annotated."""
    if len(task.unlabelled):
        return True
    known = [known_voxels(labelled) for labelled in task.support]
    return not all(each is None or bool(each.flatten(0, 1).any(dim=0).all()) for each in known)


def annotated_and_pool(
    task: LowShotTask, preparation: Preparation, *, needs_pool: bool, allow_missing: bool, progress: Progress
) -> tuple[Slices, list[Float[Tensor, "n c i j"]]]:
    """All annotated slices, and the images of those without labels, one tensor for each scan that has some.

    Args:
        task: the scans.
        preparation: of each.
        needs_pool: whether there must be slices without labels.
        allow_missing: whether to go on where a structure is lost on the way, as it is too small.
        progress: tells of such a structure, and of scans that are cut in another plane.

    Raises:
        EmptySupport: a structure is lost by the preparation, or all are; or no slice without labels where there must
            be one.
        ChannelMismatch: a scan has other channels than the annotated ones.
    """
    annotated = [annotated_slices(each, preparation) for each in task.support]
    slices = together(each for each, _ in annotated)
    stacks = [rest for _, rest in annotated if len(rest)]
    stacks += pool_of(task.unlabelled, preparation, task.channels, task.support, progress)
    names = ", ".join(labelled.scan.name for labelled in task.support)
    if not bool(slices.shows_structures().any()):
        i, j = slices.image.shape[2:]
        raise EmptySupport(
            f"{names}: no annotated structure is left to learn from (crop: {preparation.crop}; {i}×{j} pixels); "
            "check the label map, the ignore value and the crop"
        )
    tell_of_lost(task, [slices.labels[slices.known]], slices.image.shape[2:], progress, allow_missing=allow_missing)
    if needs_pool and not stacks:
        raise EmptySupport(f"{names}: no slice without labels is left (crop: {preparation.crop}); give some scans")
    return slices, stacks


def tell_of_lost(
    task: LowShotTask,
    labels: Iterable[Int[Tensor, " _"]],
    size: Sequence[int],
    progress: Progress,
    *,
    allow_missing: bool = True,
) -> None:
    """A structure that is marked, but not in what is learned from, would be learned as absent everywhere.

    Args:
        task: with the annotated scans.
        labels: what is learned from.
        size: to which slices were stretched, in pixels.
        progress: where to tell of it.
        allow_missing: whether to go on without it.

    Raises:
        EmptySupport: a structure is lost, and may not be.
    """
    left = {k for some in labels for k in torch.unique(some).tolist()}
    marked = annotated_structures(task.support, task.names)
    lost = [name for k, name in enumerate(task.names.names) if name in marked and k not in left]
    if not lost:
        return
    scans, (i, j) = ", ".join(labelled.scan.name for labelled in task.support), size
    told = f"{scans}: {', '.join(lost)} is lost where slices become {i}×{j} pixels, as it is too small, or cropped away"
    if not allow_missing:
        raise EmptySupport(f"{told}; take a larger size (--set size=...), or go on without (--allow-missing)")
    progress.warn(f"{told}: it will never be found")


def annotated_slices(labelled: LabelledScan, preparation: Preparation) -> tuple[Slices, Float[Tensor, "m c i j"]]:
    """The slices of an annotated scan of which anything is known, and the images of the others.

    Raises:
        EmptySupport: nothing is known anywhere.
    """
    prepared = preparation.apply(labelled.scan)
    known = known_voxels(labelled)
    labels = preparation.apply_labels(labelled.truth.labels, prepared, known)
    mask = preparation.apply_mask(known, prepared)
    every = Slices(_stacked(prepared.voxels), labels.movedim(-1, 0), mask.movedim(-1, 0))
    annotated = every.known.flatten(1).any(dim=1)
    if not bool(annotated.any()):
        raise EmptySupport(f"{labelled.scan.name}: nothing of it is annotated; check the ignore value")
    return every.of(annotated.nonzero().flatten()), every.image[~annotated]


def pool_of(
    scans: Sequence[Scan],
    preparation: Preparation,
    channels: tuple[str, ...],
    support: Sequence[LabelledScan],
    progress: Progress,
) -> list[Float[Tensor, "n c i j"]]:
    """The slices of every scan, in their order, one tensor for each scan; told where they lie in another plane.

    Raises:
        ChannelMismatch: a scan has other channels than the annotated ones.
        BadVoxels: a scan shows nothing.
    """
    stacks, shown = [], [placement(labelled.scan) for labelled in support]
    for scan in scans:
        scan.require_channels(channels)
        refuse_blank(scan)
        for sentence in cut_otherwise(scan, shown):
            progress.warn(f"{scan.name}: {sentence}")
        stacks.append(_stacked(preparation.apply(scan).voxels))
    return stacks


def moved(slices: Slices, spatial: SpatialRanges, generator: Generator, *, mirrored_is_known: bool = False) -> Slices:
    """Every slice under its own random transform; what comes from beyond its borders is mirrored, and not known.

    Regions that stand for no organ, as supervoxels, are as good mirrored as not.
    """
    if spatial == SpatialRanges():
        return slices
    return placed(slices, places(slices.image, spatial, generator), mirrored_is_known=mirrored_is_known)


def places(image: Float[Tensor, "n c i j"], spatial: SpatialRanges, generator: Generator) -> Float[Tensor, "n i j 2"]:
    """Where each pixel of each slice comes from under a random transform, as fractional indices."""
    n, _, i, j = image.shape
    step = pixel_mm((i, j))  # whatever the file says: many do not know, and all slices have one size here
    transform = draw_spatial(spatial, n, ((i - 1) * step, (j - 1) * step, 0.0), (step, step, step), generator)
    device = image.device
    middle = torch.tensor([(i - 1) / 2, (j - 1) / 2, 0.0], device=device)
    lines = (torch.arange(i, device=device), torch.arange(j, device=device), torch.arange(1, device=device))
    positions = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).expand(n, -1, -1, -1, -1)
    return (apply_spatial(transform.to(device), (positions - middle) * step) / step + middle)[:, :, :, 0, :2]


def placed(slices: Slices, indices: Float[Tensor, "n x y 2"], *, mirrored_is_known: bool = False) -> Slices:
    """Slices as they are at these places: images linearly, labels the nearest."""
    known_labels = torch.where(slices.known, slices.labels, -1).to(slices.image)[:, None]
    labels = sample_slices(known_labels, indices, "nearest")[:, 0].to(slices.labels.dtype)
    known = labels >= 0
    if not mirrored_is_known:
        known &= inside(indices, slices.image)
    return Slices(sample_slices(slices.image, indices, "bilinear"), labels.clamp_min(0), known)


def inside(indices: Float[Tensor, "n x y 2"], image: Float[Tensor, "n c i j"]) -> Bool[Tensor, "n x y"]:
    """Which places lie within the slices. A mirrored organ is none: a left ventricle has no twin on the right."""
    last = torch.tensor(image.shape[2:], device=indices.device) - 0.5
    return ((indices >= -0.5) & (indices <= last)).all(dim=-1)


def toned(
    image: Float[Tensor, "n c i j"], intensity: IntensityRanges, generator: Generator
) -> Float[Tensor, "n c i j"]:
    """Every slice under its own random change of grey values."""
    return transform_intensity(image[..., None], intensity, generator)[..., 0]


def varied(slices: Slices, augmentation: Augmentation, generator: Generator) -> Slices:
    """Moved and toned."""
    slices = moved(slices, augmentation.spatial, generator)
    return slices._replace(image=toned(slices.image, augmentation.intensity, generator))


def unlabelled(image: Float[Tensor, "n c i j"]) -> Slices:
    """Slices of which nothing is known."""
    labels = torch.zeros(len(image), *image.shape[2:], dtype=torch.int16)
    return Slices(image, labels, torch.zeros_like(labels, dtype=torch.bool))


def sample_slices(
    slices: Float[Tensor, "n c i j"], indices: Float[Tensor, "n x y 2"], mode: str
) -> Float[Tensor, "n c x y"]:
    """Values of each slice at its own fractional indices; beyond its borders it is mirrored."""
    sizes = torch.tensor(slices.shape[2:], device=indices.device)
    grid = (2 * indices / (sizes - 1).clamp_min(1) - 1).flip(-1)  # grid_sample wants (j, i)
    return F.grid_sample(slices, grid.to(slices), mode=mode, padding_mode="reflection", align_corners=True)


def _stacked(voxels: Float[Tensor, "c i j k"]) -> Float[Tensor, "k c i j"]:
    return voxels.movedim(-1, 0).contiguous()
