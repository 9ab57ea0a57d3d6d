"""How one voxel grid lies on another when nothing is rotated: axes permuted, flipped, and scaled one by one."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from lowshot.imaging.grid import Affine

Mode = Literal["linear", "nearest"]
Box = tuple[slice, slice, slice]

SLACK = 0.01
"""Hundredths of a voxel do not matter: below this, positions count as whole and edges as inside."""
ROWS_AT_ONCE = 16
"""Planes that are summed together in float64, which takes twice the memory."""


class Line(NamedTuple):
    """The positions ``start + step·n``, n in 0..size-1, along one axis of a volume."""

    start: float
    step: float
    size: int

    @property
    def is_whole(self) -> bool:
        """Whether these are neighbouring voxels, up to ``SLACK`` over the whole line."""
        return abs(abs(self.step) - 1) * self.size <= SLACK and abs(self.start - round(self.start)) <= SLACK

    @property
    def positions(self) -> Tensor:
        return self.start + self.step * torch.arange(self.size, dtype=torch.float64)


@dataclass(frozen=True)
class AxisMap:
    """Where each voxel of a prepared grid lies on the scan's own grid.

    Prepared index n along axis a lies at scan index ``start[a] + step[a]·n`` along the scan's axis ``axes[a]``.
    Oblique scans are not rotated, so the map is separable and invertible, and resampling goes axis by axis.
    """

    axes: tuple[int, int, int]
    """Prepared axis a runs along the scan's axis ``axes[a]``."""
    start: tuple[float, float, float]
    """Scan index, along ``axes[a]``, of prepared index 0."""
    step: tuple[float, float, float]
    """Scan indices per prepared index; negative where the axis is flipped."""
    shape: tuple[int, int, int]
    """Prepared shape."""
    scan_shape: tuple[int, int, int]

    @property
    def is_exact(self) -> bool:
        """Whether every prepared voxel is one voxel of the scan, or lies outside: nothing is interpolated."""
        return all(line.is_whole for line in self._lines)

    @property
    def _lines(self) -> tuple[Line, ...]:
        return tuple(map(Line, self.start, self.step, self.shape))

    def matrix(self) -> Affine:
        """(4, 4) matrix from prepared to scan indices; the prepared grid's affine is ``scan affine @ matrix``."""
        matrix = np.zeros((4, 4), dtype=np.float64)
        for a, axis in enumerate(self.axes):
            matrix[axis, a], matrix[axis, 3] = self.step[a], self.start[a]
        matrix[3, 3] = 1
        return matrix

    def inverse(self) -> "AxisMap":
        """The map whose ``forward`` is this one's ``backward``."""
        i, j, k = (self.axes.index(axis) for axis in range(3))
        start, step = self.start, self.step
        return AxisMap(
            axes=(i, j, k),
            start=(-start[i] / step[i], -start[j] / step[j], -start[k] / step[k]),
            step=(1 / step[i], 1 / step[j], 1 / step[k]),
            shape=self.scan_shape,
            scan_shape=self.shape,
        )

    def scan_box(self) -> Box:
        """The scan's voxels that the prepared grid touches."""
        box = [slice(0, 0)] * 3
        for a, axis in enumerate(self.axes):
            ends = (self.start[a], self.start[a] + self.step[a] * (self.shape[a] - 1))
            reach = (1 + abs(self.step[a])) / 2 - SLACK
            first = math.floor(min(ends) - reach) + 1
            last = math.ceil(max(ends) + reach)
            box[axis] = slice(max(first, 0), min(last, self.scan_shape[axis]))
        return box[0], box[1], box[2]

    def part(self, box: Box) -> tuple["AxisMap", Box, Box]:
        """A smaller map for a volume that is zero outside of ``box`` (scan voxels).

        Returns the map, the piece of the scan it reads (the box and as much around it as interpolation reaches) and
        the piece of the prepared grid it fills; everywhere else the result is zero.
        """
        scan_piece, prepared_piece = [slice(0, 0)] * 3, [slice(0, 0)] * 3
        start = list(self.start)
        for a, axis in enumerate(self.axes):
            width = max(1.0, abs(self.step[a]))
            ends = [(edge - self.start[a]) / self.step[a] for edge in (box[axis].start - width, box[axis].stop + width)]
            first, last = max(math.floor(min(ends)), 0), min(math.ceil(max(ends)) + 1, self.shape[a])
            margin = math.ceil(3 * width) + 1
            low, high = max(box[axis].start - margin, 0), min(box[axis].stop + margin, self.scan_shape[axis])
            scan_piece[axis], prepared_piece[a] = slice(low, high), slice(min(first, last), last)
            start[a] = self.start[a] + self.step[a] * first - low
        shape = [piece.stop - piece.start for piece in prepared_piece]
        scan_shape = [piece.stop - piece.start for piece in scan_piece]
        small = AxisMap(
            self.axes,
            (start[0], start[1], start[2]),
            self.step,
            (shape[0], shape[1], shape[2]),
            (scan_shape[0], scan_shape[1], scan_shape[2]),
        )
        return (
            small,
            (scan_piece[0], scan_piece[1], scan_piece[2]),
            (prepared_piece[0], prepared_piece[1], prepared_piece[2]),
        )

    def forward(
        self, volume: Shaped[Tensor, "c i j k"], mode: Mode = "linear", fill: float = 0.0
    ) -> Shaped[Tensor, "c x y z"]:
        """The volume of the scan's grid on the prepared grid.

        Voxels are copied bit by bit along axes that are only permuted, flipped, cropped or padded. Elsewhere
        "linear" interpolates, and where the prepared grid is coarser averages with a triangle as wide as two of its
        voxels, so that fine detail does not alias. Prepared voxels whose centre lies outside the scan become ``fill``.
        Half precision is computed, and returned, in float32; integers can be copied or taken from the nearest voxel.
        """
        if tuple(volume.shape[1:]) != self.scan_shape:
            raise ValueError(f"volume: expected shape {self.scan_shape}, got {tuple(volume.shape[1:])}")
        if not volume.is_floating_point() and mode == "linear" and not self.is_exact:
            raise ValueError(f"volume: {volume.dtype} cannot be interpolated; use apply_labels or mode='nearest'")
        if volume.dtype in (torch.float16, torch.bfloat16):
            volume = volume.float()
        volume = volume.permute(0, *(1 + axis for axis in self.axes))
        shrinking_first = sorted(range(3), key=lambda a: self.shape[a] / volume.shape[1 + a])
        for a in shrinking_first:
            volume = _along(volume, 1 + a, self._lines[a], mode, fill)
        return volume.contiguous()

    def backward(
        self, volume: Shaped[Tensor, "c x y z"], mode: Mode = "linear", fill: float = 0.0
    ) -> Shaped[Tensor, "c i j k"]:
        """The volume of the prepared grid on the scan's own grid; ``fill`` outside of the prepared box."""
        return self.inverse().forward(volume, mode, fill)

    def cover(self, mask: Bool[Tensor, "i j k"]) -> Bool[Tensor, "x y z"]:
        """True where the centre of a True voxel lies in the prepared voxel, or the other way round."""
        mask = mask.permute(self.axes)
        for a, line in enumerate(self._lines):
            mask = _any_along(mask, a, line)
        return mask.contiguous()


def _along(volume: Tensor, axis: int, line: Line, mode: Mode, fill: float) -> Tensor:
    """One axis of ``volume`` at the positions of ``line``."""
    if line.is_whole:
        return _copy(volume, axis, line, fill)
    length, positions = volume.shape[axis], line.positions
    inside = (positions >= -0.5 - SLACK) & (positions <= length - 0.5 + SLACK)
    # Gathering whole planes is an order of magnitude faster than gathering along the last, contiguous axis.
    planes = volume.movedim(axis, 0).contiguous()
    if mode == "nearest":
        nearest = positions.round().long().clamp(0, length - 1)
        result = planes.index_select(0, nearest.to(volume.device))
    else:
        result = _weighted(planes, *_triangle(positions, length, abs(line.step)))
    if not bool(inside.all()):
        result[~inside.to(volume.device)] = fill
    return result.movedim(0, axis)


def _copy(volume: Tensor, axis: int, line: Line, fill: float) -> Tensor:
    """The voxels of a whole line; ``fill`` where there are none."""
    length, start = volume.shape[axis], round(line.start)
    low = start if line.step > 0 else start - line.size + 1
    first, last = max(low, 0), min(low + line.size, length)
    piece = volume.narrow(axis, min(first, length), max(last - first, 0))
    if piece.shape[axis] < line.size:
        shape = list(volume.shape)
        shape[axis] = line.size
        padded = volume.new_full(shape, fill)
        padded.narrow(axis, min(first - low, line.size), piece.shape[axis]).copy_(piece)
        piece = padded
    return piece if line.step > 0 else piece.flip(axis)


def _any_along(mask: Tensor, axis: int, line: Line) -> Tensor:
    """Whether a True voxel lies within half a (scan or prepared, the larger) voxel of each position."""
    if line.is_whole:
        return _copy(mask, axis, line, fill=0.0)
    length, positions = mask.shape[axis], line.positions
    reach = max(1.0, abs(line.step)) / 2
    first = torch.ceil(positions - reach - SLACK).long().clamp(0, length)
    last = torch.floor(positions + reach + SLACK).long().add(1).clamp(0, length)
    count = mask.cumsum(axis, dtype=torch.int32)
    count = torch.cat([torch.zeros_like(count.narrow(axis, 0, 1)), count], axis)
    return count.index_select(axis, last.to(mask.device)) > count.index_select(axis, first.to(mask.device))


def _triangle(positions: Tensor, length: int, step: float) -> tuple[Tensor, Tensor]:
    """Indices and weights, both (taps, size): each position is the weighted mean of the voxels nearer than ``step``.

    The triangle is at least one voxel wide to each side, which is linear interpolation. Voxels beyond the edge have
    no weight, so that the edge value continues. Example: positions 0.5, 2.5 with step 2 take the voxels
    -1, 0, 1, 2 and 1, 2, 3, 4, weighted 1:3:3:1.
    """
    width = max(1.0, step)
    taps = math.ceil(2 * width) + 1
    indices = torch.ceil(positions - width).long() + torch.arange(taps)[:, None]
    weights = (1 - (indices - positions).abs() / width).clamp(min=0)
    weights = weights * ((indices >= 0) & (indices < length))
    # A position outside of the volume has no voxel in reach; its value is overwritten by the caller's fill.
    weights = weights / weights.sum(0).clamp(min=torch.finfo(torch.float64).tiny)
    used = weights.any(1)
    return indices.clamp(0, length - 1)[used], weights[used]


def _weighted(planes: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Σ over taps of weight × plane, in float64: it must not matter from which end an axis is stored."""
    column = (-1, *[1] * (planes.ndim - 1))
    result = planes.new_empty((indices.shape[1], *planes.shape[1:]))
    indices, weights = indices.to(planes.device), weights.to(planes.device)
    for first in range(0, len(result), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        total = torch.zeros_like(result[rows], dtype=torch.float64)
        for index, weight in zip(indices[:, rows], weights[:, rows], strict=True):
            total.addcmul_(planes.index_select(0, index).double(), weight.double().view(column))
        result[rows] = total.to(planes.dtype)
    return result
