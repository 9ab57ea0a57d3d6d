"""The two hemispheres: folded cortex, white matter, and the corpus callosum between them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lowshot.phantoms.brain import pathology
from lowshot.phantoms.brain.folds import Folded, Sulci
from lowshot.phantoms.noise import SmoothNoise
from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Ellipsoid, HalfSpace, Shape, Tube, mm
from lowshot.phantoms.variability import Variability

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")

SHARED_PATTERN = SmoothNoise.draw(np.random.default_rng(2020), (18.0, 27.0), waves=16)
"""The sulci that all brains have in common, of the right side."""


@dataclass(frozen=True, eq=False)
class Hemisphere:
    """One half of the cerebrum."""

    side: Side
    pial: Shape
    """All that the pia covers: cortex and what it holds."""
    white: Shape
    """The inside of the cortex."""


def sign(side: Side) -> int:
    """Of x on this side."""
    return 1 if side == "right" else -1


def half(side: Side, gap_mm: float = 0.0) -> HalfSpace:
    """What lies on this side of the midline, and at least ``gap_mm`` from it."""
    return HalfSpace(mm(sign(side) * gap_mm, 0, 0), outward=mm(-sign(side), 0, 0))


def hull(variability: Variability) -> Shape:
    """The cerebrum without its sulci: a dome with a flat base, and the temporal lobes below it."""
    own = variability.of("lobes")
    dome = Ellipsoid(mm(0, -16, 13), mm(66, 85, 61), exponent=2.3)
    base = HalfSpace(mm(0, 0, -17), outward=mm(0, 0.1, -1))
    whole = dome.within(base, blend_mm=22.0)
    for side in (-1, 1):
        course = mm(side, 1, 1) * own.moved([(42, 16, -26), (49, -8, -26), (50, -34, -18), (44, -62, -6)], 1.5, 1.5)
        whole = whole.joined(Tube.through(course, own.factor(0.04) * np.array([14, 18, 18, 16])), blend_mm=10.0)
    return whole


def hemisphere(side: Side, around: Shape, variability: Variability, widened_mm: float) -> Hemisphere:
    """One hemisphere inside the hull; ``widened_mm`` is what atrophy adds to the width of its sulci."""
    own = variability.of(f"{side} hemisphere")
    outward = mm(sign(side), 1, 1)
    fissure = Ellipsoid(outward * mm(54, -6, 1), mm(19, 36, 1.3 + widened_mm / 2), own.axes(-24.0, spread_degrees=4.0))
    insula = Ellipsoid(outward * mm(39, -1, 2), mm(1.6 + widened_mm / 2, 19, 12), own.axes(-24.0, spread_degrees=4.0))
    gap = 0.9 + widened_mm / 4
    smooth = around.within(half(side, gap), blend_mm=4.0).minus(fissure, blend_mm=2.0).minus(insula)
    depth = own.factor(0.08)
    deep = around.grown(-17.0 * depth).within(half(side, gap + 10.0 * depth), blend_mm=6.0)
    pial = Folded(smooth, _sulci(side, own), deep, width_mm=1.5 + widened_mm)
    return Hemisphere(side, pial, pial.grown(-2.6 * variability.of("cortex").factor(0.06)))


def _sulci(side: Side, own: Variability) -> Sulci:
    """The shared pattern with its waves moved: some of the sulci run as in other brains, some do not."""
    outward = mm(sign(side), 1, 1)
    phases = SHARED_PATTERN.phases + np.array([own.by(0.9) for _ in SHARED_PATTERN.phases], dtype=np.float32)
    pattern = SmoothNoise(SHARED_PATTERN.wave_vectors * outward.astype(np.float32), phases)
    return Sulci(outward * mm(28, -16, 8), mm(40, 80, 58), pattern)


def layers(hemisphere: Hemisphere) -> list[Part]:
    """Cortex, white matter inside it, and that around the deep nuclei, which has no cortex at the midline."""
    side, white = hemisphere.side, f"{hemisphere.side} cerebral white matter"
    core = Ellipsoid(mm(0, -8, 6), mm(30, 33, 19))
    return [
        Part("grey matter", hemisphere.pial, f"{side} cerebral cortex"),
        Part("white matter", hemisphere.white, white),
        Part("white matter", core.joined(corpus_callosum()).within(half(side)), white),
    ]


def corpus_callosum() -> Shape:
    """An arch over ventricles and thalami, from genu to splenium."""
    outer = Ellipsoid(mm(0, -6, 2), mm(30, 42, 27), exponent=2.2)
    inner = Ellipsoid(mm(0, -6, -3), mm(60, 34, 25), exponent=2.2)
    return outer.minus(inner, blend_mm=3.0).within(HalfSpace(mm(0, 0, 0), outward=mm(0, 0, -1)), blend_mm=4.0)


def lesions(hemisphere: Hemisphere, ventricle: Shape, variability: Variability) -> list[Part]:
    """What ails this hemisphere: white-matter lesions around the ventricle, an old infarct of the cortex."""
    own, white = variability.of(f"{hemisphere.side} hemisphere"), f"{hemisphere.side} cerebral white matter"
    around = ventricle.grown(10.0).within(hemisphere.white.grown(-1.0))
    parts = [
        Part("white matter lesion", spot, white) for spot in pathology.white_matter_lesions(around, variability, own)
    ]
    for infarct in pathology.cortical_infarcts(mm(sign(hemisphere.side), 1, 1) * mm(28, -16, 10), own):
        cortex, below = infarct.within(hemisphere.pial), infarct.within(hemisphere.white)
        parts += [Part("infarct", cortex, f"{hemisphere.side} cerebral cortex"), Part("infarct", below, white)]
    return parts
