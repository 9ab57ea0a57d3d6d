"""Pictures of a case: the scan in three planes, with the outlines of truth and prediction."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float, Int16

from lowshot.evaluation.comparable import comparable_labels
from lowshot.imaging.scan import LabelledScan, Segmentation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST_PIXELS = {1: 640, 3: 400}
"""Longest side of the largest picture, by how many stand side by side."""

LineStyle = str | tuple[float, tuple[float, float]]
SOLID: LineStyle = "solid"
DASHED: LineStyle = (0.0, (3.0, 1.5))

_HUES = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2")
"""Okabe and Ito's palette (2008), told apart with any kind of colour vision, without its black."""
_TOWARDS_WHITE = (0.0, 0.5, 0.25, 0.75)


def colour(index: int) -> str:
    """Colour of structure ``index`` (1, 2, …) as #rrggbb. After the seven hues come lighter tints of them."""
    cycle, hue = divmod(index - 1, len(_HUES))
    tint = _TOWARDS_WHITE[cycle % len(_TOWARDS_WHITE)]
    channels = (int(_HUES[hue][at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(channel + (255 - channel) * tint):02x}" for channel in channels)


@dataclass(frozen=True)
class Picture:
    """An encoded picture of one plane."""

    view: str
    """axial, coronal or sagittal; "picture" where the file does not tell the orientation."""
    format: Literal["png", "jpeg"]
    data: bytes
    size: tuple[int, int]
    """Width and height in pixels."""


def overlays(
    truth: LabelledScan, prediction: Segmentation | None, format: Literal["png", "jpeg"] = "png"
) -> list[Picture]:
    """The planes through the middle of the structures; truth is drawn solid, the prediction dashed.

    Planes are those of the voxel grid nearest to axial, coronal and sagittal, shown as on a clinical workstation:
    the patient's right is on the left of the picture, anterior on the left of the sagittal plane, marked by letters
    where the file tells the orientation. A 2-D image gives one plane. Only the first channel is shown. All planes
    have one scale, true to millimetres in both directions.
    """
    planes = list(_planes(truth, prediction))
    widest, tallest = (max(sizes) for sizes in zip(*(plane.size_mm for plane in planes), strict=True))
    pixels_per_mm = LARGEST_PIXELS[len(planes)] / max(widest, tallest)
    window, marked = _window(planes), truth.scan.spacing_known
    return [_picture(plane, pixels_per_mm, window, marked, format) for plane in planes]


@dataclass(frozen=True, eq=False)
class _Plane:
    """One slice; the first axis runs along the picture, the second up."""

    view: str
    image: Float[np.ndarray, "x y"]
    truth: Int16[np.ndarray, "x y"]
    prediction: Int16[np.ndarray, "x y"]
    spacing: tuple[float, float]
    letters: str
    """What stands at the left, right, bottom and top of the picture."""

    @property
    def size_mm(self) -> tuple[float, float]:
        width, height = np.multiply(self.image.shape, self.spacing)
        return float(width), float(height)


_VIEWS = (("axial", 2, 0, 1, "RLPA"), ("coronal", 1, 0, 2, "RLIS"), ("sagittal", 0, 1, 2, "APIS"))
"""Axis through the plane, axes along and up the picture, letters."""


def _planes(truth: LabelledScan, prediction: Segmentation | None) -> Iterator[_Plane]:
    from nibabel.orientations import apply_orientation, io_orientation

    to_ras = io_orientation(truth.scan.affine)
    volumes = (truth.scan.voxels[0].cpu().float().numpy(), *comparable_labels(prediction, truth, truth.scan.name))
    image, predicted, true = (apply_orientation(volume, to_ras) for volume in volumes)
    spacing = np.empty(3)
    spacing[to_ras[:, 0].astype(int)] = truth.scan.grid.spacing
    middle = _middle((true > 0) | (predicted > 0))
    flat = [view for view in _VIEWS if image.shape[view[1]] == 1]
    for name, through, along, up, letters in flat[:1] or _VIEWS:
        cut = [np.take(volume, middle[through], axis=through)[::-1] for volume in (image, true, predicted)]
        view = name if truth.scan.spacing_known else "picture"
        yield _Plane(view, cut[0], cut[1], cut[2], (float(spacing[along]), float(spacing[up])), letters)


def _middle(mask: Bool[np.ndarray, "i j k"]) -> tuple[int, ...]:
    """Median position of the mask along each axis, which is always a slice that shows some of it."""
    if not mask.any():
        return tuple(size // 2 for size in mask.shape)
    others = ((1, 2), (0, 2), (0, 1))
    shares = (mask.sum(axis=axes).cumsum() / mask.sum() for axes in others)
    return tuple(int(np.searchsorted(share, 0.5)) for share in shares)


def _window(planes: Sequence[_Plane]) -> tuple[float, float]:
    """Grey values shown as black and white.

    Three interquartile ranges around the median, near the structures, keep soft tissue apart in CT, where air and bone
    would flatten it; the 0.5th and 99.5th percentile of the planes keep dark and bright images within their range.
    """
    near = np.concatenate([plane.image[_neighbourhood((plane.truth > 0) | (plane.prediction > 0))] for plane in planes])
    lowest, highest = np.percentile(np.concatenate([plane.image.ravel() for plane in planes]), [0.5, 99.5])
    first, median, third = np.percentile(near, [25, 50, 75])
    low, high = max(lowest, median - 3 * (third - first)), min(highest, median + 3 * (third - first))
    if low < high:
        return float(low), float(high)
    return float(lowest), float(max(highest, lowest + 1))


def _neighbourhood(mask: Bool[np.ndarray, "x y"]) -> Bool[np.ndarray, "x y"]:
    """The mask and a rim of a sixteenth of the picture around it; everything where it is empty."""
    from scipy.ndimage import distance_transform_cdt

    if not mask.any():
        return np.ones_like(mask)
    return np.asarray(distance_transform_cdt(~mask) <= max(mask.shape) // 16)


def _picture(
    plane: _Plane, pixels_per_mm: float, window: tuple[float, float], marked: bool, format: Literal["png", "jpeg"]
) -> Picture:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = (max(1, round(size * pixels_per_mm)) for size in plane.size_mm)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    FigureCanvasAgg(figure)
    _draw(figure.add_axes((0, 0, 1, 1)), plane, window, marked)
    file = io.BytesIO()
    sharp_colours = {"quality": 88, "subsampling": 0} if format == "jpeg" else {}
    figure.savefig(file, format=format, pil_kwargs=sharp_colours)
    return Picture(plane.view, format, file.getvalue(), (width, height))


def _draw(axes: "Axes", plane: _Plane, window: tuple[float, float], marked: bool) -> None:
    from matplotlib.patheffects import withStroke

    low, high = window
    width, height = plane.size_mm
    extent = (0.0, width, 0.0, height)
    axes.imshow(plane.image.T, cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent, aspect="auto")
    for labels, style in ((plane.truth, SOLID), (plane.prediction, DASHED)):
        sizes = np.bincount(labels.ravel())
        for index in np.argsort(-sizes, kind="stable"):  # small ones last: neighbours share a line
            if index > 0 and sizes[index]:
                _outline(axes, labels == index, plane.spacing, colour(int(index)), style)
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    if marked:
        places = [(0.04, 0.5), (0.96, 0.5)] + [(0.5, 0.05), (0.5, 0.95)] * (height > width / 4)
        for letter, (x, y) in zip(plane.letters, places, strict=False):
            text = axes.text(x, y, letter, color="white", fontsize=10, ha="center", va="center")
            text.set(transform=axes.transAxes, path_effects=[withStroke(linewidth=2, foreground="black")])


def _outline(
    axes: "Axes", mask: Bool[np.ndarray, "x y"], spacing: tuple[float, float], line_colour: str, style: LineStyle
) -> None:
    """The line half-way between voxel centres inside and outside."""
    from contourpy import contour_generator
    from matplotlib.collections import LineCollection

    padded = np.pad(mask, 1).astype(np.float64)
    lines = contour_generator(z=padded.T).lines(0.5)
    in_mm = [(np.asarray(line) - 0.5) * spacing for line in lines]  # padding moved centres by 1, they lie at +0.5
    axes.add_collection(LineCollection(in_mm, colors=line_colour, linestyles=[style], linewidths=1.3))
