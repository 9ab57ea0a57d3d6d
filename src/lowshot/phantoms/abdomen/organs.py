"""The annotated organs of the abdomen. The parts of an organ are in the order in which they are painted."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from lowshot.phantoms.abdomen import pathology
from lowshot.phantoms.abdomen.trunk import Trunk
from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Ellipsoid, HalfSpace, Shape, Tube, mm
from lowshot.phantoms.variability import Variability


def liver(trunk: Trunk, variability: Variability) -> list[Part]:
    """Two lobes under the right dome, hollow below, with veins, portal branches and the falciform fissure."""
    own = variability.of("liver")
    origin = own.shift(5.0) + mm(0, 0, 0.8 * trunk.breath_mm)
    right = Ellipsoid(
        origin + mm(72, 0, 42), own.factor(0.07) * mm(72, 92, 94), own.axes(0.0, 8.0, 0.0, spread_degrees=5.0), 2.3
    )
    left = Ellipsoid(
        origin + mm(2, 40, 78), own.factor(0.16) * mm(76, 36, 40), own.axes(0.0, -12.0, -14.0, spread_degrees=6.0), 2.2
    )
    hollow = Ellipsoid(origin - mm(6, 4, 8), own.factor(0.06) * mm(70, 66, 66), own.axes(spread_degrees=8.0))
    spine_bed = Ellipsoid(origin + mm(24, -60, 60), mm(34, 30, 200))
    whole = right.joined(left, blend_mm=30.0).minus(hollow, blend_mm=18.0).minus(spine_bed, blend_mm=12.0)
    whole = whole.uneven(own.noise(35.0, 90.0), 2.5 * own.amount)
    whole = whole.within(trunk.dome.grown(-1.0), blend_mm=5.0).within(trunk.cavity.grown(-3.0), blend_mm=5.0)
    fissure = Ellipsoid(origin + mm(14, 56, 50), mm(2.5, 26, 30), own.axes(spread_degrees=8.0))
    inside = whole.grown(-2.0)
    return [
        Part("liver", whole, "liver"),
        *(Part("hepatic vein", vein.within(inside), "liver") for vein in _hepatic_veins(origin, own)),
        *(Part("portal vein", branch.within(inside), "liver") for branch in _portal_branches(origin, own)),
        *pathology.in_liver(inside, own),
        Part("fat", fissure.within(whole)),
    ]


def _hepatic_veins(origin: npt.NDArray[np.float64], own: Variability) -> list[Shape]:
    """Three veins that meet at the vena cava under the dome."""
    root = mm(24, -22, 108)
    ends = [mm(118, -20, 60), mm(78, 52, 62), mm(8, 46, 80)]
    return [
        Tube.through(origin + own.moved([root, (root + end) / 2 + mm(0, 0, 6), end], 0.0, 6.0), [6.5, 4.5, 1.5])
        for end in ends
    ]


def _portal_branches(origin: npt.NDArray[np.float64], own: Variability) -> list[Shape]:
    """The portal vein inside the liver: a right trunk with three branches, and a left one."""
    gate, fork = mm(36, 6, 42), mm(66, 2, 50)
    ends = [mm(96, 36, 74), mm(104, -38, 62), mm(108, -10, 4)]
    right = [Tube.through(origin + own.moved([fork, end - mm(12, 0, 0), end], 0.0, 6.0), [5, 3.5, 1.5]) for end in ends]
    left = Tube.through([origin + gate, origin + mm(20, 34, 64), origin + mm(-6, 44, 74)], [5.5, 4.5, 2])
    return [Tube.through([origin + gate, origin + fork], [6.5, 5.5]), *right, left]


def spleen(trunk: Trunk, variability: Variability) -> list[Part]:
    """A crescent between the left ribs and the stomach."""
    own = variability.of("spleen")
    origin = own.shift(6.0) + mm(-98, -38, 62 + 0.7 * trunk.breath_mm)
    radii = pathology.splenomegaly(own) * own.factor(0.13) * mm(34, 54 * own.factor(0.08), 46 * own.factor(0.1))
    body = Ellipsoid(origin, radii, own.axes(-22.0, 8.0, -12.0, spread_degrees=8.0), 2.3)
    hollow = Ellipsoid(origin + mm(42, 18, 0), own.factor(0.08) * mm(40, 42, 60), own.axes(spread_degrees=8.0))
    whole = body.minus(hollow, blend_mm=10.0).uneven(own.noise(30.0, 70.0), 2.2 * own.amount)
    whole = whole.within(trunk.dome.grown(-2.0), blend_mm=4.0).within(trunk.cavity.grown(-3.5), blend_mm=4.0)
    return [Part("spleen", whole, "spleen"), *pathology.in_spleen(whole, own)]


def kidney(side: Literal["left", "right"], trunk: Trunk, variability: Variability) -> list[Part]:
    """A bean in its fat: bent around the hilum, with cortex, pyramids and a fatty sinus. The right one lies lower."""
    name = f"{side} kidney"
    own = variability.of(name)
    outward, height = (1, -22) if side == "right" else (-1, -4)
    size, length = own.factor(0.08), own.factor(0.09)
    origin = own.shift(7.0) + mm(outward * 66, -38, height + 0.5 * trunk.breath_mm)
    axes = own.axes(8.0, outward * 10.0, 0.0, spread_degrees=6.0)
    bend = np.array([(-6, -6, 34), (2, 1, 16), (4, 2, 0), (2, 1, -16), (-4, 6, -34)]) * (outward, 1, length)
    bean = Tube.through(origin + bend @ axes.T, size * np.array([19, 24.5, 25.5, 25, 20]))
    medial, centre = origin - mm(outward * 34, -10, 0), origin - mm(outward * 6, -2, 0)
    whole = bean.minus(Tube.through([medial, centre], [13 * size, 9 * size]), blend_mm=6.0)
    whole = whole.uneven(own.noise(30.0, 70.0), 1.6 * own.amount)
    sinus = Ellipsoid(centre, size * mm(10, 9, 20), axes)
    return [
        Part("fat", bean.grown(7.0).uneven(own.noise(50.0, 90.0), 3.0).within(trunk.cavity)),
        Part("renal cortex", whole, name),
        Part("renal medulla", whole.grown(-8.0).uneven(own.noise(14.0, 24.0), 3.0), name),
        Part("fat", sinus.within(bean.grown(-4.0))),
        Part("renal pelvis", Tube.through([origin - mm(outward * 24, -6, 6), centre], [3.5, 5])),
        *(Part("cyst", cyst.within(trunk.cavity.grown(-3.0)), name) for cyst in pathology.renal_cysts(origin, own)),
    ]


def gallbladder(trunk: Trunk, variability: Variability) -> list[Part]:
    """A pear under the liver, its fundus to the front."""
    own = variability.of("gallbladder")
    neck_to_fundus = own.moved([(46, 20, 20), (54, 28, 4), (64, 50, -18)], 6.0, 3.0) + mm(0, 0, 0.7 * trunk.breath_mm)
    whole = Tube.through(neck_to_fundus, pathology.hydrops(own) * own.factor(0.18) * np.array([4, 10, 13]))
    return [Part("muscle", whole.grown(1.5), "gallbladder"), Part("bile", whole, "gallbladder")]


def stomach(trunk: Trunk, variability: Variability) -> list[Part]:
    """A J from the fundus under the left dome to the pylorus, with rugae, food and a bubble of gas at the front."""
    own = variability.of("stomach")
    average = [(-62, -18, 98), (-66, 0, 66), (-66, 26, 30), (-40, 46, -2), (-6, 46, -6), (26, 32, 2)]
    knots = own.moved(average, 5.0, 7.0)
    knots[:, 2] += trunk.breath_mm * np.array([0.9, 0.8, 0.6, 0.5, 0.5, 0.5])
    filling = own.factor(0.16)
    radii = np.array([27, 28, 25, 21, 17, 9]) * (filling, filling, filling * own.factor(0.1), filling, 1, 1)
    whole = Tube.through(knots, radii).uneven(own.noise(35.0, 80.0), 2.5 * own.amount)
    whole = whole.within(trunk.dome.grown(-3.0), blend_mm=6.0).within(trunk.cavity.grown(-4.0), blend_mm=6.0)
    lumen = whole.grown(-4.5).uneven(own.noise(12.0, 22.0), 1.3)
    level = float((knots[:, 1] + radii).max()) - 20 + own.by(7.0)
    return [
        Part("gut wall", whole, "stomach"),
        Part("gastric content", lumen, "stomach"),
        Part("gas", lumen.within(HalfSpace(mm(0, level, 0), outward=mm(0, -1, 0))), "stomach"),
    ]


def oesophagus(trunk: Trunk, variability: Variability) -> list[Part]:
    """From behind the heart through the hiatus into the stomach, which covers its end; with a little gas."""
    own = variability.of("oesophagus")
    rise = trunk.breath_mm
    average = [
        (-2, -24, 240),
        (-6, -22, 170),
        (-14, -18, 130 + rise / 2),
        (-24, -12, 108 + rise),
        (-44, -10, 90 + rise),
    ]
    tube = Tube.through(own.moved(average, 2.5), own.factor(0.1) * np.array([8.5, 8.5, 9, 9.5, 9]))
    return [
        Part("fat", tube.grown(3.0)),
        Part("gut wall", tube, "oesophagus"),
        Part("gas", tube.grown(-9.5).uneven(own.noise(20.0, 50.0), 1.5), "oesophagus"),
    ]


def pancreas(trunk: Trunk, variability: Variability) -> list[Part]:
    """From the head in the bend of the duodenum over the spine to the hilum of the spleen, lobulated."""
    own = variability.of("pancreas")
    average = [(32, 8, -34), (30, 12, -12), (12, 22, 4), (-22, 16, 18), (-56, -8, 32), (-82, -26, 44)]
    knots = own.moved(average, 5.0, 5.0) + mm(0, 0, 0.4 * trunk.breath_mm)
    radii = own.factor(0.12) * np.array([13, 17, 11.5, 13.5, 13, 10])
    whole = Tube.through(knots, radii).uneven(own.noise(18.0, 45.0), 1.2)
    return [Part("fat", whole.grown(2.5)), Part("pancreas", whole, "pancreas")]


def aorta(variability: Variability) -> list[Part]:
    """In front and to the left of the spine, down to its bifurcation at L4."""
    own = variability.of("aorta")
    average = [(-20, -46, 260), (-18, -44, 150), (-10, -32, 80), (-7, -24, 0), (-6, -22, -60), (-2, -22, -108)]
    knots = own.moved(average, 2.0, 2.0)
    fork = knots[-1]
    iliac = [Tube.through([fork, fork + mm(side * 16, 2, -32), (side * 46, 0, -200)], [7, 6, 5.5]) for side in (-1, 1)]
    tube = Tube.through(knots, own.factor(0.1) * np.array([12.5, 12, 11.5, 10, 9, 8.5]))
    return [
        *(Part("arterial blood", artery) for artery in iliac),
        Part("fat", tube.grown(2.0)),
        Part("arterial blood", tube, "aorta"),
    ]
