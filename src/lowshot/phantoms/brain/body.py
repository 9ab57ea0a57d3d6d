"""A whole head, whatever it is imaged with."""

from lowshot.imaging.names import Names
from lowshot.phantoms.brain import cerebrum, deep, head, hindbrain, pathology
from lowshot.phantoms.deformation import Deformation
from lowshot.phantoms.rendering import Body, Part
from lowshot.phantoms.variability import Variability

FIELD_OF_VIEW_MM = (192.0, 240.0, 192.0)
"""Usual extent of a scan of the brain."""

CENTRE_MM = (0.0, -10.0, 4.0)
"""Its centre, in the coordinates of the brain."""

WARP_MM = 2.0
"""Heads are more alike than bellies, and nearly symmetrical."""

STRUCTURES = Names.of(
    {
        2: "left cerebral white matter",
        3: "left cerebral cortex",
        4: "left lateral ventricle",
        8: "cerebellum",
        10: "left thalamus",
        11: "left caudate",
        12: "left putamen",
        13: "left pallidum",
        14: "third ventricle",
        15: "fourth ventricle",
        16: "brain stem",
        17: "left hippocampus",
        41: "right cerebral white matter",
        42: "right cerebral cortex",
        43: "right lateral ventricle",
        49: "right thalamus",
        50: "right caudate",
        51: "right putamen",
        52: "right pallidum",
        53: "right hippocampus",
    }
)
"""File values as in FreeSurfer, except that 8 stands for the whole cerebellum."""


def body(seed: int, variation: float = 1.0) -> Body:
    """The head of one subject. Later parts lie on top of earlier ones.

    Coordinates are RAS in mm; the origin lies in the midline, between the anterior and the posterior commissure.
    """
    own = Variability(seed, variation)
    atrophy = pathology.has_atrophy(own)
    widened_mm, dilation = (1.3, 1.5) if atrophy else (0.0, 1.0)
    hull, cerebellum = cerebrum.hull(own), hindbrain.cerebellar_hull(own)
    room = hull.minus(cerebellum.grown(2.0), blend_mm=4.0)
    halves = [cerebrum.hemisphere(side, room, own, widened_mm) for side in cerebrum.SIDES]
    ventricles = {side: deep.lateral_ventricle(side, own, dilation) for side in cerebrum.SIDES}
    parts = [*head.head(head.intracranial(hull, cerebellum), own), *hindbrain.cerebellum(cerebellum, own)]
    for hemisphere in halves:
        parts += cerebrum.layers(hemisphere)
        parts += cerebrum.lesions(hemisphere, ventricles[hemisphere.side], own)
    parts += hindbrain.brain_stem(own)
    for side in cerebrum.SIDES:
        parts.append(Part("cerebrospinal fluid", ventricles[side], f"{side} lateral ventricle"))
        parts += deep.nuclei(side, own)
    return Body([*parts, *deep.midline_ventricles(own, dilation)], Deformation.draw(own, WARP_MM))
