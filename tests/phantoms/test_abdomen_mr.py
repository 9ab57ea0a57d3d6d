import numpy as np
import pytest
import torch

from lowshot.phantoms import abdomen_ct
from lowshot.phantoms.abdomen.body import body
from lowshot.phantoms.abdomen_mr import TISSUES, materials, subject
from lowshot.phantoms.variability import Variability

SMALL = (48, 48, 36)


@pytest.fixture(scope="module")
def subjects():
    return [subject(seed, SMALL) for seed in range(3)]


def level(scan, name):
    return float(scan.scan.voxels[0].numpy()[scan.truth.labels.numpy() == scan.truth.names.index(name)].mean())


def test_the_truth_is_that_of_the_ct_of_the_same_body(subjects):
    for seed, mr in enumerate(subjects):
        ct = abdomen_ct.subject(seed, SMALL)
        assert torch.equal(mr.truth.labels, ct.truth.labels)
        assert mr.truth.names == ct.truth.names
        np.testing.assert_array_equal(mr.scan.affine, ct.scan.affine)
        assert not torch.equal(mr.scan.voxels, ct.scan.voxels)


def test_water_is_bright_and_flowing_blood_is_dark(subjects):
    for scan in subjects:
        assert level(scan, "aorta") < level(scan, "liver") < level(scan, "spleen"), scan.scan.name
        assert level(scan, "liver") < level(scan, "gallbladder"), scan.scan.name


def test_magnitudes_are_whole_numbers_that_a_scanner_stores(subjects):
    for scan in subjects:
        voxels = scan.scan.voxels
        assert torch.equal(voxels, voxels.round())
        assert 0 <= voxels.min() <= voxels.max() <= 32767


def test_the_unit_differs_from_scan_to_scan():
    liver = [level(subject(seed, 24), "liver") for seed in range(6)]
    assert max(liver) > 1.4 * min(liver)


def test_equal_seeds_give_equal_voxels():
    one, same = subject(5, 20), subject(5, 20)
    assert torch.equal(one.scan.voxels, same.scan.voxels)


def test_every_tissue_of_the_body_has_a_material():
    assert {part.tissue for seed in range(40) for part in body(seed).parts} == set(materials(Variability(0)))


def test_the_average_subject_looks_as_the_table_says():
    average = materials(Variability(3, amount=0.0))
    assert {tissue: material.mean for tissue, material in average.items()} == pytest.approx(
        {tissue: material.mean for tissue, material in TISSUES.items()}
    )
