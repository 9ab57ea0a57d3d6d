"""Exemplar-guided synthesis (ELNet's ESM): the structures of an annotated slice, varied, on backgrounds from elsewhere.

A structure is cut out (image × mask), toned, moved and pasted; everything is batched, on the slices' own device. One
draw per sample is shared by its structures, so that anatomy stays plausible, and each varies a little on its own.
The paper gives no ranges; all amounts here are ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from lowshot.errors import EmptySupport, SettingsError
from lowshot.transforms.intensity import IntensityRanges
from lowshot.transforms.slices import Slices, toned
from lowshot.transforms.spatial import WIDTH_MM, SpatialRanges, draw_spatial, pixel_mm

SPATIAL = SpatialRanges(rotation_degrees=25.0, scale=0.43, shift_mm=0.1 * WIDTH_MM)
INTENSITY = IntensityRanges(contrast=0.25, brightness=0.2, gamma=0.5, blur_voxels=1.0)  # brightness in deviations
MOST_OWN_TURN = 6.0
"""Degrees by which a structure turns on its own, at most: turned further, it leaves the others' sides."""
MARGIN = 3
"""Pixels that are cut out around the structures: what a blur of them reaches."""


@dataclass(frozen=True)
class Synthesis:
    """What varies, and how far. With all four switches off, structures are pasted as and where they were."""

    exemplar_intensity: bool = True
    exemplar_geometry: bool = True
    background_intensity: bool = True
    background_geometry: bool = True
    black: float = 0.5
    """Share of samples on the lowest value of the exemplar."""
    own: float = 0.0
    """Share of samples on the exemplar's own slice, its structures filled in from around: free of them for certain.
    What is left of the samples is on slices of the pool."""
    spatial: SpatialRanges = SPATIAL
    """About the middle of the exemplar's structures: 0.7 to 1.43 of their size, shifted by a tenth of the slice."""
    intensity: IntensityRanges = INTENSITY
    jitter: float = 0.25
    """Share of the ranges by which each structure varies on its own; its shift is a share of its own extent."""

    def __post_init__(self) -> None:
        if not (self.black >= 0 and self.own >= 0 and self.black + self.own <= 1):
            raise SettingsError(f"black, own: expected shares of at most 1 together, got {self.black} and {self.own}")
        if self.spatial.elastic_mm:
            raise SettingsError("spatial: structures are moved as wholes here; deform the finished slices instead")


def backgrounds_of(stacks: Sequence[Float[Tensor, "_ c i j"]], exemplars: Slices) -> Float[Tensor, "_ c i j"]:
    """Slices to paste structures on: those of the pool that are free of them, and annotated ones that show none.

    Which slices are free is knowledge that the paper has for its training slices. Without it, the first and the last
    slice of every stack of three or more are taken: a guess that holds where a scan reaches beyond its structures (18
    of 20 in abdominal MR), and not where it is planned on them (in the heart's short axis structures are a third
    smaller there, but 19 of 20 slices show some). There may be none at all.

    Args:
        stacks: the slices of each scan of the pool, in their order.
        exemplars: annotated slices.
    """
    empty = exemplars.known.flatten(1).all(dim=1) & ~exemplars.shows_structures()
    ends = [stack[[0, -1]] for stack in stacks if len(stack) > 2]
    return torch.cat([*ends, exemplars.image[empty].to(stacks[0] if stacks else exemplars.image)])


def synthesise(
    exemplars: Slices,
    backgrounds: Float[Tensor, "_ c i j"],
    synthesis: Synthesis,
    count: int,
    generator: Generator,
) -> Slices:
    """Draw ``count`` slices, each from an exemplar that shows a structure; without backgrounds black ones take over.

    What is not known in an exemplar is not pasted, so everything in the result is known.

    Raises:
        EmptySupport: no exemplar shows a structure.
    """
    showing = exemplars.shows_structures().nonzero().flatten()
    if not len(showing):
        raise EmptySupport("none of the annotated slices shows a structure, so there is nothing to cut out")
    shown = exemplars.of(showing[torch.randint(len(showing), (count,), generator=generator)])
    image = _backgrounds(shown, backgrounds, synthesis, generator)
    labels = torch.zeros_like(shown.labels)
    cut = _cut_out(shown)
    if synthesis.exemplar_intensity:
        cut = cut._replace(image=_toned_structures(cut, synthesis, generator))
    for layer in _layers(cut, (labels.shape[1], labels.shape[2]), synthesis, generator):
        _paste(layer, cut, image, labels)
    return Slices(image, labels, torch.ones_like(shown.known))


# Backgrounds


def _backgrounds(
    shown: Slices, backgrounds: Float[Tensor, "_ c i j"], synthesis: Synthesis, generator: Generator
) -> Float[Tensor, "b c i j"]:
    image = shown.image.amin((2, 3), keepdim=True).expand_as(shown.image).clone()
    kind = torch.rand(len(image), generator=generator)
    own = ((kind >= synthesis.black) & (kind < synthesis.black + synthesis.own)).nonzero().flatten()
    pool = (kind >= synthesis.black + synthesis.own).nonzero().flatten()[: None if len(backgrounds) else 0]
    picked = torch.randint(max(1, len(backgrounds)), (len(pool),), generator=generator)
    laid = torch.cat([emptied(shown.of(own)), backgrounds[picked.to(backgrounds.device)].to(image)])
    if len(laid) and synthesis.background_geometry:
        laid = _moved(laid, synthesis.spatial, generator)
    if len(laid) and synthesis.background_intensity:
        laid = toned(laid, synthesis.intensity, generator)
    image[torch.cat([own, pool]).to(image.device)] = laid
    return image


def _moved(slices: Float[Tensor, "n c i j"], spatial: SpatialRanges, generator: Generator) -> Float[Tensor, "n c i j"]:
    """Each about its middle; what comes from beyond its borders is mirrored."""
    n, size = len(slices), (slices.shape[2], slices.shape[3])
    last = torch.tensor(size).float() - 1
    affine = _Affine.about(last / 2, *_drawn(spatial, (n,), size, generator))
    windows = _Windows.over(torch.zeros(n, 2), last.expand(n, 2), size, slices.device)
    return _sampled(slices, affine, windows, "reflection")


def emptied(slices: Slices) -> Float[Tensor, "n c i j"]:
    """The slices, with their structures and what is not known filled in smoothly from around."""
    outside = (slices.known & (slices.labels == 0))[:, None].to(slices.image)
    return _filled(slices.image * outside, outside)


def _filled(sums: Float[Tensor, "n c i j"], weights: Float[Tensor, "n 1 i j"]) -> Float[Tensor, "n c i j"]:
    """Where the weights leave something open, the means of ever larger squares."""
    if max(sums.shape[2:]) == 1:
        return sums / weights.clamp_min(1e-6)
    coarse = _filled(*(F.avg_pool2d(each, 2, ceil_mode=True) for each in (sums, weights)))
    return sums + (1 - weights) * F.interpolate(coarse, size=sums.shape[2:], mode="bilinear")


# Structures


class _Boxes(NamedTuple):
    """Around each class of each sample; pixels of the slice, both ends included. On the CPU."""

    low: Float[Tensor, "b k 2"]
    high: Float[Tensor, "b k 2"]
    present: Bool[Tensor, "b k"]

    @classmethod
    def of(cls, labels: Int[Tensor, "b i j"]) -> "_Boxes":
        classes = torch.arange(1, int(labels.max()) + 1, device=labels.device, dtype=labels.dtype)
        hits = labels[:, None] == classes[:, None, None]
        low, high = [], []
        for line in (hits.any(dim=3).cpu(), hits.any(dim=2).cpu()):
            positions = torch.arange(float(line.shape[2]))
            low.append(positions.where(line, float("inf")).amin(2))
            high.append(positions.where(line, -float("inf")).amax(2))
        present = low[0].isfinite()
        first, last = (torch.stack(ends, dim=2).where(present[..., None], 0) for ends in (low, high))
        return cls(first, last, present)

    def around_all(self) -> tuple[Float[Tensor, "b 2"], Float[Tensor, "b 2"]]:
        present, beyond = self.present[..., None], float("inf")
        return self.low.where(present, beyond).amin(1), self.high.where(present, -beyond).amax(1)


class _Cut(NamedTuple):
    """Windows around the structures of each sample, all of one size."""

    image: Float[Tensor, "b c h w"]
    labels: Int[Tensor, "b h w"]
    """0 where there is no structure, or where it is not known."""
    corner: Int[Tensor, "b 2"]
    """Of the window in its slice; on the CPU, as the boxes are."""
    boxes: _Boxes


class _Windows(NamedTuple):
    """Where windows of one size lie in a batch of slices, as indices that broadcast to (b, h, w)."""

    sample: Int[Tensor, "b 1 1"]
    row: Int[Tensor, "b h 1"]
    column: Int[Tensor, "b 1 w"]

    @classmethod
    def over(
        cls, low: Float[Tensor, "b 2"], high: Float[Tensor, "b 2"], size: tuple[int, int], device: torch.device
    ) -> "_Windows":
        """The smallest that hold everything from low to high, pushed inside the slice; what lies outside is lost."""
        most = torch.tensor(size)
        extent = torch.minimum((high.ceil() - low.floor()).amax(0).long() + 1, most)
        corner = torch.minimum(low.floor().long().clamp_min(0), most - extent).to(device)
        rows, columns = (corner[:, axis, None] + torch.arange(int(extent[axis]), device=device) for axis in range(2))
        return cls(torch.arange(len(corner), device=device)[:, None, None], rows[:, :, None], columns[:, None])


def _cut_out(shown: Slices) -> _Cut:
    labels = torch.where(shown.known, shown.labels, 0)
    boxes = _Boxes.of(labels)
    low, high = boxes.around_all()
    windows = _Windows.over(low - MARGIN, high + MARGIN, (labels.shape[1], labels.shape[2]), labels.device)
    image = shown.image.movedim(1, -1)[windows].movedim(-1, 1)
    corner = torch.cat([windows.row[:, :1, 0], windows.column[:, 0, :1]], dim=1).cpu()
    return _Cut(image, labels[windows], corner, boxes)


def _toned_structures(cut: _Cut, synthesis: Synthesis, generator: Generator) -> Float[Tensor, "b c h w"]:
    """One draw for all that was cut out, then one of its own for each structure, within its own range of values."""
    image = toned(cut.image, synthesis.intensity, generator)
    own = _own_intensity(synthesis.intensity, synthesis.jitter)
    if not (own.contrast or own.brightness or own.gamma):
        return image
    for k in range(1, cut.boxes.present.shape[1] + 1):
        mask = (cut.labels == k)[:, None]
        mean = (image * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp_min(1)
        image = torch.where(mask, toned(torch.where(mask, image, mean), own, generator), image)
    return image


def _own_intensity(ranges: IntensityRanges, share: float) -> IntensityRanges:
    """No bias, noise or blur: those are of the whole picture."""
    scaled = {name: getattr(ranges, name) * share for name in ("contrast", "brightness", "gamma")}
    return replace(ranges, **scaled, bias=0.0, noise=0.0, blur_voxels=0.0)


def _own_spatial(ranges: SpatialRanges, share: float) -> SpatialRanges:
    scaled = {name: getattr(ranges, name) * share for name in ("rotation_degrees", "scale", "stretch", "shear")}
    turn = min(MOST_OWN_TURN, scaled.pop("rotation_degrees"))
    return replace(ranges, **scaled, rotation_degrees=turn, shift_mm=ranges.shift_mm * share)


class _Affine(NamedTuple):
    """From a pixel of the result to where it was in its source: matrix @ pixel + offset."""

    matrix: Float[Tensor, "*n 2 2"]
    offset: Float[Tensor, "*n 2"]

    @classmethod
    def about(
        cls, middle: Float[Tensor, "*#n 2"], matrix: Float[Tensor, "*n 2 2"], shift: Float[Tensor, "*n 2"]
    ) -> "_Affine":
        return cls(matrix, middle + shift - (matrix @ middle[..., None])[..., 0])

    def after(self, first: "_Affine") -> "_Affine":
        return _Affine(self.matrix @ first.matrix, self(first.offset))

    def __call__(self, points: Float[Tensor, "*#n 2"]) -> Float[Tensor, "*n 2"]:
        return (self.matrix @ points[..., None])[..., 0] + self.offset

    def inverse(self) -> "_Affine":
        matrix = torch.linalg.inv(self.matrix)
        return _Affine(matrix, -(matrix @ self.offset[..., None])[..., 0])


def _drawn(
    ranges: SpatialRanges, shape: tuple[int, ...], size: tuple[int, int], generator: Generator
) -> tuple[Float[Tensor, "*n 2 2"], Float[Tensor, "*n 2"]]:
    """Matrices, and shifts in pixels of a slice of this size."""
    step = pixel_mm(size)
    extent_mm = ((size[0] - 1) * step, (size[1] - 1) * step, 0.0)
    drawn = draw_spatial(ranges, math.prod(shape), extent_mm, (step, step, step), generator)
    return drawn.matrix[:, :2, :2].reshape(*shape, 2, 2), drawn.shift_mm[:, :2].reshape(*shape, 2) / step


class _Layer(NamedTuple):
    """One structure of each sample."""

    label: Int[Tensor, " b"]
    affine: _Affine
    low: Float[Tensor, "b 2"]
    high: Float[Tensor, "b 2"]
    """Corners of its box in the exemplar."""


def _layers(cut: _Cut, size: tuple[int, int], synthesis: Synthesis, generator: Generator) -> list[_Layer]:
    """What is pasted, the lowest first.

    The structure with the larger box lies lower: a small organ is not lost, and what lies inside another one (the blood
    in the heart's muscle) is not covered by it, however thick the other one is. Where structures move on their own,
    all of them are pasted first without that, or gaps would open between those that touch.
    """
    low, high, present = cut.boxes
    each, extent = present.shape, high - low + 1
    ranges = synthesis.spatial if synthesis.exemplar_geometry else SpatialRanges()
    first, last = cut.boxes.around_all()
    together = _Affine.about((first + last)[:, None] / 2, *_drawn(ranges, (each[0], 1), size, generator))
    affines = [_Affine(together.matrix.expand(*each, 2, 2), together.offset.expand(*each, 2))]
    own = _own_spatial(ranges, synthesis.jitter)
    if own != SpatialRanges():
        matrix, shift = _drawn(own, each, size, generator)
        affines.append(_Affine.about((low + high) / 2, matrix, shift / max(size) * extent).after(together))
    order = (extent.prod(2) * present).argsort(dim=1, descending=True, stable=True)
    samples = torch.arange(each[0])
    return [
        _Layer(k + 1, _Affine(affine.matrix[samples, k], affine.offset[samples, k]), low[samples, k], high[samples, k])
        for affine in affines
        for k in order.T[: int(present.sum(1).max())]
    ]


def _paste(layer: _Layer, cut: _Cut, image: Float[Tensor, "b c i j"], labels: Int[Tensor, "b i j"]) -> None:
    """Lay one structure on each slice, in place.

    It is sampled bilinearly, and divided by how much of it is there, so that its border shows nothing that lay beside
    it in the exemplar. A pixel is its own when at least half of it is there.
    """
    back = layer.affine.inverse()
    middle = back((layer.low + layer.high) / 2)
    half = (back.matrix.abs() @ (layer.high - layer.low + 1)[..., None])[..., 0] / 2
    windows = _Windows.over(middle - half, middle + half, (labels.shape[1], labels.shape[2]), labels.device)
    label = layer.label.to(labels)[:, None, None]
    mask = (cut.labels == label)[:, None].to(image)
    affine = _Affine(layer.affine.matrix, layer.affine.offset - cut.corner)
    found = _sampled(torch.cat([cut.image * mask, mask], dim=1), affine, windows, "zeros")
    part = found[:, -1:]
    here = part >= 0.499  # at a tie of two structures the upper one is seen, and no gap between them
    pixels = image.movedim(1, -1)
    values = torch.where(here, found[:, :-1] / part.clamp_min(0.1), pixels[windows].movedim(-1, 1))
    pixels[windows] = values.movedim(1, -1)
    labels[windows] = torch.where(here[:, 0], label, labels[windows])


def _sampled(
    source: Float[Tensor, "b c h w"], affine: _Affine, windows: _Windows, beyond: str
) -> Float[Tensor, "b c x y"]:
    """What windows of the result show of their sources."""
    matrix, offset = (part.to(source)[..., None, None] for part in affine)
    down, across = (
        (matrix[:, axis, 0] * windows.row + (matrix[:, axis, 1] * windows.column + offset[:, axis]))
        * (2 / max(1, source.shape[2 + axis] - 1))
        for axis in range(2)
    )
    grid = torch.stack([across - 1, down - 1], dim=-1)
    return F.grid_sample(source, grid, padding_mode=beyond, align_corners=True)
