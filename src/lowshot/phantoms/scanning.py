"""What every anatomy needs around its own code: the grid it is scanned on, and what of it is annotated."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32

from lowshot.imaging.grid import Grid
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation
from lowshot.phantoms.rendering import Rendering

Extent = tuple[float, float, float]


def centred_grid(
    shape: tuple[int, int, int] | int, spacing_mm: Extent | None, field_of_view_mm: Extent, centre_mm: Extent
) -> Grid:
    """A grid around ``centre_mm`` (RAS), stored as most scans are: i to the left, j to the back, k to the head.

    Without a spacing, the voxels share the field of view. One number of voxels stands for all three axes.
    """
    sizes = (shape, shape, shape) if isinstance(shape, int) else shape
    steps = np.array(spacing_mm or field_of_view_mm) / (1.0 if spacing_mm else np.array(sizes)) * (-1.0, -1.0, 1.0)
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = np.array(centre_mm) - steps * (np.array(sizes) - 1) / 2
    return Grid(sizes, affine)


def annotated(names: Names, structures: Sequence[str] | None) -> Names:
    """The rows of a table that are annotated; all of them where nothing is chosen.

    Raises:
        UnknownLabel: no structure of this name.
    """
    return Names.of({names.values[names.index(structure)]: structure for structure in structures or names.foreground})


def labelled_scan(
    name: str, image: Float32[np.ndarray, "i j k"], rendering: Rendering, grid: Grid, names: Names
) -> LabelledScan:
    """The finished subject: what the scanner stored, and the truth."""
    return LabelledScan(
        Scan(name, torch.from_numpy(image)[None], grid.affine),
        Segmentation(torch.from_numpy(rendering.labels), names, grid.affine),
    )
