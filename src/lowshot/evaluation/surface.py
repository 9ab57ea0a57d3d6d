"""Distances between the borders of two masks: HD95, and two variants that other scorers report.

All three are Hausdorff distances with the 95th percentile in place of the maximum. They differ in what a border is,
in the unit, and in how the two directions are joined, so each has its own name.

Nearest neighbours are found with a k-d tree over the border voxels in world coordinates. Against a Euclidean
distance transform of the common box, that is as fast on anatomy, right for sheared grids too, and its memory
grows with the surface instead of the volume.
"""

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float
from scipy import ndimage
from scipy.spatial import KDTree

from lowshot.imaging.grid import Affine

VOXELS: Affine = np.eye(4)
"""Affine that makes a distance count voxels, for images whose spacing is not known."""


def hd95(
    prediction: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"], affine: Float[np.ndarray, "4 4"] = VOXELS
) -> float:
    """The larger of the two directed 95th percentiles of border-to-border distance, in the affine's unit.

    A border voxel is one with a 6-neighbour outside the mask (in a 2-D image, k = 1, a 4-neighbour); outside the
    image counts as outside the mask. Both masks empty: NaN. One empty: the image diagonal, so that a missed
    structure never improves the mean.
    """
    if not prediction.any() or not truth.any():
        return _without_border(prediction, truth, affine)
    there, back = _directed_distances(*_borders(prediction, truth), affine)
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def hd95_pooled_voxels(prediction: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"]) -> float:
    """The 95th percentile of both directions pooled, in voxels whatever the spacing (medpy's ``hd95`` by default)."""
    if not prediction.any() or not truth.any():
        return _without_border(prediction, truth, VOXELS)
    there, back = _directed_distances(*_borders(prediction, truth), VOXELS)
    return float(np.percentile(np.concatenate([there, back]), 95))


def hd95_in_plane(
    prediction: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"], affine: Float[np.ndarray, "4 4"] = VOXELS
) -> float:
    """HD95 over borders drawn slice by slice along k, as the MRBrainS18 challenge scores it.

    A border voxel is one that a 3×3 erosion within its slice removes; outside the image counts as inside the mask.
    A mask that fills every slice has no such border: it is treated as empty.
    """
    prediction_border, truth_border = border_in_plane(prediction), border_in_plane(truth)
    if not prediction_border.any() or not truth_border.any():
        return _without_border(prediction_border, truth_border, affine)
    there, back = _directed_distances(prediction_border, truth_border, affine)
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def border(mask: Bool[np.ndarray, "i j k"], flat: bool = False) -> Bool[np.ndarray, "i j k"]:
    """Mask minus its 6-connected erosion; ``flat``: minus its 4-connected erosion within each slice."""
    cross = ndimage.generate_binary_structure(3, 1)
    neighbours = cross[:, :, 1:2] if flat else cross
    return np.asarray(mask & ~ndimage.binary_erosion(mask, neighbours, border_value=0))


def border_in_plane(mask: Bool[np.ndarray, "i j k"]) -> Bool[np.ndarray, "i j k"]:
    """Mask minus its 3×3 erosion within each slice along k."""
    return np.asarray(mask & ~ndimage.binary_erosion(mask, np.ones((3, 3, 1), dtype=bool), border_value=1))


def image_diagonal(shape: tuple[int, int, int], affine: Float[np.ndarray, "4 4"] = VOXELS) -> float:
    """Longest diagonal of the image box, in the affine's unit; of the slice where there is only one."""
    i, j, k = shape
    extent = np.array([i, j, 0 if k == 1 else k])
    diagonals = extent * np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    return float(np.linalg.norm(diagonals @ affine[:3, :3].T, axis=1).max())


def _without_border(
    prediction: Bool[np.ndarray, "i j k"], truth: Bool[np.ndarray, "i j k"], affine: Float[np.ndarray, "4 4"]
) -> float:
    i, j, k = truth.shape
    return image_diagonal((i, j, k), affine) if prediction.any() or truth.any() else float("nan")


def _borders(
    a: Bool[np.ndarray, "i j k"], b: Bool[np.ndarray, "i j k"]
) -> tuple[Bool[np.ndarray, "x y z"], Bool[np.ndarray, "x y z"]]:
    """Borders of both masks, cut to the box that holds them. Whether the image is 2-D is decided before the cut."""
    flat = a.shape[2] == 1
    box = ndimage.find_objects((a | b).view(np.uint8))[0]
    return border(a[box], flat), border(b[box], flat)


def _directed_distances(
    a: Bool[np.ndarray, "i j k"], b: Bool[np.ndarray, "i j k"], affine: Float[np.ndarray, "4 4"]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Distance from every voxel of a to the nearest of b, and from every voxel of b to the nearest of a."""
    a_points, b_points = (np.argwhere(mask) @ affine[:3, :3].T for mask in (a, b))
    there, _ = KDTree(b_points).query(a_points)
    back, _ = KDTree(a_points).query(b_points)
    return np.asarray(there), np.asarray(back)
