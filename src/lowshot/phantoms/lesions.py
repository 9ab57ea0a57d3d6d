"""Lesions: round uneven bodies in random places of an organ."""

import numpy as np

from lowshot.phantoms.shapes import Ellipsoid, Shape, Vector
from lowshot.phantoms.variability import Variability

CANDIDATES = 500
"""Positions to choose from. An organ fills a few per cent of its box at least, so that some lie inside."""


def lesions(organ: Shape, own: Variability, count: tuple[int, int], radius_mm: tuple[float, float]) -> list[Shape]:
    """From ``count[0]`` to ``count[1]`` lesions of random radius, centred in the organ and kept inside it.

    The organ's box must be finite. Whether there are lesions at all is for the caller to ask.
    """
    generator = own.generator
    low, high = organ.box
    candidates = generator.uniform(low, high, size=(CANDIDATES, 3))
    centres = candidates[organ.distance(candidates.T.astype(np.float32)) < 0]
    number = int(generator.integers(count[0], count[1] + 1))
    return [_lesion(centre, generator.uniform(*radius_mm), own).within(organ) for centre in centres[:number]]


def _lesion(centre_mm: Vector, radius_mm: float, own: Variability) -> Shape:
    """An ellipsoid, not quite round, with a surface that is uneven by a tenth of its radius."""
    radii = radius_mm * own.generator.uniform(0.85, 1.15, size=3)
    ellipsoid = Ellipsoid(centre_mm, radii, own.axes(spread_degrees=40.0))
    return ellipsoid.uneven(own.noise(1.5 * radius_mm, 3.0 * radius_mm), 0.1 * radius_mm)
