"""Cerebellum and brain stem."""

import numpy as np

from lowshot.phantoms.brain.folds import Folded, Sulci
from lowshot.phantoms.noise import SmoothNoise
from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Ellipsoid, Shape, Tube, mm
from lowshot.phantoms.variability import Variability

FOLIA = SmoothNoise.draw(np.random.default_rng(1909), (7.0, 10.0), waves=16)
"""The fine folds of the cerebellum, which run from left to right."""


def cerebellar_hull(variability: Variability) -> Shape:
    """Two hemispheres and the vermis, without their folia."""
    own = variability.of("cerebellum")
    size, origin = own.factor(0.05), own.shift(1.5) + mm(0, -64, -37)
    left, right = (Ellipsoid(origin + mm(side * 24, 0, 0), size * mm(31, 28, 22), exponent=2.2) for side in (-1, 1))
    vermis = Ellipsoid(origin + mm(0, 2, 3), size * mm(15, 26, 24))
    return left.joined(right, blend_mm=6.0).joined(vermis, blend_mm=6.0)


def cerebellum(hull: Shape, variability: Variability) -> list[Part]:
    """Folded cortex around a tree of white matter, all one structure, joined to the pons by its peduncles."""
    own = variability.of("cerebellum")
    waves = FOLIA.wave_vectors * np.array([0.2, 1.0, 1.0], dtype=np.float32)
    folia = Sulci(mm(0, -54, -36), mm(50, 32, 22), SmoothNoise(waves, FOLIA.phases))
    folded = Folded(hull, folia, hull.grown(-7.0), width_mm=0.9)
    tree = Folded(hull.grown(-2.5), folia, hull.grown(-11.5), width_mm=4.5).uneven(
        own.noise(15.0, 30.0), 0.8 * own.amount
    )
    peduncles = [
        Tube.through([(side * 12, -28, -30), (side * 17, -44, -34), (side * 20, -58, -36)], 5.5) for side in (-1, 1)
    ]
    return [
        Part("cerebellar cortex", folded, "cerebellum"),
        Part("white matter", tree, "cerebellum"),
        *(Part("white matter", peduncle, "cerebellum") for peduncle in peduncles),
    ]


def brain_stem(variability: Variability) -> list[Part]:
    """Midbrain, pons with its belly, medulla; around them the cisterns. Below the skull it goes on as spinal cord."""
    own = variability.of("brain stem")
    knots = own.moved([(0, -19, -8), (0, -27, -20), (0, -31, -36), (0, -39, -54), (0, -44, -70)], 1.0, 0.8)
    size = own.factor(0.05)
    stem = Tube.through(knots, size * np.array([11.5, 11.5, 12.0, 8.5, 6.5]))
    pons = Ellipsoid(mm(0, -23, -30) + own.shift(0.8), size * mm(16, 10, 12.5))
    whole = stem.joined(pons, blend_mm=5.0)
    cord = Tube.through([knots[-1], (0, -47, -95), (0, -50, -150)], [6.5, 5.5, 5])
    return [
        Part("cerebrospinal fluid", cord.grown(4.5)),
        Part("cerebrospinal fluid", whole.grown(3.5)),
        Part("brain stem", cord),
        Part("brain stem", whole, "brain stem"),
    ]
