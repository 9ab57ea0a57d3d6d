"""From a scan on its own grid to what a network sees, and back.

INTERFACE DRAFT: signatures are fixed, bodies follow.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from lowshot.imaging.grid import Grid
from lowshot.imaging.scan import Scan


@dataclass(frozen=True)
class AxisMap:
    """Where each voxel of a prepared grid lies on the scan's own grid: a permutation, flips, and one
    linear map per axis. Oblique scans are not rotated, so the map is separable and invertible."""

    axes: tuple[int, int, int]
    """Prepared axis a runs along the scan's axis ``axes[a]``."""
    start: tuple[float, float, float]
    """Scan index, along ``axes[a]``, of prepared index 0."""
    step: tuple[float, float, float]
    """Scan indices per prepared index; negative where the axis is flipped."""
    shape: tuple[int, int, int]
    """Prepared shape."""
    scan_shape: tuple[int, int, int]


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
    """Orientation, spacing, crop and intensity, in this order. Stored in the model file."""

    orientation: str | None = "RAS"
    spacing: tuple[float, float, float] | None = None
    crop: Literal["none", "foreground"] | tuple[int, int, int] = "none"
    intensity: str = "zscore"

    def apply(self, scan: Scan) -> Prepared: ...

    def apply_labels(self, labels: Int[Tensor, "i j k"], prepared: Prepared) -> Int[Tensor, "x y z"]: ...

    def undo(self, scores: Float[Tensor, "c x y z"], prepared: Prepared) -> Float[Tensor, "c i j k"]: ...
