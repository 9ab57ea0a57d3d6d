import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lowshot.fewshot.laying import by_place, lay, moved_in_plane, places
from lowshot.imaging.grid import Grid
from registration.blobs import grid, picture, placed

PLANES = torch.rand(1, 2, 9, 9, generator=torch.Generator().manual_seed(0))


def affine(linear=None, shift=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) if linear is None else linear
    matrix[:3, 3] = shift
    return matrix


def test_without_a_map_nothing_moves():
    torch.testing.assert_close(moved_in_plane(PLANES, affine(), torch.tensor([4])), PLANES)


def test_a_pure_shift_moves_by_whole_pixels():
    """Pixel (x, y) of the query lies at (x + 2, y − 1) of the example."""
    moved = moved_in_plane(PLANES, affine(shift=(2, -1, 5)), torch.tensor([3]))
    torch.testing.assert_close(moved[..., :7, 1:], PLANES[..., 2:, :8])
    image, mask = moved[0]
    assert not mask[7:].any()
    assert not mask[:, 0].any()
    assert image[7:].all()
    assert image[:, 0].all()


def test_a_quarter_turn_turns_the_plane():
    """(x, y) of the query lies at (8 − y, x) of the example."""
    turned = affine([[0, -1, 0], [1, 0, 0], [0, 0, 1]], shift=(8, 0, 0))
    moved = moved_in_plane(PLANES, turned, torch.tensor([0]))
    wanted = torch.stack([torch.stack([PLANES[..., 8 - y, x] for y in range(9)], dim=-1) for x in range(9)], dim=-2)
    torch.testing.assert_close(moved, wanted)


def test_where_the_body_leans_each_slice_is_moved_its_own_way():
    """From slice to slice the query moves on by one pixel along j in the example."""
    leaning = affine([[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    moved = moved_in_plane(PLANES.expand(3, -1, -1, -1), leaning, torch.tensor([0, 1, 3]))
    for slice_number, by in enumerate((0, 1, 3)):
        torch.testing.assert_close(moved[slice_number, :, :, : 9 - by], PLANES[0, :, :, by:])


def test_the_distance_between_the_planes_makes_no_difference():
    near, far = (moved_in_plane(PLANES, affine(shift=(1, 1, k)), torch.tensor([2])) for k in (0, 50))
    assert near.equal(far)


def test_each_query_slice_has_its_place_in_the_example():
    steeper = affine([[1, 0, 0], [0, 1, 0], [0.5, 0, 2]], shift=(0, 0, -3))
    found = places(steeper, Grid((9, 5, 4), np.eye(4)))
    assert found.tolist() == pytest.approx([-1, 1, 3, 5])  # 0.5 · 4 + 2k − 3


def test_a_scan_stored_the_other_way_round_has_its_places_the_other_way_round():
    assert places(affine(np.diag([1, 1, -1]), (0, 0, 5)), Grid((3, 3, 6), np.eye(4))).tolist() == [5, 4, 3, 2, 1, 0]


def test_two_scans_of_one_body_are_laid_upon_each_other_by_what_they_show():
    """Other sizes, spacings, directions of the axes; the body elsewhere and turned by ten degrees."""
    place = placed(turn=(0, 0, 10), shift=(8, -6, 12))
    query = picture(grid((24, 28, 14), (4.0, 4.0, 6.0)))
    mirrored = grid((22, 22, 20), (5.0, 5.0, 5.0))
    flipped = Grid(mirrored.shape, mirrored.affine @ affine(np.diag([1, 1, -1]), (0, 0, 19)))
    matrix = lay(query, picture(flipped, place))
    wanted = np.linalg.inv(flipped.affine) @ place @ query.grid.affine
    corners = np.array([[i, j, k, 1] for i in (6, 17) for j in (6, 21) for k in (3, 10)])
    assert np.abs((matrix - wanted)[:3] @ corners.T).max() < 1.0
    laid = places(matrix, query.grid)
    assert torch.all(laid[1:] < laid[:-1])  # one runs up the body, the other down


def test_by_place_alone_what_most_shots_mark_is_likely_and_less_so_near_its_border():
    """The blur is 0.06 of the longer side: 2.4 pixels, up to twice as far."""
    masks = torch.zeros(1, 2, 40, 30)
    masks[0, 0, 8:26, 4:20], masks[0, 1, 14:32, 10:28] = 1, 1
    blurred = gaussian_filter(masks[0].mean(dim=0).numpy(), 2.4, mode="nearest", radius=5)
    wanted = torch.from_numpy(blurred.clip(0.02, 0.98)).logit()
    torch.testing.assert_close(by_place(masks, 0.06)[0], wanted, atol=1e-4, rtol=0)


def test_a_single_slice_has_no_place_along_a_body():
    flat = picture(grid((20, 24, 1)))
    volume = picture(grid())
    assert lay(flat, flat) is None
    assert lay(flat, volume) is None
    assert lay(volume, flat) is None


def test_bodies_that_cannot_be_laid_upon_each_other_are_told_apart(monkeypatch):
    monkeypatch.setattr("lowshot.registration.affine.LEAST_SHARED", 1.1)
    assert lay(picture(grid()), picture(grid())) is None
