"""What surrounds the brain: fluid, skull, scalp, face and neck."""

from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Ellipsoid, HalfSpace, Shape, Tube, mm
from lowshot.phantoms.variability import Variability


def head(brain: Shape, variability: Variability) -> list[Part]:
    """From the skin to the fluid around the brain, whose hull decides the form of the skull."""
    own = variability.of("head")
    bone, fat = 6.5 * own.factor(0.12), 5.0 * own.factor(0.3)
    inner = brain.grown(3.0)
    skull = inner.grown(bone)
    face = Ellipsoid(mm(0, 44, -52) + own.shift(2.0), mm(60, 52, 72), exponent=2.3)
    neck = Tube.through([(0, -44, -40), (0, -46, -90), (0, -48, -220)], [62, 58, 56])
    below = face.joined(neck, blend_mm=30.0)
    return [
        Part("skin", skull.grown(fat + 2.0).joined(below, blend_mm=25.0)),
        Part("fat", skull.grown(fat).joined(below.grown(-2.0), blend_mm=25.0)),
        Part("muscle", below.grown(-3.0 - fat)),
        *_face(),
        *_neck(),
        Part("cortical bone", skull),
        Part("bone marrow", skull.grown(-1.8).minus(inner.grown(1.8))),
        Part("cerebrospinal fluid", inner),
    ]


def _face() -> list[Part]:
    """Orbits with their fat, eyes and optic nerves; nose, sinuses and throat, filled with air."""
    parts: list[Part] = []
    for side in (-1, 1):
        nerve = Tube.through([(side * 31, 56, -27), (side * 20, 36, -26)], 2.5)
        parts += [
            Part("cortical bone", Ellipsoid(mm(side * 31, 60, -27), mm(20, 30, 20))),
            Part("fat", Ellipsoid(mm(side * 31, 62, -27), mm(18, 28, 18))),
            Part("muscle", nerve),
            Part("skin", Ellipsoid(mm(side * 32, 74, -27), mm(13, 13, 13))),
            Part("vitreous body", Ellipsoid(mm(side * 32, 74, -27), mm(11.5, 11.5, 11.5))),
            Part("cortical bone", Ellipsoid(mm(side * 31, 62, -62), mm(15, 17, 17))),
            Part("air", Ellipsoid(mm(side * 31, 62, -62), mm(13.5, 15.5, 15.5))),
        ]
    septum = Ellipsoid(mm(0, 68, -54), mm(1.2, 30, 24))
    throat = Tube.through([(0, 40, -58), (0, 14, -68), (0, 2, -90), (0, -2, -150)], [8, 8, 7, 8])
    openings = [Ellipsoid(mm(0, 66, -54), mm(11, 28, 22)), Ellipsoid(mm(0, 34, -38), mm(11, 10, 8)), throat]
    clivus = Part("bone marrow", Ellipsoid(mm(0, -1, -44), mm(12, 6, 16)))
    return [*parts, clivus, *(Part("air", opening) for opening in openings), Part("skin", septum)]


def _neck() -> list[Part]:
    """The upper vertebrae of the neck, in front of the spinal cord; the muscles behind it are parted by fat."""
    bodies = Tube.through([(0, -27, -68), (0, -30, -100), (0, -34, -200)], [7, 9, 10])
    arch = Tube.through([(0, -50, -88), (0, -52, -200)], 15.0)
    levels = [HalfSpace(mm(0, 0, -76.0 - 18.0 * level), outward=mm(0, 0, 1)) for level in range(7)]
    cleft = Tube.through([(0, -78, -62), (0, -84, -200)], 2.5)
    discs = [
        Part("disc", bodies.within(top).minus(HalfSpace(top.point_mm - mm(0, 0, 4), outward=mm(0, 0, 1))))
        for top in levels
    ]
    shell = [Part("cortical bone", arch), Part("cortical bone", bodies), Part("bone marrow", bodies.grown(-1.5))]
    return [Part("fat", cleft), *shell, *discs]


def intracranial(cerebrum: Shape, cerebellum: Shape) -> Shape:
    """The space of the whole brain, smooth and without clefts."""
    return cerebrum.joined(cerebellum, blend_mm=24.0)
