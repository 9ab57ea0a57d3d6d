"""An annotated scan as several systems lay it upon another one, beside that one: LT-Net's Fig. 3."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lowshot.imaging.scan import LabelledScan
from lowshot.reporting.figures import grey_window
from lowshot.reporting.outlines import outline_all
from lowshot.reporting.slices import Slice, middle_slices

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 2.6, 3.0
"""Of a panel, in inches."""


def picture(atlas: LabelledScan, query: LabelledScan, warped: Sequence[tuple[str, LabelledScan]]) -> "Figure":
    """A column for each: the atlas as it is, as each system lays it upon the query, and the query; one row per plane.

    Planes are those through the middle of the query's structures (of the atlas's own, for the atlas). Outlines are the
    copied labels, and the truth on atlas and query.

    Args:
        atlas: the annotated scan.
        query: with its truth.
        warped: title, and the atlas's image and labels on the query's grid.
    """
    from matplotlib.figure import Figure

    (own,) = middle_slices(atlas)
    there, *laid = middle_slices(query, [each for _, each in warped])
    columns = [(f"atlas {atlas.scan.name}", own)]
    columns += [(title, planes) for (title, _), planes in zip(warped, laid, strict=True)]
    columns.append((f"query {query.scan.name}", there))
    rows = len(there)
    figure = Figure(figsize=(WIDTH * len(columns), HEIGHT * rows), layout="constrained", facecolor="black")
    panels = figure.subplots(rows, len(columns), squeeze=False)
    for column, (title, planes) in enumerate(columns):
        window = grey_window(planes)
        panels[0, column].set_title(title, color="white", fontsize=9)
        for row, plane in enumerate(planes):
            _draw(panels[row, column], plane, window)
    return figure


def _draw(panel: "Axes", plane: Slice, window: tuple[float, float]) -> None:
    low, high = window
    across, down = plane.spacing_mm[1], plane.spacing_mm[0]
    panel.imshow(plane.image, cmap="gray", vmin=low, vmax=high, aspect=down / across, interpolation="bilinear")
    outline_all(panel, plane.truth, width=0.8)
    panel.set(xticks=[], yticks=[], facecolor="black")
