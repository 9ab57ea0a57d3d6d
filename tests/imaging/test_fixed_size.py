"""Scans that are stretched to a size in voxels."""

import numpy as np
import pytest
import torch

from lowshot.errors import SettingsError
from lowshot.imaging.preparation import Preparation
from lowshot.imaging.scan import Scan


def test_a_fixed_size_stretches_the_crop_and_comes_back():
    scan = Scan("case", torch.randn(1, 50, 57, 9), np.diag([-0.9, 0.8, 3.0, 1.0]))
    preparation = Preparation(resize=(20, 24, 9), intensity="none")
    assert Preparation.from_json(preparation.to_json()) == preparation
    prepared = preparation.apply(scan)
    assert prepared.voxels.shape == (1, 20, 24, 9)
    assert prepared.grid.spacing == pytest.approx((50 * 0.9 / 20, 57 * 0.8 / 24, 3.0))
    box = torch.zeros(50, 57, 9, dtype=torch.int16)
    box[10:40, 12:45, 2:7] = 1
    back = preparation.undo_labels(preparation.apply_labels(box, prepared), prepared)
    assert 2 * int((back & box).sum()) / int(back.sum() + box.sum()) > 0.95


def test_a_fixed_size_keeps_the_only_slice_of_an_image():
    image = Scan("image", torch.randn(1, 500, 570, 1), np.eye(4), spacing_known=False)
    assert Preparation(orientation=None, resize=(128, 128, 1)).apply(image).voxels.shape == (1, 128, 128, 1)
    assert Preparation(orientation=None, resize=(128, 128, 7)).apply(image).voxels.shape == (1, 128, 128, 1)


def test_a_last_size_of_none_keeps_the_slices():
    scan = Scan("case", torch.randn(1, 50, 57, 9), np.diag([1.0, 1.0, 8.0, 1.0]))
    preparation = Preparation(orientation=None, resize=(25, 19, None), intensity="none")
    assert Preparation.from_json(preparation.to_json()) == preparation
    assert preparation.apply(scan).voxels.shape == (1, 25, 19, 9)
    assert preparation.apply(scan).grid.spacing == pytest.approx((2.0, 3.0, 8.0))


def test_a_fixed_size_is_of_the_prepared_axes_where_the_scans_run_otherwise():
    """Stored from head to feet, then from right to left."""
    affine = np.array([[0.0, -2.0, 0, 0], [0, 0, 5.0, 0], [-1.0, 0, 0, 0], [0, 0, 0, 1]])
    scan = Scan("case", torch.randn(1, 50, 57, 9), affine)
    prepared = Preparation("in-plane", resize=(20, 24, None), intensity="none").apply(scan)
    assert prepared.voxels.shape == (1, 20, 24, 9)
    assert prepared.grid.spacing == pytest.approx((57 * 2 / 20, 50 / 24, 5))


@pytest.mark.parametrize("others", [{"spacing": (1.0, 1.0, 1.0)}, {"crop": (3, 3, 3)}])
def test_a_fixed_size_leaves_no_other_choice(others):
    with pytest.raises(SettingsError, match="resize"):
        Preparation(resize=(8, 8, 8), **others)
