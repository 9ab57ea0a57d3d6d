"""What a picture is: a scan, a segmentation, and the two together."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowshot.errors import ChannelMismatch, GridMismatch
from lowshot.imaging.grid import Affine, Grid
from lowshot.imaging.names import Names


@dataclass(frozen=True)
class Source:
    """Where a scan came from, and its header as its reader gave it, so that results can carry it or refer to it."""

    path: Path
    format: str
    """One of the keys of ``lowshot.imaging.files.FORMATS``: nifti, mgz, nrrd, metaimage, png, tiff, dicom."""
    header: object | None = None
    places: tuple[Affine, ...] = field(default=(), compare=False)
    """Where programs do not agree on the affine that the header says: ours, then ITK's; else empty."""


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan on its own grid, exactly as stored: not reoriented, not rescaled."""

    name: str
    voxels: Float[Tensor, "c i j k"]
    affine: Affine
    """Voxel indices to RAS+ millimetres, (4, 4) float64."""
    channels: tuple[str, ...] = ("image",)
    """Name of each channel (sequence), in the order of ``voxels``."""
    spacing_known: bool = True
    """False where the file says nothing about millimetres (PNG); the affine then counts voxels."""
    source: Source | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.voxels, Tensor) or self.voxels.ndim != 4 or len(self.voxels) != len(self.channels):
            got = tuple(getattr(self.voxels, "shape", ()))
            raise ChannelMismatch(
                f"{self.name}: expected a tensor of {len(self.channels)} × i × j × k voxels, for the channels "
                f"{', '.join(self.channels)}; got {type(self.voxels).__name__} {got}"
            )

    @property
    def grid(self) -> Grid:
        i, j, k = self.voxels.shape[1:]
        return Grid((i, j, k), self.affine)

    def require_channels(self, channels: tuple[str, ...]) -> None:
        """Refuse a scan of a pool that does not have those of the annotated ones.

        Raises:
            ChannelMismatch: it has others, or the same in another order.
        """
        if self.channels != channels:
            raise ChannelMismatch(
                f"{self.name}: has the channels {', '.join(self.channels)}, the annotated scan {', '.join(channels)}"
            )

    def digest(self) -> str:
        """SHA-256 of the voxels: the same for the same picture, whatever its file is called and wherever it lies."""
        return hashlib.sha256(self.voxels.cpu().contiguous().numpy().data).hexdigest()


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Structure indices 0..K-1 on a grid; 0 is background. What files hold instead stands in ``names``."""

    labels: Int[Tensor, "i j k"]
    names: Names
    affine: Affine

    @property
    def grid(self) -> Grid:
        i, j, k = self.labels.shape
        return Grid((i, j, k), self.affine)

    def sizes(self) -> list[int]:
        """How many voxels there are of each of ``names``."""
        counts: list[int] = self.labels.flatten().long().bincount(minlength=len(self.names)).tolist()
        return counts


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """A scan with its annotation, which may cover only part of it. Unknown is not background."""

    scan: Scan
    truth: Segmentation
    known: Bool[Tensor, "i j k"] | None = None
    """True where the label is known (one annotated slice, an ignore value); None: everywhere."""
    annotated: frozenset[str] | None = None
    """The structures that were looked for; None: all of ``truth.names``."""

    def __post_init__(self) -> None:
        image, labels = self.scan.grid, self.truth.grid
        if not image.same_as(labels):
            raise GridMismatch(
                f"{self.scan.name}: the image's grid {image.shape} and the label map's {labels.shape} differ "
                f"(by {image.distance_mm(labels):.3g} mm at the corners); "
                "resample the label map to the image first"
            )
