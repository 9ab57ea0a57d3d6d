"""Which voxels of an image show the body, for any modality and without labels."""

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

DARK_SHARE = 0.2
"""A darker class counts as background when its mean is below this share of the brighter one's. To miss noise costs
little; to take the white matter beside bright fluid (a quarter or more) for background would cut the brain away."""

ZERO_SHARE = 0.01
"""Values below this share of the brightest are alike: it keeps the logarithm of zero finite."""

AIR_HU = -1024.0
"""The lowest value a CT can measure; what lies below is padding."""

_SAMPLE = 1_000_000
"""Voxels that decide the threshold; more do not move it."""


def foreground(image: Image) -> Mask:
    """Mask of the body in an image of any shape; all True when there is nothing else, as in a constant image.

    First the lowest value is dropped: exact zeros around a skull-stripped brain, padding (-2000, -3024) around a CT.
    Otsu's threshold of the logarithm then splits the rest; the logarithm, because coils make one tissue several times
    as bright here as there, while noise is darker than any of it by a factor. The darker part is background if it is
    really dark (air in CT, noise around a head in MR); if it is not (grey beside white matter, an ultrasound fan), all
    of the rest is foreground.

    Source: N. Otsu, A threshold selection method from gray-level histograms, IEEE SMC 1979.
    """
    lowest = float(image.min())
    rest = image[image > lowest]
    if rest.size == 0:
        return np.ones(image.shape, dtype=np.bool_)
    sample = rest[:: max(1, rest.size // _SAMPLE)].astype(np.float64)
    low, high = np.percentile(sample, (0.5, 99.5))
    zero = lowest if lowest >= AIR_HU else low
    sample = sample.clip(low, high) - zero
    threshold = _log_otsu(sample, ZERO_SHARE * (high - zero)) if low < high else 0.0
    dark, bright = sample[sample <= threshold], sample[sample > threshold]
    if dark.size and bright.size and dark.mean() < DARK_SHARE * bright.mean():
        return np.asarray(image > threshold + zero, dtype=np.bool_)
    return np.asarray(image > lowest, dtype=np.bool_)


def body_box(mask: Mask) -> tuple[slice, slice, slice]:
    """Box around the large pieces of a 3-D mask: both legs, but not a speck of noise; everything if it is empty.

    A piece (connected through faces) is large from a tenth of the largest one.
    """
    from scipy import ndimage

    components, count = ndimage.label(mask)
    if count == 0:
        i, j, k = (slice(0, size) for size in mask.shape)
        return i, j, k
    sizes = np.bincount(components.ravel())[1:]
    boxes = [box for box, size in zip(ndimage.find_objects(components), sizes, strict=True) if 10 * size >= sizes.max()]
    i, j, k = (slice(min(box[a].start for box in boxes), max(box[a].stop for box in boxes)) for a in range(3))
    return i, j, k


def _log_otsu(sample: npt.NDArray[np.float64], offset: float) -> float:
    """Otsu's threshold of log(sample + offset), as a value of ``sample``."""
    return float(np.exp(otsu(np.log(sample + offset))) - offset)


def otsu(values: npt.NDArray[np.float64]) -> float:
    """The threshold that parts the values into the two classes with the largest variance between them.

    The same as SimpleITK's with 256 bins; by hand, since training has to run where image libraries are missing.
    """
    counts, edges = np.histogram(values, bins=256)
    sums = counts * (edges[:-1] + edges[1:]) / 2
    below, sum_below = counts.cumsum()[:-1], sums.cumsum()[:-1]
    above, sum_above = counts.sum() - below, sums.sum() - sum_below
    between = below * above * (sum_below / np.maximum(below, 1) - sum_above / np.maximum(above, 1)) ** 2
    return float(edges[1 + between.argmax()])
