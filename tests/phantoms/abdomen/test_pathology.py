import numpy as np
import pytest

from lowshot.imaging.grid import Grid
from lowshot.phantoms.abdomen import pathology
from lowshot.phantoms.abdomen.body import BTCV, CENTRE_MM, FIELD_OF_VIEW_MM, body
from lowshot.phantoms.rendering import Material, render
from lowshot.phantoms.scanning import centred_grid
from lowshot.phantoms.shapes import Ellipsoid, mm
from lowshot.phantoms.variability import Variability

LESIONS = {"cyst": {"liver", "right kidney", "left kidney"}, "metastasis": {"liver"}, "infarct": {"spleen"}}
ORGAN = Ellipsoid(mm(0, 0, 0), mm(50, 50, 50))


def share(ill):
    return np.mean([bool(ill(Variability(seed).of("organ"))) for seed in range(600)])


def test_diseases_are_as_frequent_as_stated():
    stated = pathology.PROBABILITY
    found = {
        "splenomegaly": share(lambda own: pathology.splenomegaly(own) > 1),
        "gallbladder hydrops": share(lambda own: pathology.hydrops(own) > 1),
        "renal cyst": share(lambda own: pathology.renal_cysts(mm(0, 0, 0), own)),
        "splenic infarct": share(lambda own: pathology.in_spleen(ORGAN, own)),
        "liver cysts": share(lambda own: "cyst" in {part.tissue for part in pathology.in_liver(ORGAN, own)}),
        "liver metastases": share(lambda own: "metastasis" in {part.tissue for part in pathology.in_liver(ORGAN, own)}),
    }
    assert found == pytest.approx(stated, abs=0.04)


def test_at_half_variation_everybody_is_well():
    assert not {part.tissue for seed in range(30) for part in body(seed, 0.5).parts} & set(LESIONS)


@pytest.mark.parametrize("lesion", LESIONS)
def test_a_lesion_is_labelled_as_the_organ_it_lies_in(lesion):
    ill = (body(seed) for seed in range(60))
    subject = next(one for one in ill if lesion in {part.tissue for part in one.parts})
    materials = {part.tissue: Material(100.0 if part.tissue == lesion else 0.0) for part in subject.parts}
    grid: Grid = centred_grid((64, 64, 48), None, FIELD_OF_VIEW_MM, CENTRE_MM)
    rendering = render(subject, grid, materials, BTCV, Material(0.0))
    organs = {BTCV.names[k] for k in np.unique(rendering.labels[rendering.mean > 60])}
    assert organs
    assert organs <= LESIONS[lesion]
