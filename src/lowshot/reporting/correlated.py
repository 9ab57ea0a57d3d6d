"""A query's maps before and after they have learned of the example, beside both slices: GCN-DE's Fig. 4."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from lowshot.imaging.grid import Affine
from lowshot.reporting.outlines import outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("before", "after", "what it adds")
SIDE = 2.9
"""Of a panel, in inches."""
DARKEST, BRIGHTEST = 0.5, 99.5
"""Percentiles of a slice that are shown as black and white."""


@dataclass(frozen=True, eq=False)
class MarkedSlice:
    """A slice as the network sees it, and what is marked in it."""

    title: str
    image: Float[np.ndarray, "i j"]
    marked: Float[np.ndarray, "i j"]
    """From 0 to 1."""
    affine: Affine
    """From its voxels to RAS+ world mm."""


class Stage(NamedTuple):
    """Means over channels of the query's maps."""

    before: Float[np.ndarray, "h w"]
    after: Float[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class CorrelatedMaps:
    """What one system makes of one query slice."""

    system: str
    query: MarkedSlice
    example: MarkedSlice
    stages: Sequence[Stage]
    """From the finest."""


def picture(systems: Sequence[CorrelatedMaps]) -> "Figure":
    """Two rows for each system: the query, then the example, and beside each the maps of one stage.

    Maps before and after share their colours; what is added has its own, grey where it is nothing. Outlines are the
    truth of the query and the mask of the example. Slices lie as on a clinical workstation.
    """
    from matplotlib.figure import Figure

    size = (SIDE * (1 + len(COLUMNS)), 2 * SIDE * len(systems))
    figure = Figure(figsize=size, layout="constrained", facecolor="black")
    panels = figure.subplots(2 * len(systems), 1 + len(COLUMNS), squeeze=False)
    for panel in panels.ravel():
        panel.axis("off")
    for n, each in enumerate(systems):
        ours = panels[2 * n : 2 * n + 2]
        for row, (marked, panel) in enumerate(zip((each.query, each.example), ours[:, 0], strict=True)):
            _slice(panel, marked)
            _title(panel, marked.title if row else f"{each.system}\n{marked.title}")
        for number, (stage, row) in enumerate(zip(each.stages, ours, strict=True), start=1):
            _stage(row[1:], stage, each.query, number)
    return figure


def as_seen(plane: Float[np.ndarray, "i j"], affine: Affine) -> Float[np.ndarray, "rows columns"]:
    """A slice as it is looked at: the patient's right is on the left, front or head on top.

    Args:
        plane: its axes run nearest to two of right, front and head, in this order, forwards or backwards.
        affine: of its voxels.
    """
    directions = affine[:3, :2].T
    forward = [axis for axis, each in enumerate(directions) if each[np.abs(each).argmax()] > 0]
    return np.flip(plane, forward).T


def _stage(panels: Sequence["Axes"], stage: Stage, query: MarkedSlice, number: int) -> None:
    added = stage.after - stage.before
    lowest, highest = min(each.min() for each in stage), max(each.max() for each in stage)
    most = float(np.abs(added).max())
    shown = ((stage.before, "viridis", lowest, highest), (stage.after, "viridis", lowest, highest))
    for panel, title, (maps, colours, low, high) in zip(
        panels, COLUMNS, (*shown, (added, "coolwarm", -most, most)), strict=True
    ):
        cells = " × ".join(str(size) for size in maps.shape)
        _title(panel, f"stage {number}, {title} ({cells})" if title == COLUMNS[0] else title)
        drawn = panel.imshow(
            as_seen(maps, query.affine),
            cmap=colours,
            vmin=low,
            vmax=high,
            aspect=_aspect(query),
            extent=_extent(query),
            interpolation="nearest",
        )
        _outline(panel, query)
        if panel is not panels[0]:
            bar = panel.figure.colorbar(drawn, ax=panel, shrink=0.7, pad=0.02)
            bar.ax.tick_params(colors="white", labelsize=7)


def _slice(panel: "Axes", marked: MarkedSlice) -> None:
    low, high = np.percentile(marked.image, [DARKEST, BRIGHTEST])
    panel.imshow(
        as_seen(marked.image, marked.affine),
        cmap="gray",
        vmin=low,
        vmax=high,
        aspect=_aspect(marked),
        extent=_extent(marked),
        interpolation="bilinear",
    )
    _outline(panel, marked)


def _outline(panel: "Axes", marked: MarkedSlice) -> None:
    if marked.marked.max() > 0.5:
        outline(panel, as_seen(marked.marked, marked.affine), 1)


def _aspect(marked: MarkedSlice) -> float:
    across, down = np.linalg.norm(marked.affine[:3, :2], axis=0)
    return float(down / across)


def _extent(marked: MarkedSlice) -> tuple[float, float, float, float]:
    """That maps of any size lie upon the slice, in its pixels."""
    columns, rows = marked.image.shape
    return -0.5, columns - 0.5, rows - 0.5, -0.5


def _title(panel: "Axes", text: str) -> None:
    panel.set_title(text, color="white", fontsize=8)
