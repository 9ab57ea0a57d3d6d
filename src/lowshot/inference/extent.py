"""Whether a scan is about as large as those a model was shown: if not, it is another part of the body, or unit."""

from collections.abc import Sequence
from typing import Any

from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan

MOST_TIMES = 4.0
"""Cuts of one part of the body differ by less; a slice for a volume, or metres for millimetres, by more. Our choice."""


def extent_mm(scan: Scan) -> list[float] | None:
    """How long the scan is along each of its axes; None where its file does not tell."""
    if not scan.spacing_known:
        return None
    return [round(size * mm, 3) for size, mm in zip(scan.grid.shape, scan.grid.spacing, strict=True)]


def unlike_shown(scan: Scan, shown: Sequence[Any], preparation: Preparation) -> str | None:
    """A sentence about a scan that is far larger or smaller than all that the model was shown; None about others.

    Sides are compared in order of length, as scans lie in many ways; of what looks at one slice at a time, a slice's.

    Args:
        scan: to be segmented.
        shown: ``extent_mm`` of each annotated scan, as a model file has them; what is none is passed over.
        preparation: the model's.
    """
    axes = 2 if preparation.orientation == "in-plane" else 3
    own, known = extent_mm(scan), [sides for sides in shown if _are_sides(sides)]
    if own is None or not known:
        return None
    sides = sorted(own[:axes])
    each_shown = list(zip(*(sorted(each[:axes]) for each in known), strict=True))
    if all(min(a) / MOST_TIMES <= b <= max(a) * MOST_TIMES for a, b in zip(each_shown, sides, strict=True)):
        return None
    told, other = (" × ".join(f"{mm:.4g}" for mm in each[:axes]) for each in (own, known[0]))
    return (
        f"it measures {told} mm, the annotated scan {other} mm: a slice, another part of the body, or another unit? Do "
        "not trust the Dice that is expected"
    )


def _are_sides(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(mm, float) and mm > 0 for mm in value)
