"""Predicted against true volumes of one system, as Bland and Altman draw them: a panel for each structure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lowshot.evaluation.agreement import limits_of_agreement
from lowshot.reporting.panels import figure_of_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
DOT, LINE = "#0072b2", "#d55e00"
Volumes = Sequence[tuple[float, float]]
"""Predicted and true, of each scan."""


def volume_agreement(by_structure: Mapping[str, Volumes], unit: str) -> "Figure":
    """Predicted minus true volume over the mean of both, with the bias and the limits of agreement."""
    figure, panels = figure_of_panels(len(by_structure), COLUMNS, (2.9, 2.5), around=(0.5, 0.4))
    for panel, (structure, volumes) in zip(panels, by_structure.items(), strict=True):
        _draw(panel, volumes, unit)
        panel.set_title(f"{structure}\n{panel.get_title()}", fontsize=8)
    figure.supxlabel(f"mean of predicted and true volume ({unit})", fontsize=9)
    figure.supylabel(f"predicted − true volume ({unit})", fontsize=9)
    return figure


def _draw(panel: "Axes", volumes: Volumes, unit: str) -> None:
    predicted, true = np.array(volumes, dtype=np.float64).T
    found = limits_of_agreement(predicted.tolist(), true.tolist())
    panel.axhline(0, color="0.6", linewidth=0.8)
    panel.axhline(found.bias, color=LINE, linewidth=1.5)
    words = f"bias {found.bias:+.3g} {unit}, n = {found.n}"
    if not np.isnan(found.lower):
        for limit in (found.lower, found.upper):
            panel.axhline(limit, color=LINE, linewidth=1.2, linestyle="--")
        words += f"\nlimits {found.lower:+.3g} to {found.upper:+.3g}"
    panel.plot((predicted + true) / 2, predicted - true, "o", color=DOT, markersize=4, alpha=0.8)
    panel.set_title(words)
    panel.tick_params(labelsize=7)
