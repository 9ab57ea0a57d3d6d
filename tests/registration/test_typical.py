import numpy as np
import pytest

from lowshot.errors import InputError
from lowshot.imaging.grid import Grid
from lowshot.registration.affine import Picture
from lowshot.registration.typical import KEPT_IN_RADIUS, KEPT_MM, ROUNDS, coarse, distances_from_average
from registration.blobs import grid, picture, placed


def test_what_looks_like_the_others_is_closest_wherever_it_lies():
    turned, shifted = placed(turn=(0, 0, 15)), placed(shift=(20, 0, 0))
    alike = [picture(grid(), name="upright"), picture(grid(), turned), picture(grid(centre=(20, 0, 0)), shifted)]
    odd = picture(grid(), name="noisy", noise=0.3)
    told = []
    distances = distances_from_average([*alike, odd], lambda: told.append(1))
    assert max(distances[:3]) < distances[3]
    assert len(told) == ROUNDS * 4


def test_a_scan_of_something_else_is_told_and_left_out():
    slice_of_it = picture(grid((20, 24, 1)), name="stranger")
    others = [picture(grid(), placed(turn=(0, 0, turn)), name=f"turned by {turn}") for turn in (0, 10, 20)]
    first, *others = distances_from_average([slice_of_it, *others])
    assert isinstance(first, InputError)
    assert "stranger" in str(first)
    assert all(isinstance(each, float) for each in others)


def test_something_small_is_kept_as_finely_for_its_size():
    body = picture(grid((50, 60, 45), (2.0, 2.0, 2.0)))
    small, large = (
        Picture.of("", body.voxels, Grid(body.grid.shape, np.diag([times, times, times, 1.0]) @ body.grid.affine))
        for times in (0.05, 4.0)
    )
    assert coarse(small).grid.spacing == pytest.approx((small.radius() / KEPT_IN_RADIUS,) * 3)
    assert coarse(small).radius() == pytest.approx(small.radius(), rel=0.05)
    assert coarse(large).grid.spacing == pytest.approx((8.0,) * 3)  # as stored
    assert coarse(body).grid.spacing[0] < KEPT_MM
