"""Box plots of Dice: a panel for each structure, in it a box for each system."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lowshot.reporting.palette import colour
from lowshot.reporting.panels import figure_of_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
WIDTH, MARGIN, LINE = 2.6, 0.9, 0.26
"""Of a panel; above and below its boxes; of a box: in inches."""


def dice_boxes(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> "Figure":
    """Median, quartiles, whiskers to the farthest score within 1.5 box lengths, and every score as a dot.

    Args:
        scores: Dice by structure and then by system; NaN is left out. A system may lack a structure.
    """
    systems = list(dict.fromkeys(system for by_system in scores.values() for system in by_system))
    size = (WIDTH, MARGIN + LINE * len(systems))
    figure, panels = figure_of_panels(len(scores), COLUMNS, size, around=(2.0, 0.0), sharex=True, sharey=True)
    for panel, (structure, by_system) in zip(panels, scores.items(), strict=True):
        _draw(panel, [by_system.get(system, ()) for system in systems])
        panel.set_title(structure, fontsize=9)
        panel.set_xlabel("Dice", fontsize=8)
    panels[0].set(yticks=range(len(systems)), yticklabels=systems, xlim=(-0.03, 1.03))
    panels[0].invert_yaxis()
    for panel in panels:
        panel.tick_params(labelsize=8, labelbottom=True)
    return figure


def _draw(panel: "Axes", by_system: Sequence[Sequence[float]]) -> None:
    for place, values in enumerate(by_system):
        defined = np.array([value for value in values if not np.isnan(value)])
        if not defined.size:
            continue
        panel.boxplot(
            defined,
            positions=[place],
            orientation="horizontal",
            widths=0.6,
            showfliers=False,
            manage_ticks=False,
            patch_artist=True,
            boxprops={"facecolor": colour(place + 1), "alpha": 0.55},
            medianprops={"color": "black", "linewidth": 1.5},
        )
        panel.plot(defined, np.full(defined.size, place), "o", markersize=2.5, color="black", alpha=0.6)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
