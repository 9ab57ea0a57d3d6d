"""Structures of a slice as lines in their colours."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from lowshot.reporting.palette import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def outline_all(panel: "Axes", labels: Int[np.ndarray, "rows columns"], width: float = 1.0) -> None:
    """Every structure but the background."""
    for index in np.unique(labels[labels > 0]):
        outline(panel, labels == index, int(index), width)


def outline(
    panel: "Axes",
    mask: Bool[np.ndarray, "rows columns"] | Float[np.ndarray, "rows columns"],
    index: int,
    width: float = 1.0,
) -> None:
    """One structure in its colour, also where the border of the slice cuts it off; of shares the line at a half."""
    framed = np.pad(mask, 1)
    across, down = (np.arange(-1, size + 1) for size in mask.shape[::-1])
    panel.contour(across, down, framed, levels=[0.5], colors=[colour(index)], linewidths=width)
