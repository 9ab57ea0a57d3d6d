"""Places in a chart, in per cent of its width and height, so that a page can draw it at any width."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

WHOLE = (2.0, 98.0)
"""Per cent of a chart that an axis spans: a dot at its end is still seen as a whole."""


@dataclass(frozen=True)
class Axis:
    """A linear scale from ``low`` to ``high`` over ``span`` per cent of the chart."""

    low: float
    high: float
    ticks: tuple[float, ...]
    span: tuple[float, float] = WHOLE

    @classmethod
    def covering(cls, values: Sequence[float], ticks: int, span: tuple[float, float] = WHOLE) -> "Axis":
        """From and to round numbers around the values, with about so many ticks."""
        from matplotlib.ticker import MaxNLocator

        low, high = min(values), max(values)
        if low == high:
            low, high = low - 1, high + 1
        places = MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        return cls(float(places[0]), float(places[-1]), tuple(float(place) for place in places), span)

    def at(self, value: float) -> float:
        """Per cent of the chart; what is outside of the axis is placed at its end."""
        start, end = self.span
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(start + share * (end - start), 2)

    def down(self, value: float) -> float:
        """Per cent from the top, where this axis points up."""
        return round(100 - self.at(value), 2)


@dataclass(frozen=True)
class Dot:
    """One score in a chart."""

    x: float
    y: float
    """Per cent from the left and from the top."""
    case: str
    words: str
    kind: Literal["scored", "missed", "beyond"] = "scored"
    """missed: prediction or truth is empty. beyond: farther out than the axis goes."""
