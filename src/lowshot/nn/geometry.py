"""Sizes that follow from the scans: working spacing, patch, and where a network halves its maps (ours)."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lowshot.errors import SettingsError

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Geometry:
    """The shape of a patch-based network's work. Part of a model file, because it may follow from the support."""

    dimensions: int
    """2: slice by slice; 3."""
    strides: tuple[Triple, ...]
    patch: Triple
    margin: Triple
    """Voxels at each end of a patch that are looked at but not predicted."""

    def __post_init__(self) -> None:
        if self.dimensions == 2 and self.patch[2] != 1:
            raise SettingsError(f"patch: slice by slice (dimensions 2) needs a last size of 1, got {self.patch}")
        for axis, (size, margin) in enumerate(zip(self.patch, self.margin, strict=True)):
            multiple = math.prod(stride[axis] for stride in self.strides) if axis < self.dimensions else 1
            if size < 1 or size % multiple:
                raise SettingsError(f"patch: expected multiples of the strides' product {multiple}, got {self.patch}")
            if not 0 <= margin < size / 2:
                raise SettingsError(f"margin: nothing is left of a patch of {self.patch} inside {self.margin}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Geometry":
        """What ``to_json`` described."""
        strides = tuple(_triple(stride) for stride in values["strides"])
        return cls(int(values["dimensions"]), strides, _triple(values["patch"]), _triple(values["margin"]))


def _triple(values: Sequence[int]) -> Triple:
    x, y, z = values
    return int(x), int(y), int(z)


def working_spacing(
    extent_mm: Sequence[float], spacing: Sequence[float], most_voxels: int | None
) -> tuple[float, float, float]:
    """The spacing itself, or with its finest axes made coarser until a volume of this extent has few enough voxels."""

    def voxels(finest: float) -> float:
        return math.prod(max(1.0, size / max(step, finest)) for size, step in zip(extent_mm, spacing, strict=True))

    finest = 0.0
    if most_voxels is not None and voxels(0.0) > most_voxels:
        low, high = min(spacing), max(*extent_mm, *spacing)
        for _ in range(60):
            finest = (low + high) / 2
            low, high = (finest, high) if voxels(finest) > most_voxels else (low, finest)
        finest = high
    i, j, k = (max(step, finest) for step in spacing)
    return i, j, k


def strides_for(spacing: Sequence[float], shape: Sequence[int], levels: int) -> tuple[Triple, ...]:
    """Which axes to halve between levels: of those with at least 8 voxels, the ones finer than twice the finest.

    Example: 1.25 × 1.25 × 7.7 mm with three levels gives (2, 2, 1), (2, 2, 1): in plane, until voxels are cubic.
    """
    steps, sizes, strides = list(spacing), list(shape), list[Triple]()
    for _ in range(levels - 1):
        finest = min((step for step, size in zip(steps, sizes, strict=True) if size >= 8), default=math.inf)
        i, j, k = (2 if size >= 8 and step < 2 * finest else 1 for step, size in zip(steps, sizes, strict=True))
        stride = (i, j, k)
        steps = [step * factor for step, factor in zip(steps, stride, strict=True)]
        sizes = [size // factor for size, factor in zip(sizes, stride, strict=True)]
        strides.append(stride)
    return tuple(strides)


def patch_for(
    spacing: Sequence[float], shape: Sequence[int], voxels: int, strides: Sequence[Sequence[int]]
) -> tuple[Triple, Triple]:
    """Patch and margin of about ``voxels`` voxels, as cubic in mm as the strides and the volume's shape allow.

    Each size is a multiple of the strides' product along its axis; the margin is a sixth of the patch.
    """
    multiples = [math.prod(stride[axis] for stride in strides) for axis in range(3)]
    largest = [math.ceil(size * 1.5 / multiple) * multiple for size, multiple in zip(shape, multiples, strict=True)]
    largest = [1 if size == 1 else most for size, most in zip(shape, largest, strict=True)]

    def sizes(side_mm: float) -> list[int]:
        wanted = (side_mm / step for step in spacing)
        rounded = [max(1, round(size / multiple)) * multiple for size, multiple in zip(wanted, multiples, strict=True)]
        return [min(size, most) for size, most in zip(rounded, largest, strict=True)]

    side = min(spacing)
    while math.prod(sizes(side * 1.01)) <= voxels and sizes(side) != largest:
        side *= 1.01
    i, j, k = sizes(side)
    a, b, c = (0 if size == 1 else min(size // 6, (size - 1) // 2) for size in (i, j, k))
    return (i, j, k), (a, b, c)
