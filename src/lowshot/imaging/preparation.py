"""From a scan on its own grid to what a network sees, and back."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowshot.errors import InputError, SettingsError
from lowshot.imaging.axis_map import SLACK, AxisMap, Box
from lowshot.imaging.foreground import body_box, foreground
from lowshot.imaging.grid import Affine, Grid
from lowshot.imaging.intensity import scaling, window
from lowshot.imaging.scan import Scan

FOREGROUND_MARGIN_MM = 5.0

MOST_VOXELS = 2**31
"""Of a prepared scan: 9 GB for each channel."""

_ROUNDING = 1e-5
"""Shares that differ by less are equal: their sums of float32 weights are rounded."""

_TIE = 1e-6
"""Smallest margin, so that a voxel whose two best classes are equal still counts for the one it was given."""


Orientation = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""For each prepared axis: the scan's axis it runs along, and 1, or -1 where it is flipped."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan as a method sees it."""

    name: str
    voxels: Float[Tensor, "c i j k"]
    grid: Grid
    """The prepared grid, in world mm."""
    scan_grid: Grid
    axis_map: AxisMap
    spacing_known: bool = True


@dataclass(frozen=True)
class Preparation:
    """Orientation, crop, spacing (or size) and intensity. Stored in the model file.

    A 2-D image (k = 1) keeps its k axis, and in "RAS" its orientation; ``spacing`` is ignored where the file knows none
    (PNG).
    No label is used anywhere, so a scan to be segmented is prepared exactly like an annotated one.
    """

    orientation: str | None = "RAS"
    """"RAS": axes permuted and flipped to lie nearest to right, anterior, superior. Oblique scans stay oblique.
    "in-plane": the same within slices alone, for what looks at one at a time; the third axis stays the third."""
    spacing: tuple[float, float, float] | None = None
    """Millimetres along the prepared axes; None: the scan's own."""
    crop: str | tuple[int, int, int] = "none"
    """"foreground": the box around the body and 5 mm more. Three sizes in prepared voxels: the centre, padded with the
    lowest value of the scan where it is smaller."""
    intensity: str = "zscore"
    """One of ``lowshot.imaging.intensity.KINDS``, for each channel; statistics are of the scan's voxels in the crop."""
    resize: tuple[int, int, int | None] | None = None
    """Prepared sizes in voxels to which the crop is stretched, whatever its spacing; a last one of None keeps the
    slices, and the only slice of a 2-D image stays one. In place of ``spacing``."""

    def __post_init__(self) -> None:
        if self.orientation not in (None, "RAS", "in-plane"):
            raise SettingsError(f"orientation: expected RAS, in-plane or none at all, got {self.orientation!r}")
        if self.spacing is not None and (len(self.spacing) != 3 or not all(0 < mm < math.inf for mm in self.spacing)):
            raise SettingsError(f"spacing: expected three positive sizes in mm, got {self.spacing}")
        if self.resize is not None and (
            len(self.resize) != 3 or any(size is not None and size < 1 for size in self.resize)
        ):
            raise SettingsError(f"resize: expected three positive sizes in voxels, got {self.resize}")
        if self.resize is not None and (self.spacing is not None or not isinstance(self.crop, str)):
            raise SettingsError("resize: a fixed size leaves no choice of spacing, nor of a crop in voxels")
        sizes = None if isinstance(self.crop, str) else self.crop
        if sizes is None and self.crop not in ("none", "foreground"):
            raise SettingsError(f"crop: expected none, foreground or three sizes in voxels, got {self.crop!r}")
        if sizes is not None and (len(sizes) != 3 or min(sizes) < 1):
            raise SettingsError(f"crop: expected three positive sizes in voxels, got {sizes}")
        window(self.intensity)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, from which ``from_json`` makes an equal preparation."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preparation":
        """The preparation that ``to_json`` described."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise SettingsError(f"preparation: unknown setting {', '.join(sorted(unknown))}")
        settings: dict[str, Any] = {
            k: tuple(value) if isinstance(value, list) else value for k, value in values.items()
        }
        return cls(**settings)

    def axis_map(self, scan: Scan) -> AxisMap:
        """Where prepared voxels will lie in the scan, and how many they will be. Nothing is resampled for it.

        Raises:
            InputError: they would be absurdly many; a header that says metres and means millimetres makes it so.
        """
        box = _foreground_box(scan) if self.crop == "foreground" else _everything(scan.grid.shape)
        sizes = None if isinstance(self.crop, str) else self.crop
        orientation = self._orientation(scan.grid)
        axis_map = _axis_map(scan.grid, orientation, self._spacing(scan, orientation, box), box, sizes)
        if math.prod(axis_map.shape) > MOST_VOXELS:
            own, wanted = (" × ".join(f"{mm:.4g}" for mm in each) for each in (scan.grid.spacing, self.spacing or ()))
            raise InputError(
                f"{scan.name}: expected at most {MOST_VOXELS:,} voxels when it is brought to {wanted or 'its'} mm, got "
                f"{math.prod(axis_map.shape):,}; its header says {own} mm for a voxel: check its unit"
            )
        return axis_map

    def apply(self, scan: Scan, axis_map: AxisMap | None = None) -> Prepared:
        """The scan's voxels as float32 on the prepared grid; ``axis_map`` is the scan's, where it is known already."""
        axis_map = axis_map or self.axis_map(scan)
        channels = [self._channel(image, axis_map) for image in scan.voxels]
        grid = prepared_grid(scan, axis_map)
        return Prepared(scan.name, torch.stack(channels), grid, scan.grid, axis_map, scan.spacing_known)

    def apply_labels(
        self,
        labels: Int[Tensor, "i j k"],
        prepared: Prepared,
        known: Bool[Tensor, "i j k"] | None = None,
    ) -> Int[Tensor, "x y z"]:
        """The label map on the prepared grid: each voxel gets the class with the largest share of it.

        Voxels where ``known`` is False count for no class. Outside of the scan is background.
        """
        weight = None if known is None else known.float()
        return _largest_class(labels, weight, prepared.axis_map)

    def apply_mask(self, known: Bool[Tensor, "i j k"] | None, prepared: Prepared) -> Bool[Tensor, "x y z"]:
        """The mask on the prepared grid, None being everywhere in the scan; False outside of it.

        A prepared voxel is True where a True voxel's centre lies in it, or where it lies in a True voxel. So one
        annotated slice stays at least one slice, at any spacing.
        """
        if known is None:
            known = torch.ones(prepared.axis_map.scan_shape, dtype=torch.bool)
        return prepared.axis_map.cover(known)

    def undo(self, scores: Float[Tensor, "c x y z"], prepared: Prepared) -> Float[Tensor, "c i j k"]:
        """Scores on the scan's own grid, by linear interpolation; 0 outside of the crop."""
        return prepared.axis_map.backward(scores)

    def undo_labels(
        self,
        labels: Int[Tensor, "x y z"],
        prepared: Prepared,
        margin: Float[Tensor, "x y z"] | None = None,
    ) -> Int[Tensor, "i j k"]:
        """The label map on the scan's own grid, class by class, in the memory of a few volumes; background outside.

        Each class is interpolated as ``(label == c) · margin`` and the largest wins. With the margin = probability of
        the winner minus that of the second, this equals interpolating the probabilities themselves wherever two
        classes meet: the sign of a·p + b·q is decided by the same number. Without a margin every voxel counts alike.
        """
        weight = None if margin is None else margin.float().clamp(min=_TIE)
        return _largest_class(labels, weight, prepared.axis_map.inverse())

    def _orientation(self, grid: Grid) -> Orientation:
        if self.orientation is None or (self.orientation == "RAS" and grid.shape[2] == 1):
            return (0, 1), (1, 1), (2, 1)
        return nearest_ras(grid.affine) if self.orientation == "RAS" else nearest_in_plane(grid.affine)

    def _spacing(self, scan: Scan, orientation: Orientation, box: Box) -> tuple[float, float, float] | None:
        if self.resize is not None:
            lengths = [box[axis].stop - box[axis].start for axis, _ in orientation]
            sizes = [
                length if size is None or (axis == 2 and length == 1) else size
                for axis, (length, size) in enumerate(zip(lengths, self.resize, strict=True))
            ]
            steps = [length / size for length, size in zip(lengths, sizes, strict=True)]
            x, y, z = (step * scan.grid.spacing[axis] for step, (axis, _) in zip(steps, orientation, strict=True))
            return x, y, z
        if self.spacing is None or not scan.spacing_known:
            return None
        in_plane = self.spacing[:2]
        return (*in_plane, scan.grid.spacing[2] if scan.grid.shape[2] == 1 else self.spacing[2])

    def _channel(self, image: Float[Tensor, "i j k"], axis_map: AxisMap) -> Float[Tensor, "x y z"]:
        image = image.float()
        scale = scaling(self.intensity, image[axis_map.scan_box()].cpu().numpy())
        return scale(axis_map.forward(image[None], fill=float(image.min()))[0])


def prepared_grid(scan: Scan, axis_map: AxisMap) -> Grid:
    """The grid of the prepared voxels in world mm."""
    return Grid(axis_map.shape, scan.affine @ axis_map.matrix())


def nearest_ras(affine: Affine) -> Orientation:
    """The scan axes that run nearest to right, anterior and superior, and their signs."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)

    def agreement(order: tuple[int, ...]) -> float:
        return sum(abs(float(directions[world, axis])) for world, axis in enumerate(order))

    order = max(permutations(range(3)), key=agreement)
    right, anterior, superior = ((axis, 1 if directions[world, axis] >= 0 else -1) for world, axis in enumerate(order))
    return right, anterior, superior


def nearest_in_plane(affine: Affine) -> Orientation:
    """The third axis as the third, the others as they run nearest to two of right, anterior, superior, in this order.

    Example: a coronal slice stored head to feet, then left to right, comes out left to right, then feet to head.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)

    def agreement(arrangement: tuple[tuple[int, ...], tuple[int, ...]]) -> float:
        return sum(abs(float(directions[world, axis])) for axis, world in zip(*arrangement, strict=True))

    axes, worlds = max(product(permutations(range(2)), combinations(range(3), 2)), key=agreement)
    (through,) = set(range(3)) - set(worlds)
    first, second, third = (
        (axis, 1 if directions[world, axis] >= 0 else -1)
        for axis, world in zip((*axes, 2), (*worlds, through), strict=True)
    )
    return first, second, third


def _everything(shape: Sequence[int]) -> Box:
    i, j, k = (slice(0, size) for size in shape)
    return i, j, k


def _foreground_box(scan: Scan) -> Box:
    """The box that holds the body in every channel, and a margin."""
    boxes = [body_box(foreground(image.float().cpu().numpy())) for image in scan.voxels]
    spacing = scan.grid.spacing if scan.spacing_known else (1.0, 1.0, 1.0)
    box = []
    for axis, size in enumerate(scan.grid.shape):
        margin = math.ceil(FOREGROUND_MARGIN_MM / spacing[axis])
        first = min(each[axis].start for each in boxes) - margin
        last = max(each[axis].stop for each in boxes) + margin
        box.append(slice(max(first, 0), min(last, size)))
    return box[0], box[1], box[2]


def _axis_map(
    grid: Grid,
    orientation: Orientation,
    spacing: tuple[float, float, float] | None,
    box: Box,
    sizes: tuple[int, int, int] | None,
) -> AxisMap:
    """The prepared grid around the centre of ``box``: all of the box, or ``sizes`` voxels.

    Example: a box of 10 voxels of 1 mm, prepared at 3 mm, becomes 4 voxels at 0, 3, 6, 9.
    """
    lines = []
    for a, (axis, sign) in enumerate(orientation):
        step = 1.0 if spacing is None else spacing[a] / grid.spacing[axis]
        length = box[axis].stop - box[axis].start
        if abs(step - 1) * length <= SLACK:  # header noise must not turn a copy into an interpolation
            step = 1.0
        count = max(1, math.ceil(length / step - SLACK))
        first = (box[axis].start + box[axis].stop - 1 - step * (count - 1)) / 2
        if sizes is not None:
            first += step * ((count - sizes[a]) // 2)
            count = sizes[a]
        start = first if sign > 0 else first + step * (count - 1)
        lines.append((start, sign * step, count))
    (x, dx, nx), (y, dy, ny), (z, dz, nz) = lines
    axes = (orientation[0][0], orientation[1][0], orientation[2][0])
    return AxisMap(axes, (x, y, z), (dx, dy, dz), (nx, ny, nz), grid.shape)


def _largest_class(labels: Tensor, weight: Tensor | None, axis_map: AxisMap) -> Tensor:
    """Labels moved by ``axis_map``: the class with the largest interpolated weight; background where none has any.

    At a tie a structure wins over background: at half the resolution a sheet of one voxel has exactly half of those
    voxels that it runs through the middle of. Of two structures the one of lower index wins.
    """
    if axis_map.is_exact:
        return axis_map.forward(labels[None])[0]
    best = torch.zeros(axis_map.shape, device=labels.device)
    result = torch.zeros(axis_map.shape, dtype=labels.dtype, device=labels.device)
    for label, box in _boxes(labels):
        part, piece, target = axis_map.part(box)
        share = (labels[piece] == label).float()
        if weight is not None:
            share *= weight[piece]
        share = part.forward(share[None])[0]
        better = share > (best[target] + _ROUNDING if label == 0 else best[target])
        best[target] = torch.maximum(best[target], share)
        result[target][better] = label
    return result


def _boxes(labels: Tensor) -> list[tuple[int, Box]]:
    """Each index that occurs, background last, with its bounding box: most structures are small."""
    from scipy import ndimage

    boxes = ndimage.find_objects(labels.cpu().numpy())
    found = [(index, (box[0], box[1], box[2])) for index, box in enumerate(boxes, start=1) if box is not None]
    return [*found, (0, _everything(labels.shape))]
