"""A breast under the probe, in layers from the gel down to the muscles of the chest, and the lesion in it.

Coordinates are those of a picture hung on the wall, in mm: x to the left, y up, with the probe at y = 0.
"""

from dataclasses import dataclass

from lowshot.phantoms.breast.lesion import Lesion
from lowshot.phantoms.shapes import HalfSpace, Shape, mm
from lowshot.phantoms.variability import Variability


@dataclass(frozen=True, eq=False)
class Layer:
    """One piece of a breast; later ones lie on top of earlier ones."""

    tissue: str
    shape: Shape
    margin_mm: float = 0.3
    """Over how many mm it fades into what it borders on."""


DEPTHS_MM = {"skin": 0.5, "fat": 2.2, "gland": 8.5, "retromammary fat": 21.5, "fascia": 23.5, "muscle": 24.3}
"""Where the tissues of the average breast begin."""


def layers(found: Lesion, variability: Variability) -> list[Layer]:
    """All that lies below the gel. A carcinoma has a halo of tissue that reacts to it, what is benign a capsule."""
    below = [_below(tissue, variability) for tissue in DEPTHS_MM]
    if found.kind == "carcinoma":
        around = Layer("halo", found.shape.grown(0.8), 2.5)
    else:
        around = Layer("capsule", found.shape.grown(0.45))
    return [*below, around, Layer(found.kind, found.shape, found.margin_mm)]


def _below(tissue: str, variability: Variability) -> Layer:
    """All that lies deeper than a tissue's upper face, to be covered by the next tissue."""
    own, depth = variability.of("muscle" if tissue == "fascia" else tissue), DEPTHS_MM[tissue]  # which it clings to
    if depth < 4:  # the skin is flat under the probe, what lies deeper is not
        return Layer(tissue, HalfSpace(mm(0, -depth * own.factor(0.15), 0), outward=mm(0, 1, 0)))
    deeper = variability.of("depth").factor(0.12) * own.factor(0.05)
    tilt = variability.of("tilt").by(0.06) + own.by(0.03)
    face = HalfSpace(mm(0, -depth * deeper, 0), outward=mm(tilt, 1, 0))
    return Layer(tissue, face.uneven(own.noise(9.0, 40.0), 0.9 * own.amount))
