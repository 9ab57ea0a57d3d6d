"""A figure of equal panels in rows, as many as there is something to draw."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figure_of_panels(
    count: int, columns: int, size: tuple[float, float], around: tuple[float, float] = (0.0, 0.0), **shared: Any
) -> "tuple[Figure, list[Axes]]":
    """A figure on white and its panels, row by row; the last row may have fewer.

    Args:
        count: how many panels, at least one
        columns: the most in a row
        size: width and height of a panel, in inches
        around: what the figure is wider and higher than its panels, in inches
        shared: for matplotlib's ``Figure.subplots``, such as ``sharex``
    """
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    whole = (size[0] * columns + around[0], size[1] * rows + around[1])
    figure = Figure(figsize=whole, layout="constrained", facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False, **shared).ravel().tolist()
    for panel in panels[count:]:
        panel.remove()
    return figure, panels[:count]
