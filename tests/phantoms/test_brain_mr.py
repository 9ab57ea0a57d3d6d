import numpy as np
import pytest
import torch
from scipy import ndimage

from lowshot.errors import UnknownLabel
from lowshot.imaging.laterality import mirror_pairs
from lowshot.phantoms.brain.body import STRUCTURES, body
from lowshot.phantoms.brain_mr import materials, subject
from lowshot.phantoms.variability import Variability

SMALL = (64, 80, 64)

# Volumes (ml) of living adults, some of them ill, rounded outwards.
VOLUMES_ML = {
    "cerebral white matter": (130, 330),
    "cerebral cortex": (170, 380),
    "lateral ventricle": (3, 50),
    "thalamus": (3, 11),
    "caudate": (1.5, 7),
    "putamen": (2.2, 8),
    "pallidum": (0.7, 3.2),
    "hippocampus": (1.5, 8),
    "third ventricle": (0.5, 5),
    "fourth ventricle": (0.4, 6),
    "brain stem": (12, 36),
    "cerebellum": (80, 200),
}


@pytest.fixture(scope="module")
def subjects():
    return [subject(seed, SMALL) for seed in range(3)]


def mask(scan, name):
    return scan.truth.labels.numpy() == scan.truth.names.index(name)


def centre(scan, name):
    return scan.scan.affine[:3, :3] @ ndimage.center_of_mass(mask(scan, name)) + scan.scan.affine[:3, 3]


def test_every_structure_is_there_with_a_plausible_volume(subjects):
    for scan in subjects:
        for name in STRUCTURES.foreground:
            least, most = VOLUMES_ML[name.removeprefix("left ").removeprefix("right ")]
            volume = mask(scan, name).sum() * scan.scan.grid.voxel_volume_mm3 / 1000
            assert least < volume < most, (scan.scan.name, name)


def test_deep_structures_are_in_one_piece(subjects):
    for scan in subjects:
        for name in ("left thalamus", "right putamen", "left pallidum", "cerebellum", "brain stem"):
            pieces, count = ndimage.label(mask(scan, name))
            sizes = ndimage.sum_labels(pieces > 0, pieces, range(1, count + 1))
            assert sizes.max() > 0.9 * sizes.sum(), (scan.scan.name, name)


def test_left_is_left_and_all_else_lies_on_the_midline(subjects):
    for scan in subjects:
        pairs = mirror_pairs(scan.truth.names, [scan])
        assert pairs is not None
        assert len(pairs) == 8
        sides = [[centre(scan, scan.truth.names.names[index])[0] for index in pair] for pair in pairs]
        assert all(left + 10 < right for left, right in sides)
        alone = set(STRUCTURES.foreground) - {scan.truth.names.names[index] for pair in pairs for index in pair}
        assert alone == {"third ventricle", "fourth ventricle", "brain stem", "cerebellum"}
        for name in alone:  # heads are turned by a few degrees
            assert abs(centre(scan, name)[0] - np.mean(sides)) < 6, (scan.scan.name, name)


def test_structures_lie_where_they_belong(subjects):
    for scan in subjects:
        x, y, z = range(3)
        assert centre(scan, "cerebellum")[z] < centre(scan, "left cerebral cortex")[z] - 25
        assert centre(scan, "cerebellum")[y] < centre(scan, "brain stem")[y] - 15
        assert centre(scan, "right putamen")[x] > centre(scan, "right pallidum")[x] > centre(scan, "third ventricle")[x]
        assert centre(scan, "left caudate")[y] > centre(scan, "left thalamus")[y]
        assert centre(scan, "left hippocampus")[z] < centre(scan, "left thalamus")[z]


def test_the_cortex_covers_the_white_matter_and_is_folded(subjects):
    for scan in subjects:
        cortex, white = mask(scan, "left cerebral cortex"), mask(scan, "left cerebral white matter")
        rim = ndimage.binary_dilation(white) & ~white
        assert cortex[rim].mean() > 0.6  # the rest borders on ventricles, deep nuclei and the other side
        closed = ndimage.binary_closing(cortex | white, iterations=3)
        sulci = closed & (scan.truth.labels.numpy() == 0)
        assert sulci.sum() > 0.03 * closed.sum()


def test_contrast_is_that_of_t1(subjects):
    for scan in subjects:
        image = scan.scan.voxels[0].numpy()
        levels = [
            np.median(image[mask(scan, f"left {name}")])
            for name in ("lateral ventricle", "cerebral cortex", "cerebral white matter")
        ]
        assert levels == sorted(levels)
        assert levels[1] > 1.3 * levels[0]
        assert torch.equal(scan.scan.voxels, scan.scan.voxels.round())
        assert 0 <= image.min() <= image.max() <= 32767


def test_equal_seeds_give_equal_voxels_and_others_do_not():
    one, same, other = (subject(seed, 20) for seed in (5, 5, 6))
    assert torch.equal(one.scan.voxels, same.scan.voxels)
    assert torch.equal(one.truth.labels, same.truth.labels)
    assert not torch.equal(one.truth.labels, other.truth.labels)


def test_sulci_differ_more_with_more_variation():
    def likeness(variation):
        one, other = (mask(subject(seed, SMALL, variation=variation), "left cerebral cortex") for seed in (1, 2))
        return 2 * (one & other).sum() / (one.sum() + other.sum())

    assert likeness(1.0) + 0.05 < likeness(0.5) < likeness(0.0)


def test_only_what_is_asked_for_is_annotated(subjects):
    nuclei = subject(1, SMALL, structures=("left thalamus", "right thalamus"))
    assert nuclei.truth.names.values == (0, 10, 49)
    np.testing.assert_array_equal(mask(nuclei, "left thalamus"), mask(subjects[1], "left thalamus"))
    with pytest.raises(UnknownLabel, match="liver"):
        subject(0, 8, structures=("liver",))


def test_every_tissue_of_the_head_has_a_material_and_every_structure_a_part():
    parts = [part for seed in range(40) for part in body(seed).parts]
    assert {part.tissue for part in parts} == set(materials(Variability(0)))
    assert {part.structure for part in parts} == {None, *STRUCTURES.foreground}
