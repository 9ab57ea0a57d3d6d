"""The trunk that the organs are fitted into: skin, fat, muscles, the cavity with its diaphragm and lungs."""

from dataclasses import dataclass

import numpy as np

from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Column, Ellipsoid, HalfSpace, Shape, Tube, mm
from lowshot.phantoms.variability import Variability


@dataclass(frozen=True, eq=False)
class Trunk:
    """The surfaces that hold everything else."""

    skin: Shape
    wall: Shape
    """The outside of muscles and ribs."""
    cavity: Shape
    """The inside of muscles and ribs, chest included."""
    dome: Shape
    """What lies below the diaphragm; only its part inside the cavity is real."""
    breath_mm: float
    """How far the diaphragm, and what hangs on it, stands above its average (below: negative)."""


def trunk(variability: Variability) -> Trunk:
    """The trunk of one subject, lying on a couch. Table rows: z, centre x and y, radius x and y."""
    fat = variability.of("fat")
    layer, girth = 17.0 * fat.factor(0.45), fat.by(5.0)  # under the skin; inside the belly
    skin = Column(
        [
            (-220, 0, -10, 139 + 1.2 * layer, 98 + 1.1 * layer),
            (-60, 0, -9 + girth / 2, 141 + girth + layer, 102 + girth + layer),
            (60, 0, -7, 147 + 0.7 * layer, 103 + 0.7 * layer),
            (240, 0, -10, 143 + layer, 105 + 0.8 * layer),
        ],
        exponent=2.2,
    )
    couch = HalfSpace(mm(0, -114 - 0.4 * layer, 0), outward=mm(0, -1, 0))
    wall = Column(
        [
            (-220, 0, -12 + girth / 3, 137, 96 + girth / 3),
            (-60, 0, -11 + girth / 2, 140 + girth, 101 + girth),
            (60, 0, -9, 145, 102),
            (240, 0, -12, 140, 104),
        ],
        exponent=2.3,
    )
    breath = variability.of("breath").by(9.0)
    return Trunk(skin.within(couch, blend_mm=35.0), wall, _cavity(girth), _dome(fat.factor(0.05), breath), breath)


def _cavity(girth: float) -> Shape:
    """Open at both ends, and pushed in from behind by the spine and its muscles."""
    whole = Column(
        [
            (-220, 0, -3, 122, 82),
            (-60, 0, -3 + girth / 2, 127 + girth, 86 + girth),
            (40, 0, -3, 131, 88),
            (90, 0, -4, 132, 90),
            (240, 0, -5, 126, 91),
        ],
        exponent=2.4,
    )
    spine_and_muscles = Column(
        [
            (-220, 0, -86, 70, 42),
            (0, 0, -88, 68, 40),
            (60, 0, -84, 48, 36),
            (120, 0, -80, 28, 28),
            (240, 0, -78, 28, 28),
        ]
    )
    return whole.minus(spine_and_muscles, blend_mm=30.0)


def _dome(height: float, breath_mm: float) -> Shape:
    """Two vaults, the right one higher, on everything below them."""
    right = Ellipsoid(mm(66, 2, 28 + breath_mm), mm(72, 86, 100 * height), exponent=2.3)
    left = Ellipsoid(mm(-68, -2, 22 + breath_mm), mm(70, 84, 94 * height), exponent=2.3)
    below = HalfSpace(mm(0, 0, 38 + breath_mm), outward=mm(0, 0.25, 1))
    return right.joined(left, blend_mm=35.0).joined(below, blend_mm=10.0)


def shell(trunk: Trunk) -> list[Part]:
    """From the skin to the fat that fills the belly, and the lungs on the diaphragm."""
    chest = trunk.cavity.within(HalfSpace(mm(0, 0, 0), outward=mm(0, -0.45, -1)))
    diaphragm = trunk.dome.grown(3.5)
    return [
        Part("skin", trunk.skin),
        Part("fat", trunk.skin.grown(-2.5)),
        Part("muscle", trunk.wall.within(trunk.skin.grown(-5.0))),
        Part("visceral fat", trunk.cavity),
        Part("lung", chest.minus(diaphragm)),
        Part("muscle", chest.within(diaphragm).minus(trunk.dome)),
    ]


def muscles(trunk: Trunk, variability: Variability) -> list[Part]:
    """Psoas, quadratus lumborum and erector spinae on both sides, with the fat between the latter two."""
    own = variability.of("muscles")
    size = own.factor(0.15)
    psoas = Tube.through(
        [(24, -48, 20), (32, -48, -40), (42, -44, -100), (56, -34, -200)], size * np.array([7, 15, 20, 20])
    )
    quadratus = Tube.through([(50, -70, 35), (64, -70, -40), (82, -66, -110)], size * np.array([8, 12, 12]))
    erector = Tube.through([(26, -102, 260), (30, -99, 100), (32, -94, -40), (32, -94, -220)], [12, 15, 21, 21])
    cleft = Tube.through([(56, -88, 20), (60, -84, -60), (62, -84, -200)], [2, 5, 6])
    layers = [("fat", cleft), ("muscle", quadratus), ("muscle", psoas), ("muscle", erector)]
    room = trunk.skin.grown(-6.0)
    return [Part(tissue, side.within(room)) for tissue, tube in layers for side in (tube, tube.mirrored())]
