import numpy as np
import pytest
import torch

from imaging.stored_images import OBLIQUE, SHAPE, SHIFTED, with_forms
from lowshot.imaging.arranging import affine_in_viewers, affines, arrangement, grids_of
from lowshot.imaging.files import read_scan
from lowshot.imaging.grid import Grid
from lowshot.imaging.scan import Scan


@pytest.fixture
def two_places(tmp_path):
    """A scan whose sform has it elsewhere than its qform."""
    return read_scan(with_forms(tmp_path / "image.nii", sform=(SHIFTED, 2), qform=(OBLIQUE, 1)))


def one_place(affine, shape=SHAPE):
    return (Grid(shape, affine),)


def test_a_file_has_two_places_only_where_viewers_disagree(two_places, tmp_path):
    ours, itks = grids_of(two_places)
    np.testing.assert_allclose(ours.affine, SHIFTED, atol=1e-5)
    np.testing.assert_allclose(itks.affine, OBLIQUE, atol=1e-5)
    assert len(grids_of(read_scan(with_forms(tmp_path / "same.nii", (OBLIQUE, 4), (OBLIQUE, 1))))) == 1
    assert len(grids_of(Scan("made", two_places.voxels, two_places.affine))) == 1


def test_only_what_lies_on_the_scan_is_seen_elsewhere(two_places):
    np.testing.assert_allclose(affine_in_viewers(two_places.affine, two_places.source), OBLIQUE, atol=1e-5)
    assert affine_in_viewers(np.eye(4), two_places.source).tolist() == np.eye(4).tolist()
    assert affine_in_viewers(OBLIQUE, None) is OBLIQUE
    assert affines(OBLIQUE, ()) == (OBLIQUE,)


def test_what_lies_at_either_place_lies_on_the_image(two_places):
    for affine in (SHIFTED, OBLIQUE):
        found = arrangement(one_place(affine), two_places)
        assert found.keeps_order
        assert found.covers(SHAPE)
    further = SHIFTED.copy()
    further[:3, 3] += 2
    assert arrangement(one_place(further), two_places) is None
    assert arrangement(grids_of(two_places), two_places).keeps_order


def test_a_box_that_fits_at_both_places_is_not_guessed(tmp_path):
    steps = [OBLIQUE @ np.block([[np.eye(3), np.array([[step], [0], [0]])], [np.zeros((1, 3)), 1]]) for step in (1, 2)]
    scan = read_scan(with_forms(tmp_path / "image.nii", sform=(OBLIQUE, 2), qform=(steps[0], 1)))
    assert arrangement(one_place(steps[1], (2, 5, 6)), scan) is None
    assert arrangement(one_place(OBLIQUE, (2, 5, 6)), scan).start == (0, 0, 0)


def test_the_order_of_the_image_comes_before_a_mirrored_one(tmp_path):
    """Forms that mirror each other: whoever wrote this kept the order of the voxels, as programs do."""
    plain, mirrored = np.diag([1.0, 1, 1, 1]), np.diag([-1.0, 1, 1, 1])
    mirrored[0, 3] = SHAPE[0] - 1
    scan = Scan("image", torch.zeros(1, *SHAPE), plain)
    assert arrangement(one_place(mirrored), scan).flips == (0,)
    scan = read_scan(with_forms(tmp_path / "image.nii", sform=(plain, 2), qform=(mirrored, 1), sides=(1, 1, 1)))
    assert arrangement(one_place(mirrored), scan).keeps_order
