"""Pseudo-labels: regions of alike grey values play the part of structures, so that images alone are learned from.

SSL-ALPNet (Ouyang et al., ECCV 2020) draws a superpixel, and the slice that shows it is support and query at once,
under different transforms. ADNet (Hansen et al., Medical Image Analysis 2022) draws a supervoxel and two adjacent
slices. Slices of which nothing is known are not looked at: a benchmark hides those that show what it asks for.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from lowshot.errors import EmptySupport
from lowshot.fewshot.base_slices import Base
from lowshot.fewshot.episodes import Episode
from lowshot.training.run import Run
from lowshot.transforms.intensity import IntensityRanges
from lowshot.transforms.levels import Augmentation, Level, augmentation_of
from lowshot.transforms.slices import Slices, moved, toned
from lowshot.transforms.spatial import SpatialRanges
from lowshot.transforms.superpixels import SIZE, superpixels, supervoxels

Amount = Level | Literal["published"]
Copies = Literal["query", "both", "either"]

PUBLISHED = Augmentation(
    SpatialRanges(
        rotation_degrees=5.0,
        scale=0.15,  # 0.9 to 1.2 in their code
        shear=0.087,  # 5°
        shift_mm=3.9,  # 5 pixels of 256
        elastic_mm=0.25,  # white noise of ±10 pixels, blurred by 5
        elastic_spacing_mm=8.0,
    ),
    IntensityRanges(gamma=0.5),
)
"""What SSL-ALPNet's and ADNet's public code do to a slice, in our units."""


def amount_of(level: Amount, intensity: str) -> Augmentation:
    """The augmentation of that name, for grey values of that kind."""
    return PUBLISHED if level == "published" else augmentation_of(level, intensity)


class Pair(NamedTuple):
    """One task on pseudo-labels."""

    support: int
    query: int
    region: int


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Regions of the slices of a base, and the tasks that can be made of them."""

    image: Float[Tensor, "n c i j"]
    regions: Int[Tensor, "n i j"]
    """Every region has its own number in all of the base; 0 is none."""
    pairs: Int[Tensor, "tasks 4"]
    """Support slice, query slice, region, and the place (slice or scan) that is drawn before the region. On the CPU, in
    the order of places."""

    def draw(self, generator: Generator, among: Bool[Tensor, " n"] | None = None) -> Pair:
        """A place, then one of its regions, then a pair of slices that show it, each drawn uniformly.

        Args:
            generator: on the CPU.
            among: which slices may be the query, of which one can be; None: all.
        """
        rows = self.pairs if among is None else self.pairs[among[self.pairs[:, 1]]]
        for column, different in ((3, torch.unique_consecutive), (2, torch.unique)):  # all rows need no sorting
            values = different(rows[:, column])
            chosen = values[torch.randint(len(values), (), generator=generator)]
            rows = rows[rows[:, column] == chosen]
        support, query, region, _ = rows[torch.randint(len(rows), (), generator=generator)].tolist()
        return Pair(support, query, region)


@dataclass(frozen=True)
class PseudoSampling:
    """How tasks are drawn from pseudo-labels."""

    tasks: int = 1
    augmentation: Augmentation = PUBLISHED
    copies: Copies = "query"
    """What is transformed: the query (SSL-ALPNet's paper), both (its code), or either, by chance and independently in
    space and in intensity (ADNet's code)."""


def superpixel_labels(base: Base, least: int, run: Run) -> PseudoLabels:
    """Superpixels of every slice; a task has one slice as support and as query.

    Args:
        base: its images alone are looked at.
        least: pixels of a region, where slices have 256×256.
        run: keeps the regions as a stage, since finding them takes longer than many steps.
    """

    def find() -> Tensor:
        usable, found = _usable(base), []
        with run.progress.task("finding superpixels", total=len(usable)) as task:
            for number in usable:
                found.append((number[None], superpixels(base.image[number].cpu(), least)[None]))
                task.advance()
        return _numbered(base, found)

    regions = run.stage("superpixels", {"least": least}, find)
    shown = _shown(regions, 1)
    rows = [(s, s, region, s) for s, region in shown.tolist()]
    return _pseudo_labels(base, regions, rows)


def has_neighbours(base: Base) -> bool:
    """Whether slices that may be looked at follow each other in some scan, as tasks about supervoxels need."""
    return any(len(stretch) > 1 for stretch in _stretches(base))


def supervoxel_labels(base: Base, least: int, least_pixels: int, run: Run) -> PseudoLabels:
    """Supervoxels of every scan; a task has two adjacent slices that show one.

    Args:
        base: its images alone are looked at, where there are adjacent slices.
        least: voxels of a region, where slices have 256×256.
        least_pixels: of a region in a slice that shows it, likewise.
        run: keeps the regions as a stage.
    """

    def find() -> Tensor:
        found = []
        stretches = list(_stretches(base))
        with run.progress.task("finding supervoxels", total=len(stretches)) as task:
            for stretch in stretches:
                spacing = base.spacing[int(base.scan[stretch[0]])]
                volume = base.image[stretch].movedim(0, -1).cpu()
                found.append((stretch, supervoxels(volume, spacing, least).movedim(-1, 0)))
                task.advance()
        return _numbered(base, found)

    regions = run.stage("supervoxels", {"least": least}, find)
    shown: dict[int, set[int]] = {}
    scaled = max(1, round(least_pixels * math.prod(base.image.shape[2:]) / SIZE**2))
    for number, region in _shown(regions, scaled).tolist():
        shown.setdefault(number, set()).add(region)
    rows = []
    for below, above in (pair for stretch in _stretches(base) for pair in pairwise(stretch.tolist())):
        for region in sorted(shown.get(below, set()) & shown.get(above, set())):
            rows += [(*pair, region, int(base.scan[below])) for pair in ((below, above), (above, below))]
    return _pseudo_labels(base, regions, rows)


def draw_regions(labels: PseudoLabels, sampling: PseudoSampling, run: Run, step: int, generator: Generator) -> Episode:
    """One task for each of some regions, with one support slice: a batch as a function of the step."""
    pairs = [labels.draw(generator) for _ in range(sampling.tasks)]
    device = labels.image.device
    support, query, region = (torch.tensor(column, device=device) for column in zip(*pairs, strict=True))
    chosen = torch.cat([support, query])
    inside = (labels.regions[chosen] == region.repeat(2)[:, None, None]).to(torch.int16)
    slices = Slices(labels.image[chosen], inside, torch.ones_like(inside, dtype=torch.bool))
    image, inside, known = _transformed(slices, sampling.augmentation, sampling.copies, generator)
    count = len(pairs)
    return Episode(
        support=image[:count, None],
        masks=inside[:count, None].float(),
        query=run.tensor(image[count:]),
        truth=inside[count:].float(),
        known=known[count:],
        structure=region,
        slices=query,
        pair=torch.arange(count, device=device),
    )


def _transformed(slices: Slices, augmentation: Augmentation, copies: Copies, generator: Generator) -> Slices:
    """Supports, then as many queries, some of which are transformed."""
    in_space, in_tone = (_chosen(copies, len(slices.image) // 2, generator).to(slices.image.device) for _ in range(2))
    elsewhere = moved(slices, augmentation.spatial, generator, mirrored_is_known=True)
    slices = Slices(*(_select(in_space, new, old) for new, old in zip(elsewhere, slices, strict=True)))
    return slices._replace(image=_select(in_tone, toned(slices.image, augmentation.intensity, generator), slices.image))


def _chosen(copies: Copies, tasks: int, generator: Generator) -> Bool[Tensor, " n"]:
    """Which of the supports and queries are transformed."""
    if copies == "both":
        return torch.ones(2 * tasks, dtype=torch.bool)
    query = torch.ones(tasks, dtype=torch.bool)
    if copies == "either":
        query = torch.rand(tasks, generator=generator) < 0.5
    return torch.cat([~query, query])


def _select(where: Bool[Tensor, " n"], new: Tensor, old: Tensor) -> Tensor:
    return torch.where(where.view(-1, *[1] * (new.ndim - 1)), new, old)


def _usable(base: Base) -> Int[Tensor, " m"]:
    return base.known.flatten(1).any(dim=1).nonzero().flatten()


def _stretches(base: Base) -> Iterator[Int[Tensor, " m"]]:
    """Slices that may be looked at and follow each other in one scan, as long as that goes on."""
    usable = _usable(base)
    scan = base.scan[usable]
    ends = (((usable[1:] - usable[:-1]) != 1) | (scan[1:] != scan[:-1])).nonzero().flatten() + 1
    return (stretch for stretch in usable.tensor_split(ends.cpu()) if len(stretch))


def _numbered(base: Base, found: Sequence[tuple[Tensor, Tensor]]) -> Int[Tensor, "n i j"]:
    """Regions of some slices after those of others, without a number twice."""
    regions = torch.zeros_like(base.labels, dtype=torch.int32, device="cpu")
    last = 0
    for slices, own in found:
        regions[slices.cpu()] = torch.where(own > 0, own + last, 0).to(torch.int32)
        last += int(own.max())
    return regions


def _shown(regions: Int[Tensor, "n i j"], least_pixels: int) -> Int[Tensor, "rows 2"]:
    """Slice and region, for every region that a slice shows."""
    rows = [torch.empty(0, 2, dtype=torch.int64)]
    for number, plane in enumerate(regions):
        values, counts = torch.unique(plane, return_counts=True)
        values = values[(counts >= least_pixels) & (values > 0)].long()
        rows.append(torch.stack([torch.full_like(values, number), values], dim=1))
    return torch.cat(rows)


def _pseudo_labels(base: Base, regions: Int[Tensor, "n i j"], rows: list[tuple[int, int, int, int]]) -> PseudoLabels:
    if not rows:
        raise EmptySupport(
            f"no region of alike grey values was found in the {len(_usable(base))} slices of the base that may be "
            "looked at; they are smaller than the least region, hold nothing, or no two of them follow each other"
        )
    return PseudoLabels(base.image, regions.to(base.image.device), torch.tensor(rows))
