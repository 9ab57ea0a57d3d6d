import pytest
import torch

from lowshot.registration.fields import folded_share, jacobian_determinant
from lowshot.registration.unfolding import REACH, unfolded
from registration.blobs import smooth_field

SPACING = (2.0, 3.0, 2.5)
SHAPE = (24, 20, 18)


def folds(field):
    return folded_share(field[None], SPACING)


def with_a_knot(at=(12, 10, 9), mm=9.0):
    """A smooth field, and one voxel of it that goes elsewhere."""
    field = smooth_field(SHAPE, SPACING, 2.0)
    field[(slice(None), *at)] += mm
    return field


def test_a_field_without_folds_is_returned_as_it_is():
    field = smooth_field(SHAPE, SPACING, 2.0)
    assert folds(field) == 0
    assert torch.equal(unfolded(field, SPACING), field)


def test_a_knot_is_smoothed_and_the_field_given_stays_as_it_was():
    field = with_a_knot()
    before = field.clone()
    assert folds(field) > 0
    assert folds(unfolded(field, SPACING)) == 0
    assert torch.equal(field, before)


def test_far_from_a_fold_nothing_changes():
    field = with_a_knot()
    changed = (unfolded(field, SPACING) != field).any(dim=0).nonzero()
    folded = (jacobian_determinant(field[None], SPACING)[0] <= 0).nonzero()
    assert len(changed)
    reach = 2 * REACH + 2  # a second round may reach further
    assert (changed >= folded.amin(0) - reach).all()
    assert (changed <= folded.amax(0) + reach).all()


def test_two_knots_in_opposite_corners():
    field = with_a_knot((3, 3, 3)) + with_a_knot((20, 16, 14))
    smoothed = unfolded(field, SPACING)
    assert folds(smoothed) == 0
    assert torch.equal(smoothed[:, 10:14], field[:, 10:14])


@pytest.mark.parametrize("mm", [3.0, 10.0, 40.0])
def test_even_noise_comes_out_without_folds(mm):
    noise = mm * torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert folds(noise) > 0.2
    assert folds(unfolded(noise, SPACING)) == 0


def test_a_few_folds_may_be_left():
    noise = 3.0 * torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert 0 < folds(unfolded(noise, SPACING, tolerated=0.01)) <= 0.01


def test_a_body_turned_inside_out_at_its_border():
    """A large piece that is shifted against its surroundings by more than it is far from them."""
    field = smooth_field(SHAPE, SPACING, 1.0)
    field[0, 8:16, 6:14, 5:13] += 14.0
    assert folds(field) > 0
    assert folds(unfolded(field, SPACING)) == 0


def test_a_slice():
    field = smooth_field((30, 30, 1), SPACING, 2.0)
    field[:2, 15, 15] += 9.0
    assert folded_share(field[None], SPACING) > 0
    smoothed = unfolded(field, SPACING)
    assert folded_share(smoothed[None], SPACING) == 0
    assert not smoothed[2].any()
