"""Whether a scan is as large as those a model was shown, and cut as they are: what headers tell of a mix-up."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan

MOST_TIMES = 4.0
"""Cuts of one part of the body differ by less; a slice for a volume, or metres for millimetres, by more. Our choice."""
LEAST_COSINE = 0.7
"""Between directions of slices: oblique slices of one kind differ by less than 45°, axial and coronal ones by 90°."""


def placement(scan: Scan) -> dict[str, Any] | None:
    """Sides in mm along the scan's axes, and the direction in which slices follow; None where its file does not tell.

    Plain JSON values, which stand in a model file.
    """
    if not scan.spacing_known:
        return None
    grid = scan.grid
    sides = [round(size * mm, 3) for size, mm in zip(grid.shape, grid.spacing, strict=True)]
    return {"sides_mm": sides, "slices_along": _direction(scan)}


def unlike_shown(scan: Scan, shown: Sequence[Any], preparation: Preparation) -> Iterator[str]:
    """Sentences about a scan that is unlike all that the model was shown.

    Sides are compared in order of length, as scans lie in many ways; of what looks at one slice at a time, a slice's,
    and there slices must follow each other in the same direction, or the opposite one.

    Args:
        scan: to be segmented.
        shown: ``placement`` of each annotated scan, as a model file has them; what is none is passed over.
        preparation: the model's.
    """
    known = [each for each in shown if _is_placement(each)]
    own = placement(scan)
    if own is None or not known:
        return
    axes = 2 if preparation.orientation == "in-plane" else 3
    sides, theirs = own["sides_mm"], [each["sides_mm"] for each in known]
    if not _about_as_large(sides, theirs, axes):
        told, other = (" × ".join(f"{mm:.4g}" for mm in each[:axes]) for each in (sides, theirs[0]))
        yield (
            f"it measures {told} mm, the annotated scan {other} mm: a slice, another body part, or another unit? "
            "Do not trust the result"
        )
    if axes == 2:
        yield from cut_otherwise(scan, known)


def cut_otherwise(scan: Scan, shown: Sequence[Any]) -> Iterator[str]:
    """A sentence about a scan whose slices lie in another plane than those of all these.

    Args:
        scan: of which slices are looked at.
        shown: ``placement`` of each annotated scan; what is none is passed over.
    """
    known, own = [each for each in shown if _is_placement(each)], placement(scan)
    if own is None or not known:
        return
    nearest = max(abs(float(np.dot(own["slices_along"], each["slices_along"]))) for each in known)
    if nearest < LEAST_COSINE:
        yield (
            f"its slices lie in another plane than those of the annotated scan "
            f"({math.degrees(math.acos(nearest)):.0f}° apart), and this method looks at one slice at a time: give "
            "scans that are cut in the same plane"
        )


def _about_as_large(own: Sequence[float], shown: Sequence[Sequence[float]], axes: int) -> bool:
    each_shown = zip(*(sorted(each[:axes]) for each in shown), strict=True)
    return all(
        min(theirs) / MOST_TIMES <= side <= max(theirs) * MOST_TIMES
        for theirs, side in zip(each_shown, sorted(own[:axes]), strict=True)
    )


def _direction(scan: Scan) -> list[float]:
    """Unit normal of the slices' plane, which a tilted gantry's slices do not follow each other along."""
    along, across = scan.grid.affine[:3, 0], scan.grid.affine[:3, 1]
    normal = np.cross(along, across)
    return [round(float(each), 4) for each in normal / np.linalg.norm(normal)]


def _is_placement(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    sides, along = value.get("sides_mm"), value.get("slices_along")
    return _are_three(sides) and _are_three(along) and min(sides) > 0


def _are_three(value: object) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(each, float) for each in value)
