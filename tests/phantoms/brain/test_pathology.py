import numpy as np
import pytest

from lowshot.phantoms.brain import pathology
from lowshot.phantoms.brain.body import CENTRE_MM, FIELD_OF_VIEW_MM, STRUCTURES, body
from lowshot.phantoms.rendering import Material, render
from lowshot.phantoms.scanning import centred_grid
from lowshot.phantoms.shapes import Ellipsoid, mm
from lowshot.phantoms.variability import Variability

BALL = Ellipsoid(mm(0, 0, 0), mm(20, 20, 20))
LESIONS = {"white matter lesion": {"white matter"}, "infarct": {"white matter", "cortex"}}


def share(ill):
    return np.mean([bool(ill(Variability(seed))) for seed in range(600)])


def test_diseases_are_as_frequent_as_stated():
    found = {
        "atrophy": share(pathology.has_atrophy),
        "white matter lesions": share(lambda own: pathology.white_matter_lesions(BALL, own, own.of("left"))),
        "cortical infarct": share(lambda own: pathology.cortical_infarcts(mm(28, 0, 0), own)),
        "lacune": share(lambda own: pathology.lacunes(BALL, own)),
    }
    assert found == pytest.approx(pathology.PROBABILITY, abs=0.04)


def test_at_half_variation_everybody_is_well():
    for seed in range(20):
        assert not pathology.has_atrophy(Variability(seed, 0.5))
        assert not {part.tissue for part in body(seed, 0.5).parts} & set(LESIONS)


@pytest.mark.parametrize("lesion", LESIONS)
def test_a_lesion_is_labelled_as_the_structure_it_lies_in(lesion):
    subject = next(one for one in map(body, range(60)) if lesion in {part.tissue for part in one.parts})
    materials = {part.tissue: Material(100.0 if part.tissue == lesion else 0.0) for part in subject.parts}
    grid = centred_grid((64, 80, 64), None, FIELD_OF_VIEW_MM, CENTRE_MM)
    rendering = render(subject, grid, materials, STRUCTURES, Material(0.0))
    found = {STRUCTURES.names[k].split("cerebral ")[-1] for k in np.unique(rendering.labels[rendering.mean > 60])}
    assert found
    assert found <= LESIONS[lesion]
