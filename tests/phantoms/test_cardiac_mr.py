from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from effort import smoothings
from lowshot.errors import UnknownLabel
from lowshot.phantoms.cardiac_mr import materials, subject
from lowshot.phantoms.heart.body import STRUCTURES, body
from lowshot.phantoms.study import Study
from lowshot.phantoms.variability import Variability

RIGHT, MYOCARDIUM, LEFT = 1, 2, 3
PHASES = ("end-diastole", "end-systole")

# Volumes (ml) of living adults, some of them ill, rounded outwards; the outermost slices miss a part of some.
VOLUMES_ML = {
    ("end-diastole", RIGHT): (50, 280),
    ("end-diastole", LEFT): (50, 290),
    ("end-systole", RIGHT): (20, 220),
    ("end-systole", LEFT): (8, 220),
}


@pytest.fixture(scope="module")
def hearts():
    """Both phases of each of three hearts."""
    return [{phase: subject(seed, phase=phase) for phase in PHASES} for seed in range(3)]


@pytest.fixture(scope="module")
def scans(hearts):
    return [scan for heart in hearts for scan in heart.values()]


def labels(scan):
    return scan.truth.labels.numpy()


def volume_ml(scan, structure):
    return (labels(scan) == structure).sum() * scan.scan.grid.voxel_volume_mm3 / 1000


def middle(scan):
    """The labels of a slice halfway between the ends of the left ventricle."""
    present = np.flatnonzero((labels(scan) == LEFT).any(axis=(0, 1)))
    return labels(scan)[:, :, int(present.mean())]


def radius_mm(mask, scan):
    return np.sqrt(mask.sum() * np.prod(scan.scan.grid.spacing[:2]) / np.pi)


def test_values_are_those_of_acdc():
    assert STRUCTURES.names == ("background", "right ventricle", "myocardium", "left ventricle")
    assert STRUCTURES.values == (0, 1, 2, 3)


def test_ventricles_have_plausible_volumes_in_both_phases(hearts):
    for heart in hearts:
        for (phase, structure), (least, most) in VOLUMES_ML.items():
            assert least < volume_ml(heart[phase], structure) < most, (heart[phase].scan.name, phase, structure)


def test_the_heart_contracts(hearts):
    for heart in hearts:
        relaxed, contracted = heart.values()
        for structure in (RIGHT, LEFT):
            assert volume_ml(contracted, structure) < 0.85 * volume_ml(relaxed, structure), relaxed.scan.name
        # Muscle thickens, and is neither made nor lost; the ring of a middle slice shows both.
        walls, sizes = [], []
        for scan in (relaxed, contracted):
            cavity, whole = middle(scan) == LEFT, np.isin(middle(scan), (MYOCARDIUM, LEFT))
            walls.append(radius_mm(whole, scan) - radius_mm(cavity, scan))
            sizes.append(volume_ml(scan, MYOCARDIUM))
        assert walls[1] > 1.15 * walls[0], relaxed.scan.name
        assert sizes[1] == pytest.approx(sizes[0], rel=0.25), relaxed.scan.name


def test_the_average_heart_ejects_two_thirds_of_its_blood():
    relaxed, contracted = (volume_ml(subject(0, variation=0.0, phase=phase), LEFT) for phase in PHASES)
    assert 0.55 < 1 - contracted / relaxed < 0.7


def test_myocardium_encloses_the_left_cavity_in_the_middle(scans):
    for scan in scans:
        around = ndimage.binary_dilation(middle(scan) == LEFT) & (middle(scan) != LEFT)
        assert (middle(scan)[around] == MYOCARDIUM).all(), scan.scan.name


def test_the_ring_is_open_towards_the_base_of_some_slices(scans):
    open_slices = 0
    for scan in scans:
        for k in range(scan.scan.grid.shape[2]):
            cavity = labels(scan)[:, :, k] == LEFT
            around = labels(scan)[:, :, k][ndimage.binary_dilation(cavity) & ~cavity]
            is_open = 0.1 < (around != MYOCARDIUM).mean() < 0.9 if cavity.any() else False
            open_slices += is_open
            if is_open:
                assert k > np.flatnonzero((labels(scan) == LEFT).any(axis=(0, 1))).mean()
    assert open_slices >= len(scans) / 2


def test_the_right_ventricle_is_a_crescent_beside_the_septum(scans):
    for scan in scans:
        right, septum = middle(scan) == RIGHT, middle(scan) == MYOCARDIUM
        touching = ndimage.binary_dilation(right, iterations=2) & septum
        assert touching.sum() > 0.1 * septum.sum(), scan.scan.name
        i_right, i_left = (np.nonzero(middle(scan) == structure)[0].mean() for structure in (RIGHT, LEFT))
        assert i_right < i_left - 8  # on the left of the picture
        # A crescent is not convex: part of the straight way between its points leads through the septum.
        points = np.argwhere(right)
        halfway = (points[:, None] + points[None, :: max(len(points) // 50, 1)]) // 2
        assert septum[tuple(halfway.reshape(-1, 2).T)].mean() > 0.01, scan.scan.name


def test_the_ventricle_tapers_to_its_apex_and_ends_inside_the_stack(scans):
    for scan in scans:
        areas = np.isin(labels(scan), (MYOCARDIUM, LEFT)).sum(axis=(0, 1))
        present = np.flatnonzero(areas)
        assert areas[present[0]] < 0.6 * areas.max()
        assert areas.argmax() > present.mean()  # k runs from the apex to the base
    ends = [np.isin(k, np.flatnonzero(labels(scan).any(axis=(0, 1)))) for scan in scans for k in (0, 9)]
    assert np.mean(ends) < 0.5


def test_blood_is_bright_muscle_is_dark_and_lungs_are_darker(scans):
    for scan in scans:
        image = scan.scan.voxels[0].numpy()
        right, myocardium, left = (np.median(image[labels(scan) == structure]) for structure in (1, 2, 3))
        assert min(right, left) > 1.5 * myocardium, scan.scan.name
        assert np.percentile(image, 30) < 0.4 * myocardium, scan.scan.name
        assert torch.equal(scan.scan.voxels, scan.scan.voxels.round())
        assert 0 <= image.min() <= image.max() <= 32767


def test_papillary_muscles_are_dark_and_belong_to_the_cavity():
    for seed in range(2):
        scan = subject(seed, variation=0.5, phase="end-diastole")
        image = scan.scan.voxels[0].numpy()
        blood, muscle = (np.median(image[labels(scan) == structure]) for structure in (LEFT, MYOCARDIUM))
        deep = ndimage.binary_erosion(labels(scan) == LEFT, np.ones((5, 5, 1)))
        dark = deep & (image < (blood + muscle) / 2)
        assert 0.003 < dark.sum() / deep.sum() < 0.2, seed


def test_slices_are_thick_and_cross_the_long_axis(scans):
    grid = scans[0].scan.grid
    assert grid.shape == (128, 128, 10)
    assert grid.spacing == pytest.approx((300 / 128, 300 / 128, 9.0))
    right, down, towards_base = (grid.affine[:3, axis] / grid.spacing[axis] for axis in range(3))
    np.testing.assert_allclose(np.cross(right, down), towards_base, atol=1e-12)
    assert towards_base @ (1, -1, 1) > 1.5  # the base lies to the right, behind and above the apex
    assert down[2] < -0.8


def test_equal_seeds_give_equal_voxels_and_others_do_not():
    one, same, other = (subject(seed, (32, 32, 8)) for seed in (5, 5, 7))
    assert torch.equal(one.scan.voxels, same.scan.voxels)
    assert torch.equal(one.truth.labels, same.truth.labels)
    assert not torch.equal(one.truth.labels, other.truth.labels)


def test_the_phase_is_that_of_the_seed_unless_asked_for():
    for seed in (4, 5):
        drawn, asked = subject(seed, (32, 32, 8)), subject(seed, (32, 32, 8), phase=PHASES[seed % 2])
        assert torch.equal(drawn.scan.voxels, asked.scan.voxels)
    study = Study(anatomy="cardiac-mr", subjects=6, shape=(32, 32, 8), variation=0.0)
    assert {volume_ml(scan, LEFT) > 75 for scan in study} == {True, False}  # both phases of the average heart


def test_without_variation_only_noise_differs():
    one, other = (subject(seed, (64, 64, 10), variation=0.0) for seed in (0, 2))
    differ = (labels(one) != labels(other)).mean()
    assert differ < 0.002  # trabeculae and the roughness of the wall
    difference = (one.scan.voxels - other.scan.voxels).abs()
    assert 0 < difference.median() < 60


def test_hearts_differ_more_with_more_variation():
    def likeness(variation):
        one, other = (labels(subject(seed, (64, 64, 10), variation=variation)) == LEFT for seed in (2, 4))
        return 2 * (one & other).sum() / (one.sum() + other.sum())

    assert likeness(1.0) < likeness(0.5) < likeness(0.0)


def test_only_what_is_asked_for_is_annotated(scans):
    alone = subject(1, structures=("left ventricle",), phase="end-systole")
    assert alone.truth.names.values == (0, 3)
    np.testing.assert_array_equal(labels(alone) == 1, labels(scans[3]) == LEFT)
    with pytest.raises(UnknownLabel, match="liver"):
        subject(0, 8, structures=("liver",))


def test_one_slice_is_a_scan_too():
    (scan,) = replace(Study(anatomy="cardiac-mr", subjects=1), shape=(64, 64, 1))
    assert scan.scan.grid.shape == (64, 64, 1)
    assert set(np.unique(labels(scan))) == {0, 1, 2, 3}


def test_every_tissue_has_a_material_and_every_structure_a_part():
    parts = [part for seed in range(10) for phase in PHASES for part in body(seed, phase).parts]
    assert {part.tissue for part in parts} == set(materials(Variability(0)))
    assert {part.structure for part in parts} == {None, *STRUCTURES.foreground}


def test_a_subject_takes_less_than_a_second():
    assert smoothings(lambda: subject(1)) < 180  # run-time type checks included; 55
