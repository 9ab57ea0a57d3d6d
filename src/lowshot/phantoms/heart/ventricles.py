"""The heart in short-axis coordinates: both ventricles in two phases, and what joins them at the base.

The origin lies on the long axis of the left ventricle, halfway between its apex and its base at end-diastole; z runs
from apex to base, x to the septum and the right ventricle, y to the anterior wall; all in mm.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lowshot.phantoms.heart.pathology import disease
from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Ellipsoid, HalfSpace, Shape, Tube, Vector, mm
from lowshot.phantoms.variability import Variability

Phase = Literal["end-diastole", "end-systole"]

APEX_MM = -37.0
"""Where the left ventricle ends, which hardly moves while the base comes down to it."""

RIGHT, MYOCARDIUM, LEFT = "right ventricle", "myocardium", "left ventricle"


@dataclass(frozen=True)
class Measures:
    """Lengths in mm of one heart in one phase."""

    length: float
    """From the apex to the base, along the left ventricle."""
    cavity: float
    """Largest radius of the left ventricle's cavity."""
    wall: float
    """Thickness of its myocardium where it is thickest; half of it at the apex."""
    right: float
    """How far the right ventricle's cavity reaches beyond the septum."""


PHASES: dict[Phase, Measures] = {
    "end-diastole": Measures(length=74.0, cavity=26.0, wall=9.0, right=31.0),
    "end-systole": Measures(length=62.0, cavity=17.5, wall=13.2, right=20.5),
}
"""Of the average adult. The volume of the myocardium is that of the other phase, two thirds of the blood leave."""


@dataclass(frozen=True, eq=False)
class Ventricles:
    """The surfaces of one heart in one phase."""

    base_mm: float
    """Where the left ventricle ends and the atrium begins."""
    left_hull: Shape
    """Myocardium and cavity of the left ventricle, as if it went on beyond its base."""
    left: Shape
    """Its cavity, papillary muscles included; it goes on beyond the base, too."""
    right: Shape
    """The cavity of the right ventricle: a crescent around the septum, once the left one lies on top."""
    measures: Measures

    @property
    def hull(self) -> Shape:
        """All that the pericardium holds at the level of the ventricles."""
        return self.left_hull.joined(self.right.grown(3.0), blend_mm=12.0)


def measures(phase: Phase, variability: Variability) -> Measures:
    """The lengths of this heart. What differs between hearts is drawn alike in both phases."""
    own, average = variability.of("measures"), PHASES[phase]
    length, cavity, wall, right = own.factor(0.05), own.factor(0.09), own.factor(0.1), own.factor(0.12)
    squeezed = own.factor(0.08) if phase == "end-systole" else 1.0  # some hearts eject more
    healthy = Measures(
        average.length * length, average.cavity * cavity * squeezed, average.wall * wall, average.right * right
    )
    return _ailing(healthy, phase, disease(variability))


def _ailing(healthy: Measures, phase: Phase, illness: str | None) -> Measures:
    """What the disease makes of a heart; an infarct is none of lengths, it is cut into the wall."""
    contracted = phase == "end-systole"
    if illness == "dilated":  # a thin wall that contracts little
        cavity, wall = (1.62, 0.75) if contracted else (1.28, 0.85)
        return replace(healthy, cavity=healthy.cavity * cavity, wall=healthy.wall * wall)
    if illness == "hypertrophic":
        return replace(healthy, cavity=healthy.cavity * (0.75 if contracted else 0.85), wall=healthy.wall * 1.55)
    if illness == "dilated right ventricle":
        return replace(healthy, right=healthy.right * (1.6 if contracted else 1.35))
    return healthy


def ventricles(phase: Phase, variability: Variability) -> Ventricles:
    """Ellipsoids that are cut off at the base, a little behind their widest place."""
    size, own = measures(phase, variability), variability.of("ventricles")
    base, widest = APEX_MM + size.length, APEX_MM + 0.7 * size.length
    centre, half_length = mm(0, 0, widest), 0.7 * size.length
    oval, turn = own.factor(0.04), own.axes(z_degrees=30.0, spread_degrees=6.0)
    around = mm(oval, 1 / oval, 1)
    outside = size.cavity + size.wall
    left_hull = Ellipsoid(centre, around * mm(outside, outside, half_length), turn, exponent=2.2)
    left = Ellipsoid(
        centre, around * mm(size.cavity, size.cavity, half_length - 0.55 * size.wall), turn, exponent=2.2
    ).uneven(own.noise(14.0, 30.0), 0.5)
    if disease(variability) == "infarcted":
        left = left.joined(_infarct(size, widest, own), blend_mm=6.0).within(left_hull.grown(-4.0))
    return Ventricles(base, left_hull, left, _right(size, outside, own), size)


def _infarct(size: Measures, widest_mm: float, own: Variability) -> Shape:
    """A territory whose wall is a scar: it has bulged outwards, and does not contract."""
    angle = np.radians(own.generator.uniform(0.0, 360.0))
    radius = size.cavity + 1.0
    centre = mm(radius * np.cos(angle), radius * np.sin(angle), widest_mm - own.generator.uniform(5.0, 25.0))
    return Ellipsoid(centre, own.generator.uniform(13.0, 18.0) * mm(1, 1, 1.2))


def _right(size: Measures, outside_mm: float, own: Variability) -> Shape:
    """An ellipsoid behind the septum, leaning on it towards an apex of its own, and the outflow tract in front."""
    base = APEX_MM + size.length
    lean = own.axes(0.0, 14.0, 0.0, spread_degrees=3.0)
    body = Ellipsoid(
        mm(outside_mm + 0.5 * size.right - 22.0, -5.0, base - 10.0) + own.shift(1.5),
        mm(0.5 * size.right + 22.0, 34.0 * (size.right / 28.0) ** 0.3, 0.74 * size.length),
        lean,
        exponent=2.3,
    )
    outflow = Tube.through(
        [
            (0.85 * outside_mm, 20, base - 26),
            (0.65 * outside_mm, 0.85 * outside_mm, base - 8),
            (8, outside_mm + 6, base + 10),
        ],
        0.42 * size.right + np.array([1.0, 2.0, 1.0]),
    )
    return body.joined(outflow, blend_mm=10.0).uneven(own.noise(16.0, 40.0), 0.6)


def parts(heart: Ventricles, variability: Variability) -> list[Part]:
    """From the pericardium inwards. Above the base the same walls are those of atria and great vessels, and unnamed."""
    own = variability.of("heart parts")
    below = HalfSpace(mm(0, 0, heart.base_mm), outward=mm(0, 0, 1))
    # The mitral ring is tilted: on the side of the outflow tract the muscle ends before the cavity does.
    ring = HalfSpace(mm(0, 0, heart.base_mm - 3.0), outward=own.axes(-10.0, 14.0, 0.0, spread_degrees=4.0)[:, 2])
    right_base = HalfSpace(mm(0, 0, heart.base_mm - 1.0), outward=mm(0, -0.15, 1))  # lower at the tricuspid valve
    sac = heart.hull.grown(4.0 * own.factor(0.3)).joined(_atria_hull(heart), blend_mm=12.0)
    sac = sac.uneven(own.noise(25.0, 60.0), 1.2)
    muscle = heart.left_hull.within(ring).within(below)
    return [
        Part("pericardium", sac),
        Part("epicardial fat", sac.grown(-1.3)),
        *_above_the_base(heart),
        Part("myocardium", heart.right.grown(3.0).within(right_base)),
        Part("myocardium", heart.right.within(right_base.grown(2.0))),  # the closed valve
        Part("right blood", heart.right.within(right_base), RIGHT),
        *_moderator_band(heart, own),
        Part("myocardium", heart.left.grown(2.0).within(below.grown(2.0))),
        Part("left blood", heart.left.within(below), LEFT),
        Part("myocardium", muscle.minus(heart.left), MYOCARDIUM),
        *_papillary_muscles(heart, own),
    ]


def _papillary_muscles(heart: Ventricles, own: Variability) -> list[Part]:
    """Two, from the wall of the lower half towards the mitral valve, and some trabeculae; all part of the cavity."""
    size, thickness = heart.measures, heart.measures.wall / 9.0
    found = []
    for name, degrees, radius in (("anterolateral", 150.0, 3.6), ("posteromedial", 255.0, 3.9)):
        muscle = own.of(name)
        course = _along_the_wall(size, degrees + muscle.by(10.0), [(1.0, 0.2), (0.74, 0.36), (0.66, 0.52), (0.6, 0.62)])
        found.append(Tube.through(course, muscle.factor(0.12) * radius * thickness * np.array([1.0, 1.1, 1.0, 0.5])))
    for number in range(7):
        ridge = own.of(f"trabecula {number}")
        start, turn = ridge.generator.uniform(0.12, 0.35), ridge.generator.uniform(0.0, 360.0)
        course = _along_the_wall(size, turn, [(0.97, start), (0.93, start + 0.12), (0.97, start + 0.28)])
        found.append(Tube.through(course, 1.6 * thickness))
    return [Part("myocardium", each.within(heart.left), LEFT) for each in found]


def _along_the_wall(size: Measures, degrees: float, places: list[tuple[float, float]]) -> list[Vector]:
    """Positions from (share of the cavity's radius at that height, share of the length from the apex)."""
    half, angle = 0.7, np.radians(degrees)
    course = []
    for share, height in places:
        radius = share * size.cavity * np.sqrt(max(1.0 - ((height - half) / half) ** 2, 0.05))
        course.append(mm(radius * np.cos(angle), radius * np.sin(angle), APEX_MM + height * size.length))
    return course


def _moderator_band(heart: Ventricles, own: Variability) -> list[Part]:
    """Muscle that crosses the right ventricle, and belongs to its cavity as papillary muscles do."""
    size, outside = heart.measures, heart.measures.cavity + heart.measures.wall
    knots = [(0.6 * outside, 8, -10), (outside + 0.5 * size.right, -4, -6), (outside + size.right, -14, -4)]
    band = Tube.through(own.of("moderator band").moved(knots, 2.0, 1.0), 2.0)
    return [Part("myocardium", band.within(heart.right), RIGHT)]


def _atria_hull(heart: Ventricles) -> Shape:
    left, right, *_ = _chambers(heart)
    return left.grown(4.0).joined(right.grown(4.0), blend_mm=10.0)


def _chambers(heart: Ventricles) -> list[Shape]:
    """Left atrium, right atrium, the root of the aorta, the pulmonary trunk."""
    base, outside = heart.base_mm, heart.measures.cavity + heart.measures.wall
    aorta = Tube.through([(10, 9, base - 4), (16, 14, base + 14), (18, 22, base + 60)], [12.5, 14, 13])
    trunk = Tube.through([(8, outside + 6, base + 8), (-4, outside + 4, base + 30), (-10, 24, base + 60)], [12, 12, 11])
    return [
        Ellipsoid(mm(-8, -12, base + 22), mm(27, 22, 24)),
        Ellipsoid(mm(outside + 8, -12, base + 20), mm(24, 25, 22)),
        aorta,
        trunk,
    ]


def _above_the_base(heart: Ventricles) -> list[Part]:
    """Atria and great vessels, full of blood, in thin walls."""
    left_atrium, right_atrium, aorta, trunk = _chambers(heart)
    painted = [
        ("right blood", right_atrium),
        ("left blood", left_atrium),
        ("right blood", trunk),
        ("left blood", aorta),
    ]
    mitral = heart.left.minus(HalfSpace(mm(0, 0, heart.base_mm - 12), outward=mm(0, 0, 1)))
    return [
        *(Part("myocardium", shape.grown(2.0)) for _, shape in painted),
        *(Part(tissue, shape) for tissue, shape in painted),
        Part("left blood", mitral.within(left_atrium.joined(aorta, blend_mm=8.0))),
    ]
