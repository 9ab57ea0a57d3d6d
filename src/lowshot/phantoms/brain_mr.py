"""T1-weighted MR of synthetic heads with known truth."""

from collections.abc import Mapping, Sequence

from lowshot.imaging.scan import LabelledScan
from lowshot.phantoms.acquisition import mr_image
from lowshot.phantoms.brain.body import CENTRE_MM, FIELD_OF_VIEW_MM, STRUCTURES, body
from lowshot.phantoms.rendering import Material, render
from lowshot.phantoms.scanning import annotated, centred_grid, labelled_scan
from lowshot.phantoms.variability import Variability

AIR = Material(0.0)

# Where fat is near 1000. Deep nuclei lie between grey and white matter, as their iron and myelin make them.
TISSUES = {
    "skin": Material(420, 20),
    "fat": Material(880, 40),
    "muscle": Material(380, 30),
    "cortical bone": Material(50, 10),
    "bone marrow": Material(420, 90),
    "disc": Material(300, 15),
    "air": Material(8),
    "vitreous body": Material(190, 5),
    "cerebrospinal fluid": Material(170, 12),
    "grey matter": Material(480, 18),
    "white matter": Material(700, 14),
    "cerebellar cortex": Material(500, 20),
    "brain stem": Material(665, 18),
    "thalamus": Material(590, 20),
    "caudate": Material(500, 14),
    "putamen": Material(525, 14),
    "pallidum": Material(645, 16),
    "hippocampus": Material(490, 18),
    "white matter lesion": Material(510, 20),
    "infarct": Material(310, 40),
}


def subject(
    seed: int,
    shape: tuple[int, int, int] | int = (128, 160, 128),
    spacing_mm: tuple[float, float, float] | None = None,
    variation: float = 1.0,
    structures: Sequence[str] | None = None,
) -> LabelledScan:
    """The scan and the truth of one subject, stored as i to the left, j to the back, k to the head.

    Args:
        seed: two subjects of one seed are equal, voxel by voxel.
        shape: number of voxels; one number stands for all three axes.
        spacing_mm: without it, the voxels share a field of view of 192 × 240 × 192 mm.
        variation: how much subjects differ in shape, pose, size, folding, contrast and noise. 1: as adults do, some of
            whom are ill; 0: all are the average one, but for noise and fine detail.
        structures: what is annotated, all of ``brain.body.STRUCTURES`` without it.
    """
    grid = centred_grid(shape, spacing_mm, FIELD_OF_VIEW_MM, CENTRE_MM)
    names = annotated(STRUCTURES, structures)
    own = Variability(seed, variation, "brain-mr")
    rendering = render(body(seed, variation), grid, materials(own), names, AIR)
    image = mr_image(rendering, grid, own, noise_level=22.0, bias_spread=0.12)
    return labelled_scan(f"brain-mr-{seed}", image, rendering, grid, names)


def materials(variability: Variability) -> Mapping[str, Material]:
    """Mean and texture of every tissue; grey and white matter part more in some subjects than in others."""
    own = variability.of("contrast")
    contrast = own.factor(0.1)
    white = TISSUES["white matter"].mean
    return {
        tissue: Material(white * (material.mean / white) ** contrast * own.of(tissue).factor(0.03), material.texture)
        for tissue, material in TISSUES.items()
    }
