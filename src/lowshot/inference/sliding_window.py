"""Tiles: predicted from a larger patch around them, so that no voxel is judged from the edge of a patch."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowshot.contract import Region
from lowshot.nn.geometry import Triple
from lowshot.training.run import Run


class Tile(NamedTuple):
    """Where a tile lies."""

    corner: Triple
    """First voxel of its patch; may lie outside of the volume, by up to the margin."""
    slices: tuple[slice, slice, slice]
    """What it predicts, on the volume."""


def tiles(shape: Triple, patch: Triple, margin: Triple) -> list[Tile]:
    """Tiles of ``patch − 2·margin`` voxels that cover a volume once, the last ones cut at its faces.

    Example along one axis: a volume of 100, a patch of 36 and a margin of 4 give tiles of 28 voxels that
    start at 0, 28, 56 and 84 (the last one 16 long), from patches that start at −4, 24, 52 and 80.
    """
    inner = [size - 2 * edge for size, edge in zip(patch, margin, strict=True)]
    if min(inner) < 1:
        raise ValueError(f"patch {patch} has nothing left inside a margin of {margin}")
    starts = product(*[range(0, size, step) for size, step in zip(shape, inner, strict=True)])
    return [_tile(start, shape, inner, margin) for start in starts]


def _tile(start: Sequence[int], shape: Triple, inner: Sequence[int], margin: Triple) -> Tile:
    i, j, k = (first - edge for first, edge in zip(start, margin, strict=True))
    a, b, c = (slice(first, min(first + step, size)) for first, step, size in zip(start, inner, shape, strict=True))
    return Tile((i, j, k), (a, b, c))


def mirrored(corner: int, length: int, size: int) -> Tensor:
    """Indices ``corner .. corner + length − 1`` into an axis of ``size``, mirrored at its ends (… 2 1 0 1 2 …)."""
    period = max(1, 2 * (size - 1))
    indices = torch.arange(corner, corner + length).remainder(period)
    return torch.where(indices >= size, period - indices, indices)


def axis_coordinates(corner: int, length: int, size: int) -> Tensor:
    """Coordinates of ``length`` voxels from ``corner`` on: −1 at the first voxel of the axis, 1 at its last."""
    middle = (size - 1) / 2
    return (torch.arange(corner, corner + length) - middle) / max(middle, 0.5)


def cut(
    volume: Float[Tensor, "c x y z"], corner: Triple, patch: Triple
) -> tuple[Float[Tensor, "c i j k"], Float[Tensor, "3 i j k"]]:
    """A patch and its coordinates; beyond the faces the image is mirrored and the coordinates go on."""
    shape = volume.shape[1:]
    lines = list(zip(corner, patch, shape, strict=True))
    image = volume
    for axis, line in enumerate(lines, start=1):
        image = image.index_select(axis, mirrored(*line).to(volume.device))
    coordinates = torch.meshgrid(*[axis_coordinates(*line) for line in lines], indexing="ij")
    return image, torch.stack(coordinates).to(volume)


def predict_tiles(
    network: nn.Module,
    volume: Float[Tensor, "c x y z"],
    *,
    patch: Triple,
    margin: Triple,
    batch: int,
    run: Run,
    judge: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Region]:
    """Class probabilities tile by tile; ``network`` maps (image, coordinates) to logits.

    ``judge`` makes of logits the probabilities by which the result is judged, where they are others.
    """
    x, y, z = volume.shape[1:]
    for tile, maps in through_tiles(
        network, volume, tiles((x, y, z), patch, margin), patch=patch, batch=batch, run=run
    ):
        logits = maps[(slice(None), *inside_of(tile, margin))].float()
        judged = None if judge is None else judge(logits).cpu()
        yield Region(tile.slices, logits.softmax(dim=0).cpu(), judged=judged)


def inside_of(tile: Tile, margin: Triple) -> tuple[slice, ...]:
    """Of a tile's patch the part that it predicts."""
    return tuple(slice(edge, edge + part.stop - part.start) for edge, part in zip(margin, tile.slices, strict=True))


def through_tiles(
    network: Callable[[Tensor, Tensor], Tensor],
    volume: Float[Tensor, "c x y z"],
    todo: Sequence[Tile],
    *,
    patch: Triple,
    batch: int,
    run: Run,
) -> Iterator[tuple[Tile, Float[Tensor, "w i j k"]]]:
    """Each tile, and what ``network`` makes of image and coordinates of its patch, margins included."""
    for first in range(0, len(todo), batch):
        some = todo[first : first + batch]
        images, coordinates = zip(*[cut(volume, tile.corner, patch) for tile in some], strict=True)
        with torch.inference_mode(), run.autocast():
            maps = network(run.tensor(torch.stack(images)), run.tensor(torch.stack(coordinates)))
        yield from zip(some, maps, strict=True)
