"""What lies inside the hemispheres: ventricles, deep nuclei, hippocampus."""

import numpy as np

from lowshot.phantoms.brain import pathology
from lowshot.phantoms.brain.cerebrum import Side, sign
from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Ellipsoid, Shape, Tube, Vector, mm
from lowshot.phantoms.variability import Variability


def lateral_ventricle(side: Side, variability: Variability, dilation: float) -> Shape:
    """A C from the frontal horn over the thalamus into the temporal horn, with an occipital horn."""
    own = variability.of(f"{side} lateral ventricle")
    course = [(12, 28, 1), (10, 10, 13), (13, -14, 19), (25, -37, 15), (33, -34, -5), (32, -14, -16)]
    knots = mm(sign(side), 1, 1) * own.moved(course, 0.8, 0.8)
    width = dilation * variability.of("ventricles").factor(0.18) * own.factor(0.07)
    body = Tube.through(knots, width * np.array([3.8, 5.0, 4.6, 6.5, 3.0, 2.0]))
    occipital = Tube.through([knots[3], mm(sign(side) * 25, -52, 9), mm(sign(side) * 22, -68, 5)], width * mm(6, 4, 2))
    return body.joined(occipital, blend_mm=4.0)


def midline_ventricles(variability: Variability, dilation: float) -> list[Part]:
    """The third ventricle between the thalami, the aqueduct, and the fourth before the cerebellum."""
    own = variability.of("midline ventricles")
    width = dilation * own.factor(0.15)
    third = Ellipsoid(mm(0, -9, 0), mm(2.6 * width, 14, 11))
    aqueduct = Tube.through([(0, -24, -2), (0, -34, -16), (0, -42, -26)], 1.2)
    fourth = Ellipsoid(mm(0, -45, -33), mm(7 * width, 5 * width, 11), own.axes(20.0, spread_degrees=4.0))
    return [
        Part("cerebrospinal fluid", aqueduct),
        Part("cerebrospinal fluid", third, "third ventricle"),
        Part("cerebrospinal fluid", fourth, "fourth ventricle"),
    ]


def nuclei(side: Side, variability: Variability) -> list[Part]:
    """Thalamus, putamen, pallidum, caudate nucleus and hippocampus of one side."""
    outward = sign(side)
    own = variability.of(f"{side} nuclei")
    origin = own.shift(1.2)
    thalamus = Ellipsoid(
        origin + mm(outward * 12, -18, 6),
        own.factor(0.06) * mm(10, 16, 10),
        own.axes(0.0, 0.0, outward * 28.0, spread_degrees=4.0),
    )
    putamen, pallidum = _lentiform(side, own, origin)
    return [
        *_nucleus("thalamus", side, thalamus, own),
        *_nucleus("putamen", side, putamen, own),
        *_nucleus("pallidum", side, pallidum, own),
        *_nucleus("caudate", side, _caudate(side, own), own),
        *_nucleus("hippocampus", side, _hippocampus(side, own), own),
    ]


def _nucleus(name: str, side: Side, shape: Shape, own: Variability) -> list[Part]:
    """The nucleus and, in some subjects, a lacune in it where such infarcts are common."""
    uneven = shape.uneven(own.noise(12.0, 25.0), 0.5 * own.amount)
    holes = pathology.lacunes(uneven, own.of(name)) if name in ("thalamus", "putamen") else []
    parts = [Part(name, uneven, f"{side} {name}")]
    return [*parts, *(Part("cerebrospinal fluid", hole, f"{side} {name}") for hole in holes)]


def _lentiform(side: Side, own: Variability, origin: Vector) -> tuple[Shape, Shape]:
    """A lens beside the internal capsule: the putamen, and the pallidum on its inner side."""
    outward = sign(side)
    axes = own.axes(0.0, 0.0, -outward * 12.0, spread_degrees=4.0)
    centre, size = origin + mm(outward * 27, 2, 0), own.factor(0.06)
    putamen = Ellipsoid(centre, size * mm(6.5, 17, 12), axes)
    pallidum = Ellipsoid(centre - mm(outward * 7, 4, 2), size * mm(5.5, 10, 7), axes)
    return putamen.minus(pallidum.grown(0.3), blend_mm=2.0), pallidum


def _caudate(side: Side, own: Variability) -> Shape:
    """The head beside the frontal horn, a body that thins out along the ventricle, the tail."""
    knots = mm(sign(side), 1, 1) * own.moved([(16, 18, 3), (18, 8, 11), (20.5, -10, 20), (26, -27, 18)], 0.8, 0.8)
    return Tube.through(knots, own.factor(0.07) * np.array([7, 6, 3.5, 2.4]))


def _hippocampus(side: Side, own: Variability) -> Shape:
    """On the floor of the temporal horn, from the head at the front to the tail below the splenium."""
    knots = mm(sign(side), 1, 1) * own.moved([(25, -10, -21), (29, -20, -18), (29, -31, -9), (22, -39, 1)], 1.0, 1.0)
    return Tube.through(knots, own.factor(0.07) * np.array([7.2, 6.2, 5.4, 3.8]))
