"""What ails some of the brains: atrophy, and lesions that are labelled as the structure they lie in."""

import numpy as np

from lowshot.phantoms.lesions import lesions
from lowshot.phantoms.shapes import Ellipsoid, Shape, Vector, mm
from lowshot.phantoms.variability import Variability

PROBABILITY = {
    "white matter lesions": 0.35,
    "atrophy": 0.25,
    "cortical infarct": 0.08,  # of each hemisphere
    "lacune": 0.08,  # of each thalamus and putamen
}
"""Of each disease, where subjects differ in full; see ``Variability.happens``."""


def has_atrophy(brain: Variability) -> bool:
    """Whether this brain has shrunk: wide sulci, and ventricles that fill the space."""
    return brain.of("atrophy").happens(PROBABILITY["atrophy"])


def white_matter_lesions(around_ventricle: Shape, brain: Variability, hemisphere: Variability) -> list[Shape]:
    """Spots beside the ventricle, on both sides in those who have them."""
    if not brain.of("white matter lesions").happens(PROBABILITY["white matter lesions"]):
        return []
    return lesions(around_ventricle, hemisphere.of("white matter lesions"), (4, 12), (2.0, 5.0))


def cortical_infarcts(centre_mm: Vector, hemisphere: Variability) -> list[Shape]:
    """A territory on the convexity of the hemisphere that has this centre, as large as a walnut."""
    infarct = hemisphere.of("cortical infarct")
    if not infarct.happens(PROBABILITY["cortical infarct"]):
        return []
    outward = infarct.generator.normal(size=3)
    outward[0] = np.copysign(outward[0], centre_mm[0])
    outward /= np.linalg.norm(outward)
    return [Ellipsoid(centre_mm + outward * mm(34, 72, 50), infarct.generator.uniform(10.0, 18.0) * mm(1, 1, 1))]


def lacunes(nucleus: Shape, own: Variability) -> list[Shape]:
    """A small old infarct in a deep nucleus, filled with fluid."""
    lacune = own.of("lacune")
    return lesions(nucleus, lacune, (1, 1), (2.0, 4.0)) if lacune.happens(PROBABILITY["lacune"]) else []
