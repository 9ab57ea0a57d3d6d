"""Dice over what it cost: over minutes of training, or over the number of annotated scans."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowshot.reporting.palette import colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "osD^vP<X>*pdh8H"
"""Shapes tell systems apart too, where colours do not."""


@dataclass(frozen=True)
class Reached:
    """What a system reaches at one cost."""

    cost: float
    dice: float
    spread: float
    """Above and below; NaN where it is not defined."""


def dice_over(systems: Sequence[tuple[str, Sequence[Reached]]], across: str, *, whole: bool = False) -> "Figure":
    """Points with their spread; those of one system are joined.

    Args:
        systems: name, and points by rising cost.
        across: label of the axis of costs, with its unit.
        whole: whether costs are whole numbers, each with a tick of its own.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, max(3.6, 0.2 * len(systems) + 1)), layout="constrained", facecolor="white")
    panel = figure.subplots()
    for number, (name, points) in enumerate(systems):
        panel.errorbar(
            [point.cost for point in points],
            [point.dice for point in points],
            yerr=[0 if math.isnan(point.spread) else point.spread for point in points],
            label=name,
            color=colour(number + 1),
            marker=MARKERS[number % len(MARKERS)],
            markeredgecolor="black",
            markeredgewidth=0.5,
            linewidth=1.2,
            capsize=2,
        )
    costs = sorted({point.cost for _, points in systems for point in points})
    if whole:
        panel.set_xticks(costs)
    else:
        panel.set_xlim(0, 1.08 * max(costs) or 1)
    panel.set(xlabel=across, ylabel="Dice")
    panel.grid(color="0.9")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure
