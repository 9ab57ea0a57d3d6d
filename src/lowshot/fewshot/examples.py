"""Annotated slices as examples: those of one scan, and which of them go with which slices of another scan."""

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowshot.fewshot.laying import lay, moved_in_plane, places
from lowshot.fewshot.pairing import (
    LEAST_PIXELS,
    SLICE_PIXELS,
    PairingOptions,
    Pairs,
    pair_chunks,
    pair_whole,
    signatures,
)
from lowshot.imaging.grid import Affine, Grid
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import LabelledScan
from lowshot.nn.geometry import Triple
from lowshot.registration.affine import Picture


@dataclass(frozen=True, eq=False)
class Examples:
    """The slices of one annotated scan, as the network sees them."""

    image: Float[Tensor, "n c i j"]
    labels: Int[Tensor, "n i j"]
    known: Bool[Tensor, "n i j"]
    looked_for: Bool[Tensor, " k"]
    affine: Float[Tensor, "4 4"]
    """From prepared voxels (i, j, n) to world mm, float64."""

    @classmethod
    def of(cls, labelled: LabelledScan, preparation: Preparation) -> "Examples":
        """Every slice, also those of which nothing is known: they tell where in the body the others are."""
        prepared = preparation.apply(labelled.scan)
        labels = preparation.apply_labels(labelled.truth.labels, prepared, labelled.known)
        known = preparation.apply_mask(labelled.known, prepared)
        names, annotated = labelled.truth.names.foreground, labelled.annotated
        return cls(
            image=slices_of(prepared.voxels),
            labels=labels.where(known, 0).movedim(-1, 0).contiguous(),
            known=known.movedim(-1, 0).contiguous(),
            looked_for=torch.tensor([True, *(annotated is None or name in annotated for name in names)]),
            affine=torch.from_numpy(prepared.grid.affine.copy()),
        )

    @property
    def shape(self) -> Triple:
        """Of the scan as prepared."""
        count, _, i, j = self.image.shape
        return i, j, count

    @property
    def picture(self) -> Picture:
        """As it is laid upon other scans."""
        return Picture.of("the annotated scan", self.image.movedim(0, -1), Grid(self.shape, self.affine.numpy()))

    def masks(self, k: int) -> Float[Tensor, "n i j"]:
        """Where structure k is marked."""
        return (self.labels == k).float()

    def shown(self, k: int) -> Bool[Tensor, " n"]:
        """Which slices show it; of a structure that is small everywhere, those with any pixel of it."""
        pixels = self.masks(k).flatten(1).sum(dim=1)
        enough = pixels > LEAST_PIXELS * math.prod(self.image.shape[2:]) / SLICE_PIXELS
        return enough if bool(enough.any()) else pixels > 0

    def lacking(self, k: int) -> Bool[Tensor, " n"]:
        """Which slices are known not to show it."""
        nothing = ~(self.masks(k) > 0).flatten(1).any(dim=1)
        return nothing & self.known.flatten(1).all(dim=1) & self.looked_for[k]


class Shots(NamedTuple):
    """Examples for n slices, or a single set for all."""

    images: Float[Tensor, "n k c i j"]
    masks: Float[Tensor, "n k i j"]


@dataclass(frozen=True, eq=False)
class Paired:
    """One annotated scan, and which of its slices are examples for which slices of another scan."""

    examples: Examples
    pairs: dict[int, Pairs]
    """By structure; a structure that this scan does not show has no entry."""
    matrix: Affine | None
    """From voxels of the other scan to this one's, where examples are moved to lie as it does."""

    @classmethod
    def of(
        cls,
        examples: Examples,
        structures: Iterable[int],
        image: Float[Tensor, "m c i j"],
        grid: Grid,
        options: PairingOptions,
    ) -> "Paired":
        """Look at the other scan as a whole."""
        alike = signatures(image) @ signatures(examples.image).mT
        shown = {k: examples.shown(k) for k in structures}
        shown = {k: each for k, each in shown.items() if bool(each.any())}
        if options.pairing == "chunks":
            turned = float(examples.affine[:3, 2] @ torch.from_numpy(grid.affine[:3, 2].copy())) < 0
            pairs = {k: pair_chunks(each, alike, options, reversed_=turned) for k, each in shown.items()}
            return cls(examples, pairs, None)
        matrix = lay(Picture.of("the scan", image.movedim(0, -1), grid), examples.picture)
        laid = None if matrix is None else places(matrix, grid)
        pairs = {k: pair_whole(each, examples.lacking(k), alike, laid, options) for k, each in shown.items()}
        return cls(examples, pairs, matrix if options.laid else None)

    def chosen(self, k: int, place: int) -> tuple[int, ...]:
        """The slices that are the examples of structure k there."""
        pair = self.pairs[k][place] if k in self.pairs else None
        return () if pair is None else tuple(pair.tolist())

    def shots(self, k: int, here: Int[Tensor, " m"]) -> Shots:
        """For slices that have equally many."""
        chosen = torch.tensor([self.chosen(k, place) for place in here.tolist()])
        image, masks = self.examples.image[chosen], (self.examples.labels[chosen] == k).float()
        if self.matrix is None:
            return Shots(image, masks)
        both = torch.cat([image, masks[:, :, None]], dim=2).flatten(0, 1)
        moved = moved_in_plane(both, self.matrix, here.repeat_interleave(chosen.shape[1]))
        moved = torch.unflatten(moved, 0, tuple(chosen.shape))
        return Shots(moved[:, :, :-1], moved[:, :, -1])


def shots(paired: Sequence[Paired], k: int, here: Int[Tensor, " m"]) -> Shots:
    """The examples from all annotated scans; a single set where the slices share it."""
    shared = all(each.matrix is None for each in paired)
    parts = [each.shots(k, here[:1] if shared else here) for each in paired if each.chosen(k, int(here[0]))]
    return Shots(*(torch.cat(columns, dim=1) for columns in zip(*parts, strict=True)))


def together(paired: Sequence[Paired], k: int, places: Int[Tensor, " m"]) -> Iterator[Int[Tensor, " l"]]:
    """Slices that can go through the network together, as indices into ``places``.

    They have the same examples, or where these are moved for each slice, equally many. Slices without any are left out.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, place in enumerate(places.tolist()):
        chosen = tuple(each.chosen(k, place) for each in paired)
        key = tuple(slices if each.matrix is None else len(slices) for each, slices in zip(paired, chosen, strict=True))
        if any(chosen):
            groups.setdefault(key, []).append(index)
    return (torch.tensor(each) for each in groups.values())


def slices_of(voxels: Float[Tensor, "c i j k"]) -> Float[Tensor, "k c i j"]:
    """A volume as a batch of slices along its third axis."""
    return voxels.movedim(-1, 0).contiguous()
