import numpy as np
import pytest
import torch

from lowshot.imaging.laterality import mirror_pairs
from lowshot.imaging.names import Names
from lowshot.imaging.scan import LabelledScan, Scan, Segmentation

TILTED = np.array([[0.98, -0.2, 0, -30], [0.2, 0.98, 0, 12], [0, 0, 2.0, 5], [0, 0, 0, 1]])


def scan(boxes, affine=None, spacing_known=True, shape=(41, 20, 10)):
    """Structures as boxes of 3 voxels around (i, j, k), in the order of their names."""
    affine = np.eye(4) if affine is None else affine
    names = Names.of(dict(enumerate(boxes, start=1)))
    labels = torch.zeros(shape, dtype=torch.int16)
    for index, centre in enumerate(boxes.values(), start=1):
        if centre is not None:
            i, j, k = centre
            labels[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = index
    voxels = torch.zeros(1, *shape)
    truth = Segmentation(labels, names, affine)
    return LabelledScan(Scan("s", voxels, affine, spacing_known=spacing_known), truth)


def auto(*scans):
    return mirror_pairs(scans[0].truth.names, scans)


KIDNEYS = {"left kidney": (10, 5, 5), "right kidney": (30, 5, 5)}
BRAIN = {"left hippocampus": (10, 5, 5), "right hippocampus": (30, 5, 5), "third ventricle": (20, 9, 5)}


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1.0, 3.0, 1.0]), TILTED])
def test_a_brain_with_a_ventricle_between_its_halves_is_mirrored(affine):
    assert auto(scan(BRAIN, affine)) == ((1, 2),)


def test_kidneys_with_a_liver_and_a_spleen_are_not_mirrored():
    abdomen = {**KIDNEYS, "liver": (33, 9, 5), "spleen": (6, 9, 5)}
    assert auto(scan(abdomen)) is None


def test_pairs_alone_are_mirrored():
    assert auto(scan(KIDNEYS)) == ((1, 2),)


@pytest.mark.parametrize(("i", "mirrored"), [(20, True), (22, True), (23, False), (18, True), (17, False)])
def test_a_structure_may_lie_a_tenth_of_the_pairs_distance_off_the_plane(i, mirrored):
    assert (auto(scan({**KIDNEYS, "aorta": (i, 9, 5)})) is not None) == mirrored


def test_one_scan_of_several_that_speaks_against_it_is_enough():
    aside = {**BRAIN, "third ventricle": (35, 9, 5)}
    assert auto(scan(BRAIN), scan(aside)) is None


def test_what_cannot_be_seen_is_not_trusted():
    assert auto(scan({**BRAIN, "third ventricle": None})) is None
    assert auto(scan({**BRAIN, "left hippocampus": None})) is None


def test_a_left_structure_without_its_twin_is_not_mirrored():
    assert auto(scan({**KIDNEYS, "left lung": (8, 12, 5)})) is None


def test_the_chambers_of_a_heart_are_no_twins():
    assert auto(scan({"left ventricle": (10, 5, 5), "right ventricle": (30, 5, 5)})) is None
    assert auto(scan({"Left Lateral Ventricle": (10, 5, 5), "Right Lateral Ventricle": (30, 5, 5)})) == ((1, 2),)


def test_a_picture_does_not_tell_left_from_right():
    assert auto(scan(KIDNEYS, spacing_known=False)) is None


@pytest.mark.parametrize(("first_axis", "mirrored"), [((1, 0, 0), True), ((-1, 0, 0), True), ((0, 1, 0), False)])
@pytest.mark.parametrize("mirror", ["auto", "symmetric"])
def test_a_slice_is_mirrored_only_along_an_axis_from_left_to_right(first_axis, mirrored, mirror):
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = first_axis, np.abs(np.roll(first_axis, 1))
    affine[:3, :2] = affine[:3, :2] if mirrored else np.eye(3)[:, [1, 0]]
    one = scan({name: (i, j, 1) for name, (i, j, _) in KIDNEYS.items()}, affine, shape=(41, 20, 3))
    flat = LabelledScan(
        Scan("s", one.scan.voxels[..., 1:2], affine), Segmentation(one.truth.labels[..., 1:2], one.truth.names, affine)
    )
    assert mirror_pairs(one.truth.names, [flat], mirror) == (((1, 2),) if mirrored else None)


def test_without_pairs_or_scans_nothing_is_mirrored():
    names = Names.of({1: "liver"})
    assert mirror_pairs(names, []) is None
    assert auto(scan({"liver": (20, 5, 5)})) is None


def test_symmetry_can_be_declared_and_mirroring_switched_off():
    liver = scan({"liver": (33, 5, 5)})
    assert mirror_pairs(liver.truth.names, [liver], "symmetric") == ()
    assert mirror_pairs(scan(KIDNEYS).truth.names, [], "symmetric") == ((1, 2),)
    assert mirror_pairs(scan(KIDNEYS).truth.names, [scan(KIDNEYS)], "off") is None
