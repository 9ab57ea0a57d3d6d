"""What ails some of the subjects: enlarged organs, and lesions that are labelled as the organ they lie in."""

import numpy as np
import numpy.typing as npt

from lowshot.phantoms.lesions import lesions
from lowshot.phantoms.rendering import Part
from lowshot.phantoms.shapes import Ellipsoid, Shape, mm
from lowshot.phantoms.variability import Variability

PROBABILITY = {
    "liver cysts": 0.25,
    "liver metastases": 0.2,
    "splenomegaly": 0.15,
    "splenic infarct": 0.1,
    "renal cyst": 0.2,  # of each kidney
    "gallbladder hydrops": 0.15,
}
"""Of each disease, where subjects differ in full; see ``Variability.happens``."""


def in_liver(inside: Shape, liver: Variability) -> list[Part]:
    """One to three cysts, which look like water; two to six metastases, which take up little contrast agent."""
    cysts, metastases = liver.of("liver cysts"), liver.of("liver metastases")
    return [
        *(Part("cyst", lesion, "liver") for lesion in _lesions(inside, cysts, "liver cysts", (1, 3), (6.0, 18.0))),
        *(
            Part("metastasis", lesion, "liver")
            for lesion in _lesions(inside, metastases, "liver metastases", (2, 6), (6.0, 16.0))
        ),
    ]


def splenomegaly(spleen: Variability) -> float:
    """Factor on the radii of the spleen: two and a half times the volume in those who have it."""
    return 1.35 if spleen.of("splenomegaly").happens(PROBABILITY["splenomegaly"]) else 1.0


def in_spleen(whole: Shape, spleen: Variability) -> list[Part]:
    """An infarct: a part of the spleen without contrast agent."""
    infarct = spleen.of("splenic infarct")
    return [
        Part("infarct", lesion, "spleen") for lesion in _lesions(whole, infarct, "splenic infarct", (1, 2), (9.0, 16.0))
    ]


def renal_cysts(origin_mm: npt.NDArray[np.float64], kidney: Variability) -> list[Shape]:
    """A cyst that bulges out of the back or front of a kidney, around whose centre it lies."""
    cyst = kidney.of("renal cyst")
    if not cyst.happens(PROBABILITY["renal cyst"]):
        return []
    towards = cyst.generator.choice([-1, 1], size=3)  # front or back, upper or lower pole
    radius = cyst.generator.uniform(9.0, 17.0)
    return [Ellipsoid(origin_mm + mm(0, 20, 22) * towards, radius * mm(1, 1, 1))]


def hydrops(gallbladder: Variability) -> float:
    """Factor on the radii of the gallbladder: dilated in those whose bile cannot leave it."""
    return 1.45 if gallbladder.of("gallbladder hydrops").happens(PROBABILITY["gallbladder hydrops"]) else 1.0


def _lesions(
    organ: Shape, own: Variability, disease: str, count: tuple[int, int], radius_mm: tuple[float, float]
) -> list[Shape]:
    return lesions(organ, own, count, radius_mm) if own.happens(PROBABILITY[disease]) else []
