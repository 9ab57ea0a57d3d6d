import numpy as np
import pytest
import torch

from lowshot.registration.affine import align
from lowshot.registration.deformable import Level, Refinement
from lowshot.registration.fields import folded_share
from lowshot.registration.pairwise import LEAST_DIFFERENCE, deformed, laid_upon
from registration.blobs import grid, picture, placed

QUICK = Refinement((Level(2, 10), Level(1, 3)))


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


def test_fields_come_without_folds():
    one, other = (
        picture(grid((20, 24, 20))),
        picture(grid((20, 24, 20)), placed(turn=(0, 0, 20), stretch=(1.1, 0.9, 1))),
    )
    wild = Refinement((Level(2, 30), Level(1, 10)), smoothness=0.01)
    found = deformed(one, other, align(one, other), one.grid, wild)
    assert folded_share(found.field_mm[None], one.grid.spacing) < 0.001
