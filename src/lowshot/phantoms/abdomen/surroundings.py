"""What lies between the annotated organs: heart, vessels, adrenal glands, bowel."""

import numpy as np

from lowshot.phantoms.abdomen.trunk import Trunk
from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Ellipsoid, Tube, mm
from lowshot.phantoms.variability import Variability


def mediastinum(trunk: Trunk, variability: Variability) -> list[Part]:
    """The heart in its fat on the diaphragm, and the fat around oesophagus and aorta."""
    own = variability.of("heart")
    centre = own.shift(5.0) + mm(-24, 30, 164 + 0.8 * trunk.breath_mm)
    axes = own.axes(0.0, 20.0, 35.0, spread_degrees=6.0)
    heart = Ellipsoid(centre, own.factor(0.07) * mm(66, 46, 46), axes)
    right = Ellipsoid(centre + mm(22, 12, 2), mm(28, 26, 26), axes)
    left = Ellipsoid(centre - mm(24, -2, 4), mm(34, 24, 24), axes)
    behind = Tube.through([(-10, -34, 90), (-10, -34, 150), (-10, -36, 260)], 26.0)
    fat = heart.grown(6.0).joined(behind, blend_mm=20.0).minus(trunk.dome).within(trunk.cavity.grown(-2.0))
    return [
        Part("fat", fat),
        Part("myocardium", heart.minus(trunk.dome.grown(4.0))),
        Part("venous blood", right.minus(trunk.dome.grown(7.0))),
        Part("arterial blood", left.minus(trunk.dome.grown(11.0))),
    ]


def vessels(trunk: Trunk, variability: Variability) -> list[Part]:
    """Vena cava, renal and portal veins, and the upper mesenteric vessels with some branches in the fat."""
    own = variability.of("veins")
    rise = trunk.breath_mm
    course = [(14, -20, -200), (18, -22, -90), (22, -22, 0), (26, -18, 70), (22, -6, 124 + rise), (20, 0, 160 + rise)]
    cava = Tube.through(own.moved(course, 2.0), own.factor(0.12) * np.array([8, 10, 11, 12, 12.5, 13]))
    right_renal = Tube.through([(22, -20, -12), (44, -28, -18)], 5.0)
    left_renal = Tube.through([(20, -16, 2), (-6, -8, 4), (-40, -26, -2)], [5, 4, 5])
    mesenteric = Tube.through([(6, 16, -110), (10, 14, -60), (12, 6, -8), (14, 4, 4)], [3.5, 5, 6, 6.5])
    splenic = Tube.through([(14, 4, 4), (-20, 2, 16), (-54, -20, 30), (-84, -34, 46)], [5.5, 5, 4.5, 4])
    portal = Tube.through([(14, 4, 4), (26, 6, 24), (38, 6, 40 + 0.8 * rise)], [7, 7, 6.5])
    branches = [_mesenteric_branch(own, -20.0 - 9.0 * number) for number in range(7)]
    artery = Tube.through([(-7, -14, 4), (-5, 6, -16), (-4, 16, -60), (-4, 20, -110)], [4.5, 4, 3.5, 3])
    return [
        *(Part("venous blood", vein) for vein in (cava, right_renal, left_renal)),
        *(Part("portal vein", vein) for vein in (mesenteric, splenic, portal, *branches)),
        Part("arterial blood", artery),
    ]


def _mesenteric_branch(own: Variability, height_mm: float) -> Tube:
    """A small vein from anywhere in the mesentery of the left side."""
    middle = own.shift(14.0) * (1.5, 0.6, 1.0) + mm(-30, 32, -36)
    return Tube.through([mm(8, 18, height_mm), middle, middle + own.shift(10.0) + mm(-14, 10, -24)], [2.5, 2.2, 1.2])


def adrenal_glands(trunk: Trunk, variability: Variability) -> list[Part]:
    """Their limbs, above the kidneys."""
    own = variability.of("adrenals")
    origin = own.shift(3.0) + mm(0, 0, 0.5 * trunk.breath_mm)
    limbs = [
        [(30, -26, 52), (34, -42, 46), (40, -52, 36)],
        [(-34, -18, 40), (-38, -32, 38), (-36, -46, 30)],
        [(-38, -32, 38), (-50, -42, 32)],
    ]
    return [Part("adrenal gland", Tube.through(origin + limb, 2.8)) for limb in limbs]


def duodenum(trunk: Trunk, variability: Variability) -> list[Part]:
    """A C around the head of the pancreas, then to the left below it."""
    own = variability.of("duodenum")
    knots = own.moved([(28, 32, 0), (48, 20, -2), (56, 2, -24), (50, -4, -54), (16, 0, -66), (-24, 4, -50)], 4.0)
    tube = Tube.through(knots, own.factor(0.1) * np.array([9, 12, 13, 13, 12, 11]), ripple=0.08, ripple_length_mm=12.0)
    return _gut(trunk, own, tube, content="bowel fluid", gas=0.2)


def colon(trunk: Trunk, variability: Variability) -> list[Part]:
    """Ascending, transverse and descending colon, with haustra, stool and gas."""
    own = variability.of("colon")
    sag = own.by(14.0)
    right = [(92, -4, -220), (94, -6, -130), (92, 4, -76)]
    across = [(78, 36, sag - 62), (40, 58, sag - 72), (-6, 62, sag - 74), (-52, 56, sag - 58)]
    left = [(-92, 24, -22), (-108, -14, -16), (-104, -28, -60), (-100, -24, -130), (-86, 0, -220)]
    knots = own.moved([*right, *across, *left], 5.0, 6.0)
    radii = own.factor(0.12) * np.array([24, 24, 23, 20, 18, 18, 17, 17, 16, 14, 14, 14])
    tube = Tube.through(knots, radii, ripple=0.08, ripple_length_mm=32.0)
    return _gut(trunk, own, tube, content="stool", gas=0.55)


def small_bowel(trunk: Trunk, variability: Variability) -> list[Part]:
    """Loops that wind through the belly, row below row; the first rows lie left of the duodenum."""
    rows = [(42, -24), (16, -44), (46, -60), (22, -78), (52, -92), (24, -112), (50, -126), (20, -146), (46, -166)]
    parts = []
    for row, (y, z) in enumerate(rows):
        own = variability.of(f"small bowel {row}")
        x = np.linspace(-72, -18 if row < 2 else 66, 8)
        turns = np.arange(8) * 2.1 + own.generator.uniform(0, 6)
        knots = own.moved(list(zip(x, y + 13 * np.sin(turns), z + 9 * np.cos(turns), strict=True)), 4.0, 4.0)
        tube = Tube.through(knots, np.full(8, 12.5 * own.factor(0.1)), ripple=0.08, ripple_length_mm=9.0)
        parts += _gut(trunk, own, tube, content="bowel fluid", gas=0.35)
    return parts


def _gut(trunk: Trunk, own: Variability, tube: Tube, *, content: str, gas: float) -> list[Part]:
    """Wall, content, and pockets of gas that float on it, up to ``gas`` of the radius thick."""
    radius = float(tube.radii_mm.mean())
    bubbles = Tube(tube.centreline_mm + mm(0, 0.6 * radius, 0), tube.radii_mm * gas).uneven(
        own.noise(40.0, 90.0), 0.4 * radius
    )
    inside = trunk.cavity.grown(-2.0)
    lumen = tube.grown(-2.5).within(inside.grown(-2.5))
    return [Part("gut wall", tube.within(inside)), Part(content, lumen), Part("gas", bubbles.within(lumen))]
