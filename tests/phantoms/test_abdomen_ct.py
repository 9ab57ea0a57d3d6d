from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from effort import smoothings
from lowshot.errors import UnknownLabel
from lowshot.imaging.names import lateral_pairs
from lowshot.phantoms.abdomen.body import BTCV, body
from lowshot.phantoms.abdomen_ct import materials, subject
from lowshot.phantoms.variability import Variability

SMALL = (48, 48, 36)

# Mean over a structure, partial volume included, in Hounsfield units.
HU_RANGES = {
    "spleen": (70, 140),
    "right kidney": (80, 210),
    "left kidney": (80, 210),
    "gallbladder": (-15, 60),
    "liver": (40, 130),
    "aorta": (80, 260),
    "pancreas": (30, 130),
}
# Volumes (ml) of living adults, some of them ill, rounded outwards.
VOLUMES_ML = {
    "spleen": (50, 800),
    "right kidney": (70, 280),
    "left kidney": (70, 280),
    "gallbladder": (8, 180),
    "oesophagus": (8, 50),
    "liver": (900, 2600),
    "stomach": (150, 900),
    "aorta": (45, 220),
    "pancreas": (35, 170),
}


@pytest.fixture(scope="module")
def subjects():
    return [subject(seed, SMALL) for seed in range(6)]


def voxels(scan):
    return scan.scan.voxels[0].numpy()


def mask(scan, name):
    return scan.truth.labels.numpy() == scan.truth.names.index(name)


def test_the_grid_is_stored_as_ct_is(subjects):
    scan = subjects[0].scan
    assert scan.grid.shape == SMALL
    assert scan.grid.spacing == pytest.approx((8.0, 8.0, 8.0))
    assert np.sign(np.diag(scan.affine)).tolist() == [-1, -1, 1, 1]
    np.testing.assert_allclose(scan.grid.corners().mean(axis=0), [0, 0, 20])  # the middle of the belly


def test_one_number_is_a_cube_and_spacing_can_be_chosen():
    assert subject(0, 16).scan.grid.spacing == pytest.approx((24.0, 24.0, 18.0))
    assert subject(0, (20, 16, 12), (7.0, 8.0, 9.0)).scan.grid.spacing == pytest.approx((7.0, 8.0, 9.0))


def test_equal_seeds_give_equal_voxels_and_others_do_not():
    one, same, other = (subject(seed, 20) for seed in (5, 5, 6))
    assert torch.equal(one.scan.voxels, same.scan.voxels)
    assert torch.equal(one.truth.labels, same.truth.labels)
    assert not torch.equal(one.truth.labels, other.truth.labels)


def test_the_body_does_not_depend_on_the_grid(subjects):
    coarse, fine = subject(3, (32, 32, 24)), subjects[3]
    for name in ("liver", "left kidney", "stomach"):
        volumes = [mask(scan, name).sum() * scan.scan.grid.voxel_volume_mm3 for scan in (coarse, fine)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.1)


def test_every_structure_is_there_in_one_piece_with_a_plausible_volume(subjects):
    for scan in subjects:
        for name, (least, most) in VOLUMES_ML.items():
            pieces, count = ndimage.label(mask(scan, name))
            sizes = ndimage.sum_labels(pieces > 0, pieces, range(1, count + 1))
            assert sizes.max() > 0.85 * sizes.sum(), (scan.scan.name, name)
            assert least < sizes.sum() * scan.scan.grid.voxel_volume_mm3 / 1000 < most, (scan.scan.name, name)


@pytest.mark.slow
def test_every_structure_is_there_in_many_subjects():
    for seed in range(100, 120):
        present = np.unique(subject(seed, (48, 48, 36)).truth.labels)
        assert present.tolist() == list(range(len(BTCV))), seed


def test_hounsfield_units_of_organs_and_of_what_surrounds_them(subjects):
    for scan in subjects:
        hounsfield, labels = voxels(scan), scan.truth.labels.numpy()
        for name, (low, high) in HU_RANGES.items():
            assert low < hounsfield[mask(scan, name)].mean() < high, (scan.scan.name, name)
        assert np.median(hounsfield[:, :3, 0]) == pytest.approx(-1000, abs=15)  # air in front of the belly
        around = hounsfield[labels == 0]
        assert 0.05 < ((around > -130) & (around < -70)).mean() < 0.5  # fat
        assert (around > 250).mean() > 0.005  # bone
        assert ((around > -900) & (around < -750)).mean() > 0.01  # lung


def test_whole_numbers_that_fit_the_range_of_a_ct(subjects):
    for scan in subjects:
        hounsfield = scan.scan.voxels
        assert torch.equal(hounsfield, hounsfield.round())
        assert -1024 <= hounsfield.min() < -950
        assert 400 < hounsfield.max() <= 3071


def test_organs_lie_where_they_belong(subjects):
    for scan in subjects:
        where = {
            name: scan.scan.affine[:3, :3] @ ndimage.center_of_mass(mask(scan, name)) + scan.scan.affine[:3, 3]
            for name in BTCV.foreground
        }
        right_to_left = ["liver", "aorta", "spleen"]
        assert all(where[a][0] > where[b][0] + 20 for a, b in pairwise(right_to_left)), scan.scan.name
        assert where["right kidney"][0] > 30 > -30 > where["left kidney"][0]
        assert where["right kidney"][2] < where["liver"][2]
        assert where["stomach"][0] < 0
        assert where["oesophagus"][2] > where["stomach"][2]
        assert where["aorta"][1] < where["stomach"][1]


def test_less_variation_makes_subjects_more_alike(subjects):
    def likeness(one, other):
        masks = [(mask(one, name), mask(other, name)) for name in BTCV.foreground]
        return np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in masks])

    half, none = (likeness(*(subject(seed, SMALL, variation=variation) for seed in (1, 2))) for variation in (0.5, 0.0))
    full = likeness(subjects[1], subjects[2])
    assert full < half < none
    assert none > 0.85


def test_only_what_is_asked_for_is_annotated(subjects):
    kidneys, everything = subject(1, SMALL, structures=("left kidney", "right kidney")), subjects[1]
    assert kidneys.truth.names.names == ("background", "right kidney", "left kidney")
    assert kidneys.truth.names.values == (0, 2, 3)
    assert lateral_pairs(kidneys.truth.names) == ((2, 1),)
    for name in kidneys.truth.names.foreground:
        np.testing.assert_array_equal(mask(kidneys, name), mask(everything, name))
    assert torch.equal(kidneys.scan.voxels, everything.scan.voxels)


def test_a_structure_that_does_not_exist_is_refused():
    with pytest.raises(UnknownLabel, match="appendix"):
        subject(0, 8, structures=("appendix",))


def test_every_tissue_of_the_body_has_a_material():
    tissues = {part.tissue for seed in range(40) for part in body(seed).parts}
    assert tissues == set(materials(Variability(0)))


def test_every_structure_of_the_table_is_in_the_body():
    assert {part.structure for part in body(0).parts} == {None, *BTCV.foreground}


def test_contrast_phase_differs_between_subjects():
    aorta = [materials(Variability(seed))["arterial blood"].mean for seed in range(20)]
    assert max(aorta) - min(aorta) > 40
    assert all(110 < level < 300 for level in aorta)


def test_a_small_subject_takes_a_second():
    assert smoothings(lambda: subject(0, SMALL)) < 200  # run-time type checks included; 60
