"""Slices of segmented scans in a grid: a row for each system; prediction as colour, truth as outlines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowshot.imaging.scan import LabelledScan, Segmentation
from lowshot.reporting.figures import grey_window, rgba
from lowshot.reporting.outlines import outline_all
from lowshot.reporting.palette import colour
from lowshot.reporting.slices import Slice, telling_slices

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 2.6
"""Of a panel, in inches."""
OPACITY = 0.45


@dataclass(frozen=True, eq=False)
class SegmentedSlice:
    """What is shown of one scan: the axial slice where most Dice is lost, or the only one."""

    title: str
    shown: Slice
    names: tuple[str, ...]
    """Of the truth's indices."""

    @classmethod
    def of(cls, title: str, truth: LabelledScan, prediction: Segmentation) -> "SegmentedSlice":
        """Volumes are let go of, so that many scans can stand in one picture.

        Raises:
            GridMismatch: prediction and truth do not share one grid.
            UnknownLabel: they have no structure name in common.
        """
        return cls(title, telling_slices(truth, prediction)[0], truth.truth.names.names)


def query_pictures(systems: Sequence[tuple[str, Sequence[SegmentedSlice]]]) -> "Figure":
    """One row for each system; all rows have equally many slices."""
    from matplotlib.figure import Figure

    columns = len(systems[0][1])
    figure = Figure(figsize=(SIDE * columns + 1.8, (SIDE + 0.35) * len(systems)), layout="constrained")
    figure.set_facecolor("white")
    panels = figure.subplots(len(systems), columns, squeeze=False)
    for row, (name, slices) in zip(panels, systems, strict=True):
        row[0].set_ylabel(name, fontsize=9)
        for panel, each in zip(row, slices, strict=True):
            _draw(panel, each)
    _legend(figure, [each for _, slices in systems for each in slices])
    return figure


def _draw(panel: "Axes", each: SegmentedSlice) -> None:
    low, high = grey_window([each.shown])
    down, across = each.shown.spacing_mm
    panel.imshow(each.shown.image, cmap="gray", vmin=low, vmax=high, aspect=down / across, interpolation="bilinear")
    colours = np.zeros((int(each.shown.prediction.max()) + 1, 4), dtype=np.uint8)
    for index in np.unique(each.shown.prediction[each.shown.prediction > 0]):
        colours[index] = rgba(colour(int(index)))
    colours[1:, 3] = (colours[1:, 3] * OPACITY).astype(np.uint8)
    panel.imshow(colours[each.shown.prediction], aspect=down / across, interpolation="nearest")
    outline_all(panel, each.shown.truth)
    panel.set(xticks=[], yticks=[], facecolor="black")
    panel.set_title(each.title, fontsize=8)


def _legend(figure: "Figure", slices: Sequence[SegmentedSlice]) -> None:
    from matplotlib.patches import Patch

    found: dict[int, str] = {}
    for each in slices:
        for index in np.unique([*np.unique(each.shown.truth), *np.unique(each.shown.prediction)]):
            found.setdefault(int(index), each.names[int(index)])
    handles = [Patch(color=colour(index), label=name) for index, name in sorted(found.items()) if index]
    if handles:
        figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8)
