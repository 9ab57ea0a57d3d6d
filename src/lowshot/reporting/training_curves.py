"""The terms of the loss over the steps of a training: a panel for each system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowshot.reporting.palette import colour
from lowshot.reporting.panels import figure_of_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3


@dataclass(frozen=True)
class Curve:
    """One term of the loss in one stage."""

    stage: str
    term: str
    steps: tuple[int, ...]
    """Counted from the beginning of the stage."""
    values: tuple[float, ...]


def training_curves(systems: Mapping[str, Sequence[Curve]]) -> "Figure":
    """Stages follow each other along the axis of steps, with a dotted line where the next one begins."""
    figure, panels = figure_of_panels(len(systems), COLUMNS, (3.8, 2.7))
    for panel, (system, curves) in zip(panels, systems.items(), strict=True):
        _draw(panel, curves)
        panel.set_title(system, fontsize=9)
        panel.set_xlabel("step", fontsize=8)
        panel.set_ylabel("loss", fontsize=8)
    return figure


def _draw(panel: "Axes", curves: Sequence[Curve]) -> None:
    terms = list(dict.fromkeys(curve.term for curve in curves))
    before = 0
    for stage in dict.fromkeys(curve.stage for curve in curves):
        own = [curve for curve in curves if curve.stage == stage]
        if before:
            panel.axvline(before, color="0.5", linestyle=":", linewidth=0.8)
        for curve in own:
            number = terms.index(curve.term)
            style = ("-", "--", "-.", ":")[number % 4]
            label = "_" if before and any(c.term == curve.term for c in curves if c.stage != stage) else curve.term
            steps = [before + step for step in curve.steps]
            alone = "o" if len(steps) == 1 else None  # no line leads through a single point
            panel.plot(steps, curve.values, style, marker=alone, color=colour(number + 1), linewidth=1.2, label=label)
        before += max(curve.steps[-1] for curve in own)
    panel.grid(color="0.92")
    panel.tick_params(labelsize=7)
    panel.legend(fontsize=6, frameon=False)
