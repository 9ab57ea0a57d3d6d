"""Pictures of a case in layers: the scan, the prediction as colour, the truth as outlines."""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int16, UInt8

from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Segmentation
from lowshot.reporting.palette import colour
from lowshot.reporting.slices import Slice, telling_slices

LARGEST_PIXELS = {1: 800, 3: 480}
"""Longest side of the scan's picture, by how many stand side by side."""
LARGEST_LABELS = 512
"""Longest side of what is drawn of label maps, so that a page of huge images stays small."""
SCALE_BARS_MM = (1, 2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True)
class Outline:
    """The border of one structure in the truth."""

    structure: str
    colour: str
    path: str
    """For the ``d`` of an SVG path, in half pixels of the label map, from the top left."""


@dataclass(frozen=True)
class Overlay:
    """One plane of a case. All layers are to be stretched to ``size_mm``."""

    view: str
    place: str
    """Which slice it is, in words."""
    size_mm: tuple[float, float]
    """Width and height; in voxels where the spacing is not known."""
    scan: bytes | None
    """JPEG; None where there is nothing but black, because no scan was given."""
    prediction: bytes
    """PNG, transparent where nothing was predicted."""
    outlines: tuple[Outline, ...]
    path_unit_mm: tuple[float, float]
    """Size of half a pixel of the label map across and down."""
    letters: str
    """What lies left, right, bottom and top; empty where the file does not tell."""
    scale_bar_mm: int | None
    """Length of the scale bar; None where the spacing is not known."""


def overlays(truth: LabelledScan, prediction: Segmentation | None) -> list[Overlay]:
    """Three planes of a case, or the one of a 2-D image, where most Dice is lost.

    Raises:
        GridMismatch: prediction and truth do not share one grid.
        UnknownLabel: they have no structure name in common.
    """
    slices = telling_slices(truth, prediction)
    window = grey_window(slices)
    narrowest = min(each.size_mm[0] for each in slices)
    bar = max((length for length in SCALE_BARS_MM if length <= narrowest / 3), default=None)
    shared = (window, LARGEST_PIXELS[len(slices)], bar if truth.scan.spacing_known else None)
    return [_overlay(each, truth.truth.names, *shared) for each in slices]


def _overlay(shown: Slice, names: Names, window: tuple[float, float], largest: int, bar_mm: int | None) -> Overlay:
    width, height = shown.size_mm
    truth, prediction = _reduced(shown.truth), _reduced(shown.prediction)
    rows, columns = truth.shape
    counted = f", counted from {shown.counted_from}" if shown.counted_from else ""
    return Overlay(
        view=shown.view,
        place=f"slice {shown.number} of {shown.count}{counted}" if shown.count > 1 else "",
        size_mm=(width, height),
        scan=_jpeg(shown.image, window, (width, height), largest) if shown.image.any() else None,
        prediction=_png(prediction),
        outlines=_outlines(truth, names),
        path_unit_mm=(width / columns / 2, height / rows / 2),
        letters=shown.letters,
        scale_bar_mm=bar_mm,
    )


def grey_window(slices: list[Slice]) -> tuple[float, float]:
    """Grey values shown as black and white.

    Three interquartile ranges around the median, near the structures, keep soft tissue apart in CT, where air and bone
    would flatten it; the 0.5th and 99.5th percentile of the planes keep dark and bright images within their range.
    """
    near = np.concatenate([each.image[_neighbourhood((each.truth > 0) | (each.prediction > 0))] for each in slices])
    lowest, highest = np.percentile(np.concatenate([each.image.ravel() for each in slices]), [0.5, 99.5])
    first, median, third = np.percentile(near, [25, 50, 75])
    low, high = max(lowest, median - 3 * (third - first)), min(highest, median + 3 * (third - first))
    if low < high:
        return float(low), float(high)
    return float(lowest), float(max(highest, lowest + 1))


def _neighbourhood(mask: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows columns"]:
    """The mask and a rim of a sixteenth of the picture around it; everything where it is empty."""
    from scipy.ndimage import distance_transform_cdt

    if not mask.any():
        return np.ones_like(mask)
    return np.asarray(distance_transform_cdt(~mask) <= max(mask.shape) // 16)


def _jpeg(
    image: Float[np.ndarray, "rows columns"], window: tuple[float, float], size_mm: tuple[float, float], largest: int
) -> bytes:
    """The grey picture with square pixels, so that thick slices are interpolated and not stretched."""
    from PIL import Image

    low, high = window
    grey = (np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    width, height = (max(1, round(side * largest / max(size_mm))) for side in size_mm)
    picture = Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def _png(labels: Int16[np.ndarray, "rows columns"]) -> bytes:
    from PIL import Image

    colours = np.zeros((int(labels.max()) + 1, 4), dtype=np.uint8)
    for index in np.unique(labels[labels > 0]):
        colours[index] = rgba(colour(int(index)))
    file = io.BytesIO()
    Image.fromarray(colours[labels]).save(file, "PNG", optimize=True)
    return file.getvalue()


def rgba(hexadecimal: str) -> UInt8[np.ndarray, "4"]:
    """Red, green, blue and full opacity of #rrggbb."""
    return np.array([*bytes.fromhex(hexadecimal.removeprefix("#")), 255], dtype=np.uint8)


def _reduced(labels: Int16[np.ndarray, "rows columns"]) -> Int16[np.ndarray, "fewer_rows fewer_columns"]:
    """Every so many pixels of a label map that is larger than what is drawn."""
    scale = max(1.0, max(labels.shape) / LARGEST_LABELS)
    kept = ((np.arange(max(1, round(size / scale))) + 0.5) * scale for size in labels.shape)
    rows, columns = (np.minimum(each.astype(int), size - 1) for each, size in zip(kept, labels.shape, strict=True))
    return np.asarray(labels[np.ix_(rows, columns)])


def _outlines(labels: Int16[np.ndarray, "rows columns"], names: Names) -> tuple[Outline, ...]:
    """Outlines of all structures, small ones last: where neighbours share a line, theirs is on top."""
    sizes = np.bincount(labels.ravel())
    order = [int(index) for index in np.argsort(-sizes, kind="stable") if index > 0 and sizes[index]]
    return tuple(Outline(names.names[index], colour(index), outline_path(labels == index)) for index in order)


def outline_path(mask: Bool[np.ndarray, "rows columns"]) -> str:
    """Closed SVG paths half-way between pixels inside and outside, in whole half pixels from the top left corner.

    A mask of one pixel is a diamond around its centre, (1, 1): ``M0 1l1 -1 1 1 -1 1z``, from any of its corners.
    """
    from contourpy import contour_generator

    lines = contour_generator(z=np.pad(mask, 1).astype(np.float64)).lines(0.5)
    # Padding moved centres by 1 and they lie at 0.5, hence in half pixels: 2 (x - 1 + 0.5).
    return "".join(_path(np.rint(2 * np.asarray(line) - 1).astype(int)) for line in lines)


def _path(corners: Int[np.ndarray, "n 2"]) -> str:
    """Relative steps, those of one direction joined; the last one is the closing."""
    steps = np.diff(corners, axis=0)
    starts = np.flatnonzero(np.r_[True, (steps[1:] != steps[:-1]).any(axis=1)])
    joined = np.add.reduceat(steps, starts)[:-1]
    (x, y), words = corners[0], " ".join(f"{across} {down}" for across, down in joined)
    return f"M{x} {y}l{words}z"
