"""Regions that an image falls into by itself: pseudo-labels for few-shot systems that learn without annotation.

``superpixels`` are SSL-ALPNet's: Felzenszwalb & Huttenlocher's (IJCV 2004), of single slices. ADNet takes the same
method in three dimensions, which scikit-image lacks; our ``supervoxels`` are small superpixels of all slices, joined
within and across slices until none is below the least size. SLIC's (Achanta et al., TPAMI 2012), which scikit-image has
in three dimensions, take as long, and where they are free to have an organ's shape their borders fray.

In both, 0 is "no region". Regions cover the body and nothing else, are as large as asked for or larger, and numbered
from 1 on without gaps; the same image gives the same ones. To be computed once for a scan, before training.
"""

import heapq
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowshot.imaging.foreground import foreground

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int64]
Spacing = tuple[float, float, float]

SIZE = 256
"""Of the slices for which least sizes are given; in larger ones regions are to be as much larger."""

PARTS = 50
"""So many times smaller than a supervoxel are the superpixels that it is joined of, in voxels."""

GREY_LEVEL = 1 / 255
"""Of an image with values from 0 to 1; parts that differ by less are joined, however large they are."""

OUTSIDE = -1.0
"""Of an image with values from 0 to 1; no region will want to cross to there."""


def superpixels(
    image: Float[Tensor, "c i j"],
    least: int,
    *,
    scale: float = 1.0,  # code
    sigma: float = 1.0,  # code
) -> Int[Tensor, "i j"]:
    """Which region each pixel is of.

    The public code cuts the regions of a whole slice with the body, which leaves slivers; here they are the body's from
    the start, and what would be a sliver is of the nearest region.

    Args:
        image: a slice, in any units.
        least: size in pixels of a slice of 256×256; 400 in SSL-ALPNet's public code.
        scale: the larger, the larger regions are where there is little contrast; at 1 the least size alone counts.
        sigma: of the Gaussian that smooths the image, in pixels.
    """
    values, least = image.detach().float().cpu().numpy()[..., None], _scaled(least, image)
    body = _body(values, least)
    found = _in_slices(_in_units(values, body), body, least, scale, sigma)
    return torch.from_numpy(_regions(found, body, least)[..., 0])


def supervoxels(
    volume: Float[Tensor, "c i j k"],
    spacing: Spacing,
    least: int,
    *,
    scale: float = 1.0,  # code
    sigma: float = 1.0,  # code
) -> Int[Tensor, "i j k"]:
    """Which region each voxel is of.

    Args:
        volume: slices along its last axis, in any units.
        spacing: of the voxels; a surface that two regions have in common counts by its area.
        least: size in voxels of a volume with slices of 256×256; ADNet's paper has 5000 in the abdomen, 1000 in the
            heart.
        scale: as in ``superpixels``.
        sigma: of the Gaussian that smooths each slice, in pixels, before it falls apart.
    """
    values, least = volume.detach().float().cpu().numpy(), _scaled(least, volume)
    body = _body(values, least)
    image = _in_units(values, body)
    parts = _pieces(_in_slices(image, body, max(1, least // PARTS), scale, sigma))
    return torch.from_numpy(_regions(_Graph(parts, image, spacing).joined(least)[parts], body, least))


def _scaled(least: int, image: Tensor) -> int:
    return max(1, round(least * math.prod(image.shape[1:3]) / SIZE**2))


def _body(image: Image, least: int) -> Mask:
    """What any channel shows of the body, with the air inside of it; specks below the least size are not of it."""
    from scipy.ndimage import binary_fill_holes

    inside = np.any([foreground(channel) for channel in image], axis=0)
    for k in range(inside.shape[2]):
        inside[..., k] = binary_fill_holes(inside[..., k])
    return _large(_pieces(inside.astype(np.int64)), least) > 0


def _in_units(image: Image, body: Mask) -> Image:
    """Each channel from 0 to 1 in the body, and far from that outside of it.

    0 and 1 are exceeded by half a percent of voxels each, as SSL-ALPNet cuts the brightest 0.5 %: a few bright ones
    would make all others alike.
    """
    if not body.any():
        return np.full_like(image, OUTSIDE)
    low, high = np.percentile(image[:, body], (0.5, 99.5), axis=1)[..., None, None, None]
    inside = (image.clip(low, high) - low) / np.where(high > low, high - low, 1)
    return np.where(body, inside, OUTSIDE).astype(np.float32)


def _in_slices(image: Image, body: Mask, least: int, scale: float, sigma: float) -> Labels:
    """Superpixels of every slice, in each with numbers of its own."""
    from skimage.segmentation import felzenszwalb

    slices = [felzenszwalb(each, scale, sigma, least, channel_axis=0) + 1 for each in np.moveaxis(image, -1, 0)]
    found = np.stack(slices, axis=-1).astype(np.int64)
    found += found[..., 0].size * np.arange(len(slices))
    return np.where(body, found, 0)


def _pieces(labels: Labels) -> Labels:
    """The pieces of all labels but 0, numbered from 1 on; voxels are connected through edges, as felzenszwalb's are."""
    from skimage.measure import label

    return np.asarray(label(labels, background=0, connectivity=2), np.int64)  # type: ignore[no-untyped-call]


def _large(pieces: Labels, least: int) -> Labels:
    """Those pieces that have the least size, as they were numbered; 0 in place of others."""
    small = np.bincount(pieces.ravel()) < least
    return np.where(small[pieces], 0, pieces)


def _regions(labels: Labels, body: Mask, least: int) -> Labels:
    """Connected pieces of the labels; what is smaller than the least size goes to the nearest of the others."""
    from scipy.ndimage import distance_transform_edt

    kept = _large(_pieces(labels), least)
    if kept.any() and not kept[body].all():
        nearest = distance_transform_edt(kept == 0, return_distances=False, return_indices=True)
        kept = np.where(body, kept[tuple(nearest)], 0)
    return np.searchsorted(np.union1d(kept, [0]), kept)


class _Graph:
    """Parts of an image with their neighbours, of which the most alike are joined, again and again.

    Of two neighbours with n and m voxels the difference is n m / (n + m) (d² + e²), where d is between their means, as
    in Ward's method, and e is the mean contrast across the surface that they have in common.
    """

    def __init__(self, parts: Labels, image: Image, spacing: Spacing) -> None:
        """Of parts numbered from 1 on; 0 is none of them."""
        where = parts.ravel()
        self.size: list[int] = np.bincount(where).tolist()
        self.sums: list[list[float]] = np.stack([np.bincount(where, each.ravel()) for each in image], axis=1).tolist()
        """Of the values of each channel."""
        self.into = list(range(len(self.size)))
        """The part that a part was joined to; itself, as long as it was not."""
        self.surfaces: list[dict[int, tuple[float, float]]] = [{} for _ in self.size]
        """By neighbour: the area in common, and the contrast summed over it."""
        for a, b, area, contrast in _surfaces(parts, image, spacing):
            self.surfaces[a][b] = self.surfaces[b][a] = (area, contrast)

    def joined(self, least: int) -> Labels:
        """The number that each part has in the end, when none that has neighbours is below the least size.

        Those that differ by less than a grey level are joined even so: an organ is not cut where there is no noise.
        """
        queue = [(self.difference(a, b), a, b) for a in range(len(self.size)) for b in self.surfaces[a] if a < b]
        heapq.heapify(queue)
        while queue:
            before, a, b = heapq.heappop(queue)
            a, b = self._last(a), self._last(b)
            if a == b:
                continue
            difference = self.difference(a, b)
            if difference > before:  # one of them has grown; a part with many neighbours is not asked until it matters
                heapq.heappush(queue, (difference, a, b))
                continue
            n, m = self.size[a], self.size[b]
            if min(n, m) < least or difference * (1 / n + 1 / m) < GREY_LEVEL**2:
                self._join(*sorted((a, b), key=lambda part: -len(self.surfaces[part])))
        return np.array([self._last(a) for a in self.into])

    def difference(self, a: int, b: int) -> float:
        """Of two neighbours as they are now."""
        n, m, (area, contrast) = self.size[a], self.size[b], self.surfaces[a][b]
        d2 = sum((x / n - y / m) ** 2 for x, y in zip(self.sums[a], self.sums[b], strict=True))
        return n * m / (n + m) * (d2 + (contrast / area) ** 2)

    def _join(self, a: int, b: int) -> None:
        """The second to the first."""
        self.into[b] = a
        self.size[a] += self.size[b]
        self.sums[a] = [x + y for x, y in zip(self.sums[a], self.sums[b], strict=True)]
        for c, (area, contrast) in self.surfaces[b].items():
            del self.surfaces[c][b]
            if c != a:
                before = self.surfaces[a].get(c, (0.0, 0.0))
                self.surfaces[a][c] = self.surfaces[c][a] = (before[0] + area, before[1] + contrast)
        self.surfaces[b] = {}

    def _last(self, a: int) -> int:
        while self.into[a] != a:
            self.into[a] = a = self.into[self.into[a]]
        return a


def _surfaces(parts: Labels, image: Image, spacing: Spacing) -> Iterator[tuple[int, int, float, float]]:
    """Every two neighbours once, the area that they have in common, and the contrast summed over it."""
    keys, areas, contrasts = [], [], []
    count = int(parts.max()) + 1
    for axis, mm in enumerate(spacing):
        numbers, values = np.moveaxis(parts, axis, 0), np.moveaxis(image, axis + 1, 1)
        near, far, contrast = numbers[:-1], numbers[1:], np.linalg.norm(np.diff(values, axis=1), axis=0)
        across = (near != far) & (near > 0) & (far > 0)
        near, far = near[across], far[across]
        keys.append(np.minimum(near, far) * count + np.maximum(near, far))
        areas.append(np.full(len(near), math.prod(spacing) / mm))
        contrasts.append(areas[-1] * contrast[across])
    found, where = np.unique(np.concatenate(keys), return_inverse=True)
    summed = (np.bincount(where, np.concatenate(each), minlength=len(found)).tolist() for each in (areas, contrasts))
    return zip((found // count).tolist(), (found % count).tolist(), *summed, strict=True)
