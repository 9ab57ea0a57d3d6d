"""Abdominal MR, T2-weighted with suppressed fat, of the same synthetic bodies as the CT: equal seeds, equal truth."""

from collections.abc import Mapping, Sequence

from lowshot.imaging.scan import LabelledScan
from lowshot.phantoms.abdomen.body import BTCV, CENTRE_MM, FIELD_OF_VIEW_MM, body
from lowshot.phantoms.acquisition import FULL_SCALE, mr_image
from lowshot.phantoms.rendering import Material, render
from lowshot.phantoms.scanning import annotated, centred_grid, labelled_scan
from lowshot.phantoms.variability import Variability

AIR = Material(0.0)

# Where 1000 is resting water. Flowing blood leaves the slice before its echo, fat is suppressed, bone has no signal.
TISSUES = {
    "skin": Material(150),
    "fat": Material(75, 8),
    "visceral fat": Material(85, 12),
    "lung": Material(25, 8),
    "cortical bone": Material(15, 5),
    "cancellous bone": Material(120, 15),
    "disc": Material(290, 20),
    "spinal cord": Material(520, 20),
    "cartilage": Material(110, 10),
    "bile": Material(880, 25),
    "gas": Material(8),
    "gastric content": Material(480, 140),
    "bowel fluid": Material(600, 150),
    "stool": Material(260, 110),
    "renal pelvis": Material(840),
    "arterial blood": Material(60, 20),
    "venous blood": Material(130, 30),
    "portal vein": Material(150, 20),
    "hepatic vein": Material(160, 15),
    "liver": Material(255, 14),
    "spleen": Material(480, 16),
    "renal cortex": Material(470, 20),
    "renal medulla": Material(600, 25),
    "pancreas": Material(330, 35),
    "gut wall": Material(310, 30),
    "muscle": Material(165, 20),
    "adrenal gland": Material(300, 10),
    "myocardium": Material(210, 20),
    "cyst": Material(930, 10),
    "metastasis": Material(440, 35),
    "infarct": Material(330, 25),
}


def subject(
    seed: int,
    shape: tuple[int, int, int] | int = (128, 128, 96),
    spacing_mm: tuple[float, float, float] | None = None,
    variation: float = 1.0,
    structures: Sequence[str] | None = None,
) -> LabelledScan:
    """The scan and the truth of one subject; arguments and grid are those of ``abdomen_ct.subject``.

    Intensities are in an arbitrary unit that differs from scan to scan, as MR's do.
    """
    grid = centred_grid(shape, spacing_mm, FIELD_OF_VIEW_MM, CENTRE_MM)
    names = annotated(BTCV, structures)
    own = Variability(seed, variation, "abdomen-mr")
    rendering = render(body(seed, variation), grid, materials(own), names, AIR)
    image = mr_image(rendering, grid, own, noise_level=22.0, bias_spread=0.2)
    return labelled_scan(f"abdomen-mr-{seed}", image, rendering, grid, names)


def materials(variability: Variability) -> Mapping[str, Material]:
    """Mean and texture of every tissue at this subject's echo time: a longer one darkens all but water."""
    own = variability.of("contrast")
    echo = own.factor(0.12)
    return {
        tissue: Material(
            FULL_SCALE * (material.mean / FULL_SCALE) ** echo * own.of(tissue).factor(0.06), material.texture
        )
        for tissue, material in TISSUES.items()
    }
