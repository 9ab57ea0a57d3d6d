from dataclasses import replace

import numpy as np
import pytest
import torch

from lowshot.errors import InputError
from lowshot.imaging.grid import Grid
from lowshot.imaging.preparation import Preparation
from lowshot.phantoms import brain_mr
from lowshot.registration.affine import Picture, align, alignment_bytes, centred
from registration.blobs import grid, picture, placed, world

MOVING = picture(grid(), name="moving")
TURNED = placed(turn=(8, -12, 15), stretch=(1.12, 0.93, 1.05), shift=(13, -9, 11))


def errors_mm(found, place, fixed):
    """How far from the truth the body's voxels come to lie."""
    points = world(fixed.grid)[fixed.body.numpy()]
    wrong = found - np.linalg.inv(place)
    return np.linalg.norm(points @ wrong[:3, :3].T + wrong[:3, 3], axis=-1)


def assert_found(fixed, place, moving=MOVING, voxels=0.5):
    found = align(fixed, moving)
    assert found.shape == (4, 4)
    assert found.dtype == np.float64
    assert found[3].tolist() == [0, 0, 0, 1]
    assert errors_mm(found, place, fixed).max() < voxels * min(moving.grid.spacing)
    return found


def around(place, shape=(24, 26, 24), mm=(5.0, 5.0, 5.0), turn=(0, 0, 0)):
    """A grid around a body that was carried elsewhere."""
    return grid(shape, mm, turn, centre=place[:3, 3])


def test_a_turn_a_stretch_and_a_shift_are_found():
    assert_found(picture(around(TURNED), TURNED, noise=0.02), TURNED)


def test_a_scan_and_itself():
    assert_found(MOVING, np.eye(4), voxels=0.1)


@pytest.mark.parametrize(
    "on",
    [
        around(TURNED, (30, 16, 30), (4.0, 8.0, 3.5)),
        around(TURNED, turn=(25, 40, -70)),
        Grid((24, 24, 26), around(TURNED).affine @ [[0, -1, 0, 23], [0, 0, 1, 0], [-1, 0, 0, 23], [0, 0, 0, 1]]),
        grid((44, 30, 26), (5.0, 5.0, 5.0), centre=TURNED[:3, 3] + 20),
    ],
    ids=["anisotropic", "oblique", "axes permuted and flipped", "a large box"],
)
def test_whatever_the_grid(on):
    assert_found(picture(on, TURNED), TURNED)


def test_far_away_in_the_world():
    place = placed(turn=(0, 10, 0), shift=(5_000, -900, 300))
    assert_found(picture(around(place), place), place)


def test_a_body_that_lies_on_its_side_is_found_from_a_start_that_is_tilted():
    place = placed(turn=(90, 0, 0))
    assert_found(picture(around(place), place), place)


def part_of(whole, axis, share, end):
    """The first (``end`` 0) or the last (1) slices of a grid along an axis."""
    sizes, start = list(whole.shape), np.zeros(3)
    sizes[axis] = round(sizes[axis] * share)
    start[axis] = end * (whole.shape[axis] - sizes[axis])
    affine = whole.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    return Grid(tuple(sizes), affine)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("end", [0, 1])
def test_a_field_of_view_that_is_cut_by_a_third(axis, end):
    place = placed(turn=(5, -5, 8), shift=(6, 0, -4))
    assert_found(picture(part_of(around(place), axis, 2 / 3, end), place), place)


def test_three_tenths_of_a_field_of_view_are_found_from_a_start_whose_ends_are_level():
    place = placed(shift=(6, 0, -4))
    assert_found(picture(part_of(around(place), 1, 0.3, 0), place), place)


@pytest.mark.parametrize("left", [True, False])
def test_a_brain_that_lacks_one_hemisphere_comes_to_lie_upon_its_own_half(left):
    """Of the other half the search sees nothing but what it gains and loses at the faces of the box."""
    scan = brain_mr.subject(1, (40, 48, 40), variation=0.5).scan
    voxels = scan.voxels.clone()
    voxels[:, 20:] = voxels.min() if left else voxels[:, 20:]
    voxels[:, :20] = voxels[:, :20] if left else voxels.min()
    fixed, moving = (_prepared(each) for each in (scan, replace(scan, voxels=voxels)))
    kept = torch.from_numpy(
        (world(fixed.grid) @ np.linalg.inv(scan.affine)[0, :3] + np.linalg.inv(scan.affine)[0, 3]) < 19.5
    )
    seen = replace(fixed, body=fixed.body & (kept if left else ~kept))
    assert errors_mm(align(fixed, moving), np.eye(4), seen).mean() < 0.5 * min(fixed.grid.spacing)


def _prepared(scan):
    prepared = Preparation(crop="foreground", intensity="percentiles").apply(scan)
    return Picture.of(prepared.name, prepared.voxels, prepared.grid)


def test_a_small_scan_is_not_too_coarse_for_it():
    """A mouse: a tenth of the size, in voxels of a tenth."""
    small = Grid(MOVING.grid.shape, np.diag([0.1, 0.1, 0.1, 1]) @ MOVING.grid.affine)
    place = placed(turn=(8, -12, 15), shift=(1.3, -0.9, 1.1))
    seen = picture(around(TURNED), placed(turn=(8, -12, 15), shift=TURNED[:3, 3]))
    fixed = replace(seen, grid=Grid(seen.grid.shape, np.diag([0.1, 0.1, 0.1, 1]) @ seen.grid.affine))
    assert_found(fixed, place, replace(MOVING, grid=small))


def test_brightness_and_contrast_do_not_matter():
    fixed = picture(around(TURNED), TURNED)
    assert_found(replace(fixed, voxels=0.3 * fixed.voxels + 0.2), TURNED)


@pytest.mark.parametrize("size", [0.4, 0.5, 2.0, 2.5])
def test_a_picture_that_counts_its_pixels_otherwise_is_found(size):
    """Files that do not know their millimetres say 1 mm, whatever they show."""
    place = placed(turn=(0, 0, 6), stretch=(size, size, size))
    plane = grid((40, 44, 1), (2.0 * size, 2.0 * size, 1.0))
    moving = picture(grid((40, 44, 1), (2.0, 2.0, 1.0)), name="moving")
    found = align(picture(plane, place), moving)
    assert found[:2, :2] == pytest.approx(np.linalg.inv(place)[:2, :2], abs=0.06 / size)


def test_a_scan_without_contrast_stays_upright():
    blank = replace(MOVING, voxels=torch.zeros_like(MOVING.voxels))
    assert align(blank, MOVING)[:3, :3] == pytest.approx(np.eye(3), abs=1e-6)


def test_a_large_scan_costs_no_more_than_some_times_a_small_one():
    small, large = grid((40, 40, 40), (1.0, 1.0, 1.0)), grid((100, 100, 100), (5.0, 5.0, 5.0))
    assert alignment_bytes(large, small) < 300_000_000


def test_the_first_channel_decides_and_nothing_is_random():
    fixed = picture(around(TURNED), TURNED)
    two = [replace(each, voxels=torch.cat([each.voxels, torch.rand_like(each.voxels)])) for each in (fixed, MOVING)]
    assert np.array_equal(align(*two), align(fixed, MOVING))


def test_gradients_may_be_off_and_the_scans_stay_as_they_are():
    before = MOVING.voxels.clone()
    with torch.no_grad():
        align(MOVING, MOVING)
    assert torch.equal(MOVING.voxels, before)
    assert not MOVING.voxels.requires_grad


def test_two_scans_that_share_nothing_come_to_lie_upon_each_other_somehow():
    noise = torch.rand(1, 20, 22, 24, generator=torch.Generator().manual_seed(0))
    found = align(Picture.of("noise", noise, grid((20, 22, 24))), MOVING)
    assert np.isfinite(found).all()
    assert 0.05 < np.linalg.det(found[:3, :3]) < 20


def test_a_scan_that_covers_hardly_anything_of_the_other_is_refused():
    """A slab of a body that has nothing to hold on to, on a body with a much larger box."""
    thin = Picture.of("thin", torch.full((1, 4, 4, 4), 1.0), grid((4, 4, 4), (2.0, 2.0, 2.0)))
    expected = (
        r"moving: only \d+% of it can be laid upon thin; .* thin shows at least 20%: is its field of view too small"
    )
    with pytest.raises(InputError, match=expected):
        align(MOVING, thin)


def test_centroid_upon_centroid():
    place = placed(shift=(30, -20, 500))
    found = centred(picture(around(place), place), MOVING)
    np.testing.assert_allclose(found, np.linalg.inv(place), atol=0.05)


# Pictures of one slice


def slices(turn=(0, 0, 0), mm=2.0, shape=(48, 56, 1), place=None, centre=(0, 0, 0)):
    return picture(grid(shape, (mm, mm, 5.0), turn, centre), place)


IN_PLANE = placed(turn=(0, 0, 14), stretch=(1.1, 0.95, 1), shift=(9, -7, 0))


def test_a_slice_is_found_in_its_plane():
    found = assert_found(slices(shape=(60, 60, 1), place=IN_PLANE), IN_PLANE, slices(), voxels=1.0)
    assert found[2].tolist() == [0, 0, 1, 0]
    assert found[:, 2].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("turn", [(0, 90, 0), (90, 0, 0), (20, 35, 10)], ids=["sagittal", "coronal", "oblique"])
def test_slices_of_any_orientation_stay_in_their_plane(turn):
    on = grid((48, 56, 1), (2.0, 2.0, 5.0), turn)
    moving = Picture.of("moving", slices().voxels, on)
    seen = slices(shape=(60, 60, 1), place=IN_PLANE)
    frame = np.eye(4)
    frame[:3, :3] = on.affine[:3, :3] / on.spacing
    fixed = replace(seen, grid=Grid(seen.grid.shape, frame @ seen.grid.affine))
    place = frame @ IN_PLANE @ np.linalg.inv(frame)
    to_voxels = np.linalg.inv(on.affine) @ assert_found(fixed, place, moving, voxels=1.0)
    assert abs(world(fixed.grid) @ to_voxels[2, :3] + to_voxels[2, 3]).max() < 1e-6


def test_slices_at_another_height_and_slightly_oblique():
    """Each was cut out of a head that lay a bit differently: plane comes to lie upon plane."""
    moving, tilted = slices(), placed(turn=(12, -8, 0), shift=(0, 0, 300))
    fixed = replace(moving, grid=Grid(moving.grid.shape, tilted @ moving.grid.affine))
    assert_found(fixed, tilted, moving, voxels=1.0)


def test_a_slice_whose_axes_are_flipped():
    moving, seen = slices(), slices(shape=(60, 60, 1), place=IN_PLANE)
    flip = np.diag([-1.0, 1, -1, 1])
    flip[0, 3] = 59
    fixed = replace(
        seen, voxels=seen.voxels.flip(1), body=seen.body.flip(0), grid=Grid(seen.grid.shape, seen.grid.affine @ flip)
    )
    assert_found(fixed, IN_PLANE, moving, voxels=1.0)


def test_a_picture_whose_affine_counts_pixels():
    """PNG: a pixel is 1 mm, and they are few."""
    pixels = np.diag([1 / 3, 1 / 3, 1 / 5, 1])
    moving, fixed = (
        replace(each, grid=Grid(each.grid.shape, pixels @ each.grid.affine))
        for each in (slices(mm=3.0, shape=(30, 36, 1)), slices(mm=3.0, shape=(34, 38, 1), place=IN_PLANE))
    )
    assert_found(fixed, pixels @ IN_PLANE @ np.linalg.inv(pixels), moving, voxels=1.0)


def test_a_single_slice_and_a_volume_are_refused():
    for lay in (align, centred):
        with pytest.raises(InputError, match="blobs is a single slice and moving a volume, which cannot"):
            lay(slices(), MOVING)
        with pytest.raises(InputError, match="blobs is a single slice and moving a volume, which cannot"):
            lay(MOVING, slices())


# What a picture is


def test_the_box_and_centre_of_a_body_in_the_world():
    body = torch.zeros(4, 5, 6, dtype=torch.bool)
    body[1:3, 2, 3:6] = True
    on = Grid((4, 5, 6), np.array([[0, 2.0, 0, 10], [-1, 0, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]]))
    shown = Picture("a", torch.rand(1, 4, 5, 6), on, body)
    np.testing.assert_allclose(shown.centre(), [14, 18.5, 42])
    np.testing.assert_allclose(shown.box(), [[14, 18, 39], [14, 19, 45]])


def test_coarser_covers_the_same_box_and_keeps_flat_and_coarse_axes():
    on = grid((30, 20, 4), (1.0, 1.5, 7.0), turn=(10, 20, 30))
    coarse = Picture.of("a", torch.rand(1, 30, 20, 4), on).at(3.0)
    assert coarse.grid.shape == (10, 10, 4)
    assert coarse.grid.spacing == pytest.approx((3, 3, 7))
    middle = [g.affine @ [*(np.array(g.shape) - 1) / 2, 1] for g in (on, coarse.grid)]
    np.testing.assert_allclose(*middle, atol=1e-9)
    flat = slices().at(8.0).grid
    assert flat.shape == (12, 14, 1)
    assert flat.spacing == pytest.approx((8, 8, 5))


def test_a_sparse_body_is_not_lost_where_it_is_coarser():
    voxels = torch.zeros(1, 12, 12, 12)
    voxels[:, ::6, ::6, ::6] = 1
    assert Picture.of("dots", voxels, grid((12, 12, 12))).at(16.0).body.any()


def test_memory_is_that_of_the_grids_it_works_on():
    small, large = grid((40, 40, 40)), grid((80, 80, 80), (2.0, 2.0, 2.0))
    assert alignment_bytes(small, small) <= alignment_bytes(large, large) <= 8 * alignment_bytes(small, small)
