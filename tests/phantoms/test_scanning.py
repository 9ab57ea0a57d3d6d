import numpy as np
import pytest

from lowshot.errors import UnknownLabel
from lowshot.imaging.names import Names
from lowshot.phantoms.scanning import annotated, centred_grid

NAMES = Names.of({3: "liver", 1: "spleen", 7: "aorta"})


def test_voxels_share_the_field_of_view_around_its_centre():
    grid = centred_grid((10, 20, 5), None, (100.0, 80.0, 60.0), (1.0, 2.0, 3.0))
    assert grid.spacing == pytest.approx((10.0, 4.0, 12.0))
    np.testing.assert_allclose(grid.corners().mean(axis=0), [1, 2, 3])
    assert np.sign(np.diag(grid.affine)).tolist() == [-1, -1, 1, 1]


def test_a_spacing_decides_over_the_field_of_view_and_one_number_is_a_cube():
    grid = centred_grid(8, (2.0, 3.0, 4.0), (100.0, 80.0, 60.0), (0.0, 0.0, 0.0))
    assert grid.shape == (8, 8, 8)
    assert grid.spacing == pytest.approx((2.0, 3.0, 4.0))


def test_what_is_annotated_keeps_its_values():
    assert annotated(NAMES, None) == NAMES
    assert annotated(NAMES, ("aorta", "spleen")) == Names.of({1: "spleen", 7: "aorta"})
    with pytest.raises(UnknownLabel, match="appendix"):
        annotated(NAMES, ("appendix",))
