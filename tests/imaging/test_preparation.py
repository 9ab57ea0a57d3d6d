import json
import math
import os
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from lowshot.errors import InputError, SettingsError
from lowshot.imaging.label_maps import read_labelled
from lowshot.imaging.preparation import Preparation, nearest_in_plane, nearest_ras
from lowshot.imaging.scan import Scan


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def oblique(spacing, angles=(20, -15, 10), origin=(-30.0, 12.0, 55.0)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine


def ellipsoids(shape, spacing, sizes_mm=((12, 10, 9), (7, 8, 6), (5, 4, 5))):
    """Three organs of a realistic size, in mm, as indices 1, 2, 3 (the third touches the second)."""
    grid = np.stack(np.meshgrid(*[np.arange(n) * mm for n, mm in zip(shape, spacing, strict=True)], indexing="ij"))
    extent = np.array(shape) * spacing
    centres = (0.35 * extent, 0.6 * extent, 0.6 * extent + [0, 10, 0])
    labels = np.zeros(shape, dtype=np.int64)
    for index, (centre, size) in enumerate(zip(centres, sizes_mm, strict=True), start=1):
        offset = (grid - centre[:, None, None, None]) / np.array(size)[:, None, None, None]
        labels[(offset**2).sum(0) <= 1] = index
    return torch.from_numpy(labels)


def scan_of(labels, affine, **more):
    return Scan("case", labels[None].float(), affine, **more)


def dice(a, b, index):
    a, b = a == index, b == index
    return 2 * (a & b).sum().item() / (a.sum() + b.sum()).item()


def test_a_slice_is_turned_as_the_volume_is_that_it_comes_from():
    """PNG and TIFF tell no orientation and are taken as LPS, each page and all pages together."""
    preparation = Preparation("in-plane", None, "none", "none")
    for affine in (np.diag([-1.0, -1.0, 1.0, 1.0]), oblique((1.0, 1.0, 3.0)) @ np.diag([-1.0, 1.0, 1.0, 1.0])):
        volume = scan_of(torch.randint(0, 100, (6, 5, 4)), affine)
        one = Scan("one", volume.voxels[..., 2:3], affine, spacing_known=False)
        assert torch.equal(preparation.apply(one).voxels, preparation.apply(volume).voxels[..., 2:3])


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_orientation_becomes_ras_and_comes_back(order):
    spacing = np.array([0.8, 1.5, 3.0])
    for signs in product((1, -1), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = (np.eye(3)[:, list(order)] * signs) * spacing
        labels = torch.randint(0, 4, (4, 5, 6))
        preparation = Preparation(intensity="none")
        prepared = preparation.apply(scan_of(labels, affine))
        assert nibabel.aff2axcodes(prepared.grid.affine) == ("R", "A", "S")
        assert torch.equal(preparation.undo_labels(prepared.voxels[0].long(), prepared), labels)
        canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(labels.numpy().astype(np.int16), affine))
        np.testing.assert_array_equal(prepared.voxels[0].numpy(), np.asarray(canonical.dataobj))
        np.testing.assert_allclose(prepared.grid.affine, canonical.affine, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_the_nearest_axes_are_nibabels(seed):
    affine = np.eye(4)
    generator = np.random.default_rng(seed)
    tilt = Rotation.from_euler("xyz", generator.uniform(-25, 25, 3), degrees=True).as_matrix()
    axes = np.eye(3)[:, generator.permutation(3)] * generator.choice([-1, 1], 3)
    affine[:3, :3] = tilt @ axes * generator.uniform(0.5, 5, 3)
    expected = nibabel.orientations.io_orientation(affine)  # for each scan axis: world axis, sign
    for world, (axis, sign) in enumerate(nearest_ras(affine)):
        assert expected[axis].tolist() == [world, sign]


@pytest.mark.parametrize(
    "affine_of",
    [
        oblique,
        lambda spacing: oblique(spacing) @ np.array([[1, 0.1, 0, 0], [0, 1, 0.25, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ],
    ids=["oblique", "sheared"],
)
def test_at_equal_spacing_a_label_map_comes_back_bit_by_bit(affine_of):
    spacing = (0.9, 1.4, 3.3)
    labels = ellipsoids((60, 50, 20), spacing)
    body = torch.zeros(1, *labels.shape)
    body[:, 4:-6, 3:-5, 1:-1] = 100.0
    preparation = Preparation(crop="foreground")
    scan = Scan("case", body + labels, affine_of(spacing))
    prepared = preparation.apply(scan)
    moved = preparation.apply_labels(labels, prepared)
    assert prepared.axis_map.is_exact
    assert np.prod(prepared.grid.shape) < labels.numel()
    assert torch.equal(preparation.undo_labels(moved, prepared), labels)


@pytest.mark.parametrize(
    ("spacing", "at_least"), [((1.0, 1.0, 1.0), 0.93), ((0.7, 0.7, 0.7), 0.95), ((1.4, 1.4, 1.65), 0.9)]
)
def test_at_another_spacing_a_label_map_comes_back_nearly(spacing, at_least):
    own = (0.9, 1.4, 3.3)
    labels = ellipsoids((60, 50, 20), own)
    preparation = Preparation(spacing=spacing)
    prepared = preparation.apply(scan_of(labels, oblique(own)))
    back = preparation.undo_labels(preparation.apply_labels(labels, prepared), prepared)
    assert all(dice(back, labels, index) > at_least for index in (1, 2, 3))


def test_nothing_moves_in_the_body():
    """The centre of mass in world mm stays where it was, whatever is done to the grid."""
    own = (0.9, 1.4, 3.3)
    labels = ellipsoids((60, 50, 20), own)
    scan = scan_of(labels, oblique(own, angles=(95, 10, -170)))
    prepared = Preparation(spacing=(1.2, 0.8, 2.0), crop=(70, 90, 50), intensity="none").apply(scan)
    moved = Preparation(intensity="none").apply_labels(labels, prepared)
    assert moved.shape == (70, 90, 50)
    for index in (1, 2, 3):
        before = scan.affine @ [*np.argwhere(labels.numpy() == index).mean(0), 1]
        after = prepared.grid.affine @ [*np.argwhere(moved.numpy() == index).mean(0), 1]
        np.testing.assert_allclose(after, before, atol=0.25)


def test_the_prepared_grid_covers_the_scan_around_the_same_centre():
    scan = scan_of(torch.zeros(10, 11, 7), oblique((1.0, 2.0, 3.0)))
    prepared = Preparation(orientation=None, spacing=(3.0, 1.5, 3.0)).apply(scan)
    assert prepared.grid.shape == (4, 15, 7)
    assert prepared.grid.spacing == pytest.approx((3.0, 1.5, 3.0))
    assert prepared.axis_map.start[0] == pytest.approx(0)  # 10 voxels of 1 mm become 4 of 3 mm at 0, 3, 6, 9
    np.testing.assert_allclose(prepared.grid.corners().mean(0), scan.grid.corners().mean(0), atol=1e-9)


@pytest.mark.parametrize("sizes", [(3, 4, 5), (20, 5, 2), (11, 12, 13)])
def test_a_centre_crop_cuts_and_pads_with_the_lowest_value(sizes):
    voxels = torch.rand(1, 9, 8, 7) + 2
    voxels[0, 4, 4, 3] = 1.5
    preparation = Preparation(orientation=None, crop=sizes, intensity="none")
    scan = Scan("case", voxels, np.eye(4))
    prepared = preparation.apply(scan)
    assert prepared.voxels.shape == (1, *sizes)
    back = preparation.undo(prepared.voxels, prepared)
    box = prepared.axis_map.scan_box()
    assert torch.equal(back[0][box], voxels[0][box])
    assert back[0].count_nonzero() == back[0][box].numel()
    if max(sizes) > 9:
        assert prepared.voxels.min() == 1.5
    else:
        assert (prepared.axis_map.start[0], prepared.axis_map.start[1]) == (3, 2)


def test_margin_weighted_labels_equal_interpolated_probabilities_for_two_classes():
    own = (0.9, 1.4, 3.3)
    preparation = Preparation(spacing=(1.5, 1.5, 1.5))
    prepared = preparation.apply(Scan("case", torch.randn(1, 48, 31, 8), oblique(own)))
    smooth = torch.nn.functional.avg_pool3d(torch.randn(1, 1, *prepared.grid.shape), 5, 1, 2)[0, 0]
    probability = torch.sigmoid(8 * smooth)
    probabilities = torch.stack([1 - probability, probability])
    expected = preparation.undo(probabilities, prepared).argmax(0)
    best = probabilities.sort(0, descending=True)[0]
    labels = preparation.undo_labels(probabilities.argmax(0), prepared, best[0] - best[1])
    assert (labels != expected).sum() == 0
    unweighted = preparation.undo_labels(probabilities.argmax(0), prepared)
    assert (unweighted != expected).float().mean() > 0.005  # so the margin is what does it


def test_margin_weighted_labels_are_close_for_many_classes():
    logits = torch.nn.functional.avg_pool3d(torch.randn(1, 6, 30, 28, 16), 5, 1, 2)[0] * 20
    probabilities = logits.softmax(0)
    preparation = Preparation(orientation=None, spacing=(1.5, 1.5, 1.5))
    prepared = preparation.apply(Scan("case", torch.randn(1, 50, 30, 8), oblique((0.9, 1.4, 3.0))))
    assert prepared.grid.shape == (30, 28, 16)
    best = probabilities.sort(0, descending=True)[0]
    labels = preparation.undo_labels(probabilities.argmax(0), prepared, best[0] - best[1])
    expected = preparation.undo(probabilities, prepared).argmax(0)
    wrong = (labels != expected).float().mean()
    unweighted = preparation.undo_labels(probabilities.argmax(0), prepared)
    assert wrong < 0.6 * (unweighted != expected).float().mean()


def test_a_tie_keeps_the_class_it_was_given():
    preparation = Preparation(spacing=(2.0, 2.0, 2.0))
    prepared = preparation.apply(Scan("case", torch.randn(1, 8, 8, 8), np.eye(4)))
    labels = torch.full(prepared.grid.shape, 3)
    margin = torch.zeros(prepared.grid.shape)
    assert bool((preparation.undo_labels(labels, prepared, margin) == 3).all())


@pytest.mark.parametrize("noise", [0, 1e-7, -1e-7])
@pytest.mark.parametrize("axis", range(3))
def test_a_sheet_of_one_voxel_is_there_at_half_the_resolution(axis, noise):
    labels = torch.zeros(9, 9, 9, dtype=torch.long)  # prepared voxels lie on 0, 2, 4, 6, 8
    labels.select(axis, 4).fill_(3)
    preparation = Preparation(orientation=None, spacing=(2.0, 2.0, 2.0))
    prepared = preparation.apply(scan_of(labels, np.diag([1 + noise, 1 + noise, 1 + noise, 1.0])))
    expected = torch.zeros(5, 5, 5, dtype=torch.long)
    expected.select(axis, 2).fill_(3)
    assert torch.equal(preparation.apply_labels(labels, prepared), expected)


def test_of_two_structures_that_tie_the_lower_index_wins():
    labels = torch.full((9, 9, 9), 2)
    labels[4] = 1
    preparation = Preparation(orientation=None, spacing=(2.0, 2.0, 2.0))
    moved = preparation.apply_labels(labels, preparation.apply(scan_of(labels, np.eye(4))))
    assert moved[:, 2, 2].tolist() == [2, 2, 1, 2, 2]


def test_outside_of_the_crop_is_background_and_zero():
    preparation = Preparation(crop=(4, 4, 4))
    prepared = preparation.apply(Scan("case", torch.randn(1, 8, 8, 8), np.eye(4)))
    labels = preparation.undo_labels(torch.ones(4, 4, 4, dtype=torch.int16), prepared)
    scores = preparation.undo(torch.ones(2, 4, 4, 4), prepared)
    assert labels.dtype == torch.int16
    assert labels.sum() == 4**3
    assert scores.sum() == 2 * 4**3
    assert bool((labels[2:6, 2:6, 2:6] == 1).all())


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 3.0), (1.0, 1.0, 7.0), (1.5, 1.5, 1.0), (2.0, 2.0, 6.0)])
def test_one_annotated_slice_keeps_its_labels(spacing):
    """Elsewhere the label map says background because nobody looked; that must not win."""
    labels = torch.zeros(20, 20, 12, dtype=torch.long)
    labels[4:14, 6:16, 5] = 2
    known = torch.zeros(20, 20, 12, dtype=torch.bool)
    known[:, :, 5] = True
    preparation = Preparation(spacing=spacing)
    prepared = preparation.apply(scan_of(labels, oblique((1.0, 1.0, 3.0))))
    mask = preparation.apply_mask(known, prepared)
    moved = preparation.apply_labels(labels, prepared, known)
    assert mask.any()
    slices = mask.any(dim=0).any(dim=0)
    assert bool(mask[:, :, slices].all())
    share = (moved[mask] == 2).float().mean()
    assert share == pytest.approx(100 / 400, abs=0.03)


def test_where_everything_is_known_the_mask_is_the_scan():
    preparation = Preparation(spacing=(1.0, 1.0, 1.0))
    prepared = preparation.apply(scan_of(torch.zeros(20, 20, 12), oblique((1.0, 1.0, 3.0))))
    everywhere = torch.ones(20, 20, 12, dtype=torch.bool)
    assert preparation.apply_mask(None, prepared).equal(preparation.apply_mask(everywhere, prepared))


def test_a_2d_image_keeps_its_orientation_and_its_thickness():
    affine = np.diag([-0.5, -0.5, 4.0, 1.0])
    image = Scan("slice", torch.rand(1, 20, 30, 1), affine)
    prepared = Preparation(spacing=(1.0, 1.0, 1.0), intensity="none").apply(image)
    assert prepared.grid.shape == (10, 15, 1)
    assert prepared.grid.spacing == pytest.approx((1.0, 1.0, 4.0))
    assert prepared.grid.affine[0, 0] < 0
    back = Preparation().undo(prepared.voxels, prepared)
    assert back.shape == image.voxels.shape


def test_a_spacing_that_is_not_known_is_left_alone():
    image = Scan("photo", torch.rand(1, 20, 30, 1), np.eye(4), spacing_known=False)
    prepared = Preparation(spacing=(2.0, 2.0, 2.0), intensity="none").apply(image)
    assert torch.equal(prepared.voxels, image.voxels)
    assert not prepared.spacing_known


def test_each_channel_is_scaled_alone():
    voxels = torch.stack([torch.rand(6, 6, 6), 1000 * torch.rand(6, 6, 6) - 500])
    prepared = Preparation().apply(Scan("case", voxels, np.eye(4), channels=("T1", "FLAIR")))
    np.testing.assert_allclose(prepared.voxels.mean(dim=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(prepared.voxels.std(dim=(1, 2, 3), unbiased=False), 1, rtol=1e-5)


def test_padding_and_what_was_cut_away_do_not_enter_the_statistics():
    voxels = torch.randn(1, 12, 12, 12)
    voxels[:, :3] = 1e4  # cut away by the crop
    prepared = Preparation(orientation=None, crop=(6, 16, 16)).apply(Scan("case", voxels, np.eye(4)))
    inside = prepared.voxels[0, :, 2:14, 2:14]
    assert inside.mean() == pytest.approx(0, abs=1e-4)
    assert inside.std(unbiased=False) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(),
        Preparation(None, (1.1, 0.1 + 0.2, 3.0), "foreground", "window:-210:290"),
        Preparation("RAS", None, (128, 96, 1), "foreground-zscore"),
    ],
)
def test_json_round_trip(preparation):
    assert Preparation.from_json(json.loads(json.dumps(preparation.to_json()))) == preparation


def test_settings_from_another_version_are_refused():
    with pytest.raises(SettingsError, match="unknown setting bias_field"):
        Preparation.from_json({**Preparation().to_json(), "bias_field": True})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"orientation": "LPS"}, "orientation: expected RAS"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing: expected three positive"),
        ({"spacing": (1.0, math.nan, 1.0)}, "spacing: expected three positive"),
        ({"crop": "brain"}, "crop: expected none, foreground or"),
        ({"crop": (10, 10, 0)}, "crop: expected three positive"),
        ({"intensity": "minmax"}, "intensity: expected one of zscore"),
        ({"intensity": "window:290:-210"}, "LOW < HIGH"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        Preparation(**settings)


@pytest.mark.skipif("LOWSHOT_REAL_DATA" not in os.environ, reason="needs LOWSHOT_REAL_DATA")
def test_real_label_maps_come_back():
    """Also through the crop, which must hold every labelled voxel though it knows no label."""
    found = sorted(Path(os.environ["LOWSHOT_REAL_DATA"]).glob("*/images/*.nii.gz"))[::7]
    assert found
    for image in found:
        labelled = read_labelled(image, image.parent.parent / "labels" / image.name)
        for preparation in (Preparation(), Preparation(crop="foreground")):
            prepared = preparation.apply(labelled.scan)
            moved = preparation.apply_labels(labelled.truth.labels, prepared)
            assert torch.equal(preparation.undo_labels(moved, prepared), labelled.truth.labels), image


def test_a_grid_that_no_memory_holds_is_refused_before_it_is_made():
    metres = Scan("a", torch.rand(1, 24, 24, 24), np.diag([1000.0, 1000, 1000, 1]), ("CT",))
    with pytest.raises(InputError, match=r"a: expected at most .* to 1 × 1 × 1 mm, got 13,824,000,000,000; .*1000 ×"):
        Preparation(spacing=(1.0, 1.0, 1.0), intensity="none").apply(metres)


def test_where_voxels_will_lie_is_known_beforehand():
    preparation = Preparation(spacing=(2.0, 2.0, 2.0), crop="foreground", intensity="none")
    scan = Scan("a", torch.rand(1, 20, 16, 12), np.eye(4), ("CT",))
    axis_map = preparation.axis_map(scan)
    prepared = preparation.apply(scan, axis_map)
    assert prepared.grid.shape == axis_map.shape
    assert prepared.voxels.equal(preparation.apply(scan).voxels)


@pytest.mark.parametrize(
    ("known", "expected"),
    [(True, (slice(7, 28), slice(10, 30), slice(6, 14))), (False, (slice(5, 30), slice(10, 30), slice(3, 17)))],
)
def test_the_foreground_is_the_box_of_all_channels_and_5_mm_or_voxels_more(known, expected):
    voxels = torch.zeros(2, 40, 40, 20)
    voxels[0, 15:25, 15:25, 8:12] = 100
    voxels[1, 10:20, 15:25, 8:12] = 100
    scan = Scan("case", voxels, np.diag([2.0, 1.0, 4.0, 1.0]), channels=("T1", "FLAIR"), spacing_known=known)
    assert Preparation(None, None, "foreground", "none").axis_map(scan).scan_box() == expected


CORONAL = np.array([[0.0, -2.0, 0, 0], [0, 0, 5.0, 0], [-1.0, 0, 0, 0], [0, 0, 0, 1]])
"""i from head to feet, j from right to left, k from back to front."""


@pytest.mark.parametrize(
    ("affine", "expected"),
    [
        (np.diag([-1.0, -1.0, 5.0, 1.0]), ((0, -1), (1, -1), (2, 1))),
        (np.diag([1.0, 1.0, -5.0, 1.0]), ((0, 1), (1, 1), (2, -1))),
        (CORONAL, ((1, -1), (0, -1), (2, 1))),
    ],
)
def test_in_plane_the_third_axis_stays_the_third(affine, expected):
    assert nearest_in_plane(affine) == expected


def test_in_plane_a_slice_looks_the_same_however_it_is_stored():
    """A short-axis view of the heart, oblique to all planes of the body, and the same stored along other axes."""
    turn = np.array([[0.70, 0.60, -0.39], [-0.35, 0.77, 0.53], [0.62, -0.23, 0.75]]) * [1.0, 1.0, 8.0]
    affine = np.eye(4)
    affine[:3, :3] = turn
    scan = Scan("case", torch.randn(1, 6, 7, 4), affine)
    turned = affine.copy()
    turned[:3, 0], turned[:3, 1], turned[:3, 2] = -affine[:3, 1], affine[:3, 0], -affine[:3, 2]
    turned[:3, 3] = affine[:3, 3] + affine[:3, 1] * 6 + affine[:3, 2] * 3
    stored = Scan("again", scan.voxels.transpose(1, 2).flip(1, 3), turned)
    preparation = Preparation("in-plane", intensity="none")
    first, second = preparation.apply(scan), preparation.apply(stored)
    assert first.voxels.equal(second.voxels)
    np.testing.assert_allclose(first.grid.affine, second.grid.affine, atol=1e-6)
    assert first.axis_map.axes[2] == 2
