import numpy as np
import pytest
import torch

from lowshot.registration.affine import Picture
from lowshot.registration.correspondence import Correspondence
from lowshot.registration.likeness import likeness
from registration.blobs import grid, picture, placed


def unmoved(there, world=None):
    """A field that is 0 everywhere, after a map of the whole."""
    return Correspondence(np.eye(4) if world is None else world, there, torch.zeros(3, *there.shape))


def changed(body, grey):
    return Picture(body.name, grey, body.grid, body.body)


def test_it_is_the_correlation_where_both_bodies_lie():
    body = picture(grid())
    other = changed(body, torch.rand(body.voxels.shape, generator=torch.Generator().manual_seed(0)))
    wanted = np.corrcoef(body.voxels[0][body.body], other.voxels[0][body.body])[0, 1]
    assert likeness(body, other, unmoved(body.grid)) == pytest.approx(wanted, abs=1e-5)


def test_of_a_large_scan_some_voxels_are_enough(monkeypatch):
    query, atlas = picture(grid((60, 60, 50), (2.0, 2.0, 2.0))), picture(grid(), placed(shift=(2, 0, 0)))
    every = likeness(query, atlas, unmoved(atlas.grid))
    monkeypatch.setattr("lowshot.registration.likeness.ENOUGH", 10_000)
    assert likeness(query, atlas, unmoved(atlas.grid)) == pytest.approx(every, abs=0.02)


def test_brightness_and_contrast_change_nothing_and_inversion_turns_the_sign():
    body = picture(grid())
    assert likeness(body, changed(body, 3 * body.voxels + 7), unmoved(body.grid)) == pytest.approx(1, abs=1e-5)
    assert likeness(body, changed(body, -body.voxels), unmoved(body.grid)) == pytest.approx(-1, abs=1e-5)


def test_it_looks_where_the_correspondence_leads():
    place = placed(turn=(0, 0, 20), shift=(8, 0, -5))
    query, atlas = picture(grid()), picture(grid((26, 28, 24), (4.0, 4.0, 4.0)), place)
    assert likeness(query, atlas, unmoved(atlas.grid, place)) > 0.97
    assert likeness(query, atlas, unmoved(atlas.grid)) < 0.7


def test_a_flat_picture_and_bodies_that_hardly_meet_are_not_alike():
    body = picture(grid())
    assert likeness(body, changed(body, torch.ones_like(body.voxels)), unmoved(body.grid)) == 0
    far = np.eye(4)
    far[0, 3] = 1000
    assert likeness(body, body, unmoved(body.grid, far)) == 0
