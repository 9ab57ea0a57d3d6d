"""The lesion of a breast: a smooth ellipse that pushes tissue aside, or a carcinoma that grows into it."""

from dataclasses import dataclass

import numpy as np

from lowshot.phantoms.shapes import Ellipsoid, Shape, Tube, mm
from lowshot.phantoms.variability import Variability

PROBABILITY = {"carcinoma": 0.45, "cyst": 0.3}
"""Of the rarer kinds, where subjects differ in full; see ``Variability.happens``. All others are fibroadenomas."""


@dataclass(frozen=True, eq=False)
class Lesion:
    """What is to be found."""

    kind: str
    """fibroadenoma, cyst or carcinoma."""
    shape: Shape
    margin_mm: float
    """Over how many mm it fades into what lies around it."""


def lesion(breast: Variability) -> Lesion:
    """Somewhere in the glandular tissue, from a tenth to two fifths as wide as a picture of 40 mm."""
    own = breast.of("lesion")
    width = 9.0 * own.factor(0.3)
    centre = mm(4.4, 2.2, 0.8) * own.shift(1.0) - mm(0, 14.0 + 0.1 * width, 0)
    if own.of("carcinoma").happens(PROBABILITY["carcinoma"]):
        height = 0.95 * width * own.factor(0.15)
        core = Ellipsoid(centre, mm(0.5, 0, 0.5) * width + mm(0, 0.5, 0) * height, own.axes(spread_degrees=15.0))
        return Lesion("carcinoma", _infiltrating(core, own), 1.2 * own.factor(0.4))
    height = 0.62 * width * own.factor(0.12)
    core = Ellipsoid(centre, mm(0.5, 0, 0.5) * width + mm(0, 0.5, 0) * height, own.axes(spread_degrees=6.0), 2.2)
    if own.of("cyst").happens(PROBABILITY["cyst"]):
        return Lesion("cyst", core, 0.3)
    gentle = core.uneven(own.noise(0.5 * width, 1.2 * width), 0.03 * width * own.amount)
    return Lesion("fibroadenoma", gentle, 0.6 * own.factor(0.4))


def _infiltrating(core: Ellipsoid, own: Variability) -> Shape:
    """Lobulated, and mostly with spicules that reach out into the tissue."""
    width = 2 * float(core.radii_mm[0])
    whole = core.uneven(own.noise(0.4 * width, 0.9 * width), 0.07 * width)
    spicules, along = own.of("spicules").generator, np.linspace(0.0, 1.0, 50)
    for turn in np.arange(spicules.integers(0, 10)) * 2.4 + spicules.uniform(0, 6):  # the golden angle: all around
        outward = core.axes @ (core.radii_mm * mm(np.cos(turn), np.sin(turn), spicules.normal(0.0, 0.1)))
        bend = 0.08 * width * spicules.normal(size=3) * mm(1, 1, 0)
        reach = spicules.uniform(1.3, 1.8)
        course = core.centre_mm + np.outer(0.6 + (reach - 0.6) * along, outward) + np.outer(along**2, bend)
        whole = whole.joined(Tube(course, width * (0.11 - 0.08 * along)), blend_mm=0.12 * width)
    return whole
