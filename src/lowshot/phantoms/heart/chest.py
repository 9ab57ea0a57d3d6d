"""What a short-axis slice shows around the heart: chest wall, lungs, and the upper belly below the diaphragm.

Coordinates as in ``ventricles``: the picture's left is +x, its upper side +y, and slices follow each other along z.
"""

import numpy as np

from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Ellipsoid, HalfSpace, Shape, Tube, mm
from lowshot.phantoms.variability import Variability

CENTRE_MM = mm(-22.0, -22.0, 0.0)
"""Of the chest, which the heart lies in front and to the right of in these slices."""


RADII_MM = mm(98.0, 112.0, 260.0)
"""Of what lungs, heart and upper belly fill."""

EXPONENT = 2.4
"""The chest is a little boxier than an ellipse."""


def chest(variability: Variability) -> list[Part]:
    """From the skin inwards to what the ribs enclose. Slices cut it farther down and in front towards the apex."""
    own = variability.of("chest")
    lean = own.axes(-12.0, 20.0, 24.0, spread_degrees=4.0)
    girth, layer = own.factor(0.06), 14.0 * own.factor(0.45)
    cavity = Ellipsoid(CENTRE_MM + own.shift(4.0), girth * RADII_MM, lean, EXPONENT)
    wall = cavity.grown(15.0)
    outside = Ellipsoid(CENTRE_MM - mm(2, 2, 0), girth * RADII_MM + mm(17 + 1.1 * layer, 17 + layer, 0), lean, 2.3)
    skin = outside.joined(wall.grown(0.4 * layer))
    return [
        Part("skin", skin),
        Part("fat", skin.grown(-2.5)),
        Part("muscle", wall.uneven(own.noise(25.0, 60.0), 1.5)),
        *_ribs(cavity),
        Part("lung", cavity),
        *_lung_vessels(cavity, own),
        *_belly(cavity, own),
        *_spine_and_aorta(skin.grown(-6.0), own),
    ]


def _ribs(cavity: Ellipsoid) -> list[Part]:
    """Cut across, one beside the other all around the cavity, deep in its wall."""
    parts = []
    for number, degrees in enumerate(range(5, 365, 24)):
        x, y = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        reach = 7.0 + (np.abs(mm(x, y, 0) / cavity.radii_mm) ** EXPONENT).sum() ** (-1 / EXPONENT)
        place = cavity.centre_mm + cavity.axes @ mm(reach * x, reach * y, 22.0 * (number % 3 - 1))
        around = cavity.axes @ np.array([[x, -y, 0.0], [y, x, 0.0], [0.0, 0.0, 1.0]])
        bone = Ellipsoid(place, mm(4.5, 8.0, 40.0), around)
        parts += [Part("cortical bone", bone), Part("bone marrow", bone.grown(-1.6))]
    return parts


def _lung_vessels(cavity: Shape, own: Variability) -> list[Part]:
    """Small bright dots and strokes in the dark."""
    parts = []
    for number in range(22):
        vessel = own.of(f"vessel {number}")
        start = vessel.generator.uniform((-115, -30, -55), (40, 85, 55))
        course = start + vessel.generator.normal(0.0, 14.0, size=3) * np.array([[0.0], [1.0], [2.0]])
        parts.append(Part("lung vessel", Tube.through(course, vessel.generator.uniform(0.9, 2.2)).within(cavity)))
    return parts


def _belly(cavity: Shape, own: Variability) -> list[Part]:
    """Below the diaphragm, which the heart rests on: liver under the right ventricle, stomach and spleen beside it."""
    breath = own.by(4.0)
    slope = HalfSpace(mm(0, -54 + breath, 0), outward=mm(0.1, 1, 0.5))
    right_vault = Ellipsoid(mm(48, -112 + breath, -20), mm(85, 76, 150), exponent=2.2)
    left_vault = Ellipsoid(mm(-68, -104 + breath, -24), mm(54, 66, 90), exponent=2.2)
    dome = slope.joined(right_vault, blend_mm=20.0).joined(left_vault, blend_mm=20.0)
    room = dome.within(cavity.grown(-1.0))
    inside = room.grown(-3.0)
    liver = Ellipsoid(mm(40, -92 + breath, -30) + own.shift(4.0), own.factor(0.08) * mm(88, 62, 110), exponent=2.4)
    stomach = Ellipsoid(mm(-56, -80 + breath, -30) + own.shift(6.0), own.factor(0.15) * mm(42, 32, 72))
    spleen = Ellipsoid(mm(-98, -96, -22) + own.shift(5.0), own.factor(0.12) * mm(26, 44, 75))
    gas = stomach.grown(-4.0).within(HalfSpace(mm(0, -74 + breath, 0) + own.shift(5.0), outward=mm(0, -1, 0)))
    return [
        Part("muscle", room),
        Part("visceral fat", inside),
        *_bowel(inside, own),
        Part("liver", liver.within(inside)),
        *_hepatic_veins(liver.grown(-3.0).within(inside), own),
        Part("spleen", spleen.within(inside)),
        Part("stomach wall", stomach.within(inside)),
        Part("gastric content", stomach.grown(-4.0).within(inside)),
        Part("gas", gas.within(inside)),
    ]


def _bowel(inside: Shape, own: Variability) -> list[Part]:
    """Loops of the colon in the left flexure, in slices towards the apex."""
    parts = []
    for number, (x, y) in enumerate([(-84, -58), (-118, -74), (-40, -112), (-74, -126)]):
        loop = own.of(f"bowel {number}")
        course = loop.moved([(x - 16, y + 4, -70), (x, y, -36), (x + 14, y - 8, 0)], 4.0, 6.0)
        tube = Tube.through(course, 13.0 * loop.factor(0.15), ripple=0.1, ripple_length_mm=25.0)
        content = "gas" if number % 2 else "gastric content"
        parts += [Part("stomach wall", tube.within(inside)), Part(content, tube.grown(-3.0).within(inside))]
    return parts


def _hepatic_veins(liver: Shape, own: Variability) -> list[Part]:
    """Bright dots in the liver."""
    parts = []
    for number, (x, y) in enumerate([(30, -84), (62, -92), (84, -108), (44, -118)]):
        course = own.of(f"hepatic vein {number}").moved([(x, y, -50), (x - 18, y + 6, 50)], 6.0, 8.0)
        parts.append(Part("right blood", Tube.through(course, 3.2).within(liver)))
    return parts


def _spine_and_aorta(inside: Shape, own: Variability) -> list[Part]:
    """A vertebra with its canal and muscles in the lower part of the picture; aorta and oesophagus before it."""
    artery = own.of("aorta")
    body, canal = _along_the_spine(6.0, -102.0, 19.0), _along_the_spine(10.0, -127.0, 9.0)
    aorta = _along_the_spine(-24.0 + artery.by(3.0), -80.0 + artery.by(3.0), 11.0 * artery.factor(0.1))
    return [
        Part("visceral fat", _along_the_spine(0.0, -98.0, 32.0)),
        *(Part("muscle", _along_the_spine(x, -138.0, 19.0).within(inside)) for x in (-16.0, 40.0)),
        Part("cortical bone", canal.grown(6.0).joined(body, blend_mm=6.0).within(inside)),
        Part("bone marrow", body.grown(-1.8)),
        Part("cerebrospinal fluid", canal.within(inside.grown(-4.0))),
        Part("spinal cord", canal.grown(-4.5).within(inside.grown(-4.0))),
        Part("muscle", _along_the_spine(-6.0, -64.0, 6.5)),  # the oesophagus
        Part("myocardium", aorta.grown(1.3)),  # its wall
        Part("left blood", aorta),
    ]


def _along_the_spine(x: float, y: float, radius_mm: float) -> Tube:
    """A tube through (x, y, 0), which leaves the slices at a right angle but for some degrees."""
    return Tube.through([(x - 6, y + 14, -70), (x, y, 0), (x + 6, y - 14, 70)], radius_mm)
