import numpy as np
import pytest
import torch

from lowshot.imaging.grid import Grid
from lowshot.registration.affine import Picture, align
from lowshot.registration.deformable import Level, Refinement
from lowshot.registration.fields import folded_share
from lowshot.registration.pairwise import LEAST_DIFFERENCE, deformed, laid_upon
from registration.blobs import grid, picture, placed

QUICK = Refinement((Level(2, 10), Level(1, 3)))
STILL = Refinement((Level(1, 0),))
SMALL = grid((12, 12, 12), (2.0, 2.0, 2.0))
GREY = torch.rand(1, 12, 12, 12, generator=torch.Generator().manual_seed(0))


def test_a_scan_is_laid_where_the_alignment_says():
    place = placed(shift=(10, -5, 5))
    moved = picture(grid(centre=(10, -5, 5)), place)
    upon = grid((18, 20, 16))
    torch.testing.assert_close(laid_upon(moved, np.linalg.inv(place), upon), picture(upon).voxels, atol=0.02, rtol=0)


def test_equal_pictures_are_trusted_most_and_stay_where_they_are():
    own = picture(grid((20, 24, 20)))
    found = deformed(own, own, np.eye(4), own.grid, QUICK)
    assert float(found.field_mm.abs().max()) < min(own.grid.spacing) / 2
    assert float(found.alike.max()) == pytest.approx(1 / LEAST_DIFFERENCE**2, rel=0.05)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_where_a_field_of_view_ends_nothing_is_drawn_out_of_it(axis):
    """One body, of which the query shows two thirds: the field has nothing to do, beyond the query least of all."""
    whole, shape = picture(grid((20, 24, 18))), [20, 24, 18]
    shape[axis] = shape[axis] * 2 // 3
    query = picture(Grid(tuple(shape), whole.grid.affine))
    found = deformed(query, whole, np.eye(4), whole.grid, Refinement((Level(2, 40), Level(1, 20))))
    assert float(found.field_mm.abs().max()) < min(whole.grid.spacing) / 5


def weights(query, atlas, shift_mm=0.0):
    """How far an atlas is trusted whose field is a shift along the first axis."""
    field = torch.zeros(3, *SMALL.shape)
    field[0] = shift_mm
    seen = (Picture.of("grey", voxels, SMALL) for voxels in (query, atlas))
    return deformed(*seen, np.eye(4), SMALL, STILL, field).alike


def test_an_atlas_is_trusted_for_what_it_looks_like_where_the_field_has_brought_it():
    """It looks like the query one voxel further on."""
    most = 1 / LEAST_DIFFERENCE**2
    assert weights(GREY.roll(-1, 1), GREY)[3:9, 3:9, 3:9].max() < most / 20
    inner = weights(GREY.roll(-1, 1), GREY, shift_mm=2.0)[3:9, 3:9, 3:9]
    torch.testing.assert_close(inner, torch.full_like(inner, most), rtol=1e-3, atol=0)


def test_trust_is_the_squared_inverse_of_the_mean_squared_difference_and_noise():
    assert float(weights(GREY + 0.1, GREY)[6, 6, 6]) == pytest.approx((1 / (0.01 + LEAST_DIFFERENCE)) ** 2, rel=1e-3)


def test_a_voxel_that_looks_different_costs_trust_in_the_three_by_three_by_three_around_it():
    atlas = GREY.clone()
    atlas[0, 6, 6, 6] += 0.5
    expected = torch.full(SMALL.shape, 1 / LEAST_DIFFERENCE**2)
    expected[5:8, 5:8, 5:8] = (1 / (0.25 / 27 + LEAST_DIFFERENCE)) ** 2
    torch.testing.assert_close(weights(GREY, atlas), expected, rtol=1e-3, atol=0)


def test_fields_come_without_folds():
    one, other = (
        picture(grid((20, 24, 20))),
        picture(grid((20, 24, 20)), placed(turn=(0, 0, 20), stretch=(1.1, 0.9, 1))),
    )
    wild = Refinement((Level(2, 30), Level(1, 10)), smoothness=0.01)
    found = deformed(one, other, align(one, other), one.grid, wild)
    assert folded_share(found.field_mm[None], one.grid.spacing) < 0.001
