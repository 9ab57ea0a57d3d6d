import math

import numpy as np
import pytest

from lowshot.evaluation.radial import RAYS, radial_error

ROWS, COLUMNS = np.mgrid[:121, :121]


def disc(radius, i=60.0, j=60.0, spacing=(1.0, 1.0)):
    return ((ROWS - i) * spacing[0]) ** 2 + ((COLUMNS - j) * spacing[1]) ** 2 <= radius**2


def square(half, i=60, j=60):
    return (abs(ROWS - i) <= half) & (abs(COLUMNS - j) <= half)


@pytest.mark.parametrize(("r1", "r2"), [(40, 30), (20, 30), (30, 30)])
def test_concentric_circles(r1, r2):
    assert radial_error(disc(r1), disc(r2)) == pytest.approx(abs(r1 - r2) / r2, abs=0.01)


def test_concentric_squares():
    """Along every ray both radii have one ratio: that of the half sides, which end half a pixel beyond a centre."""
    assert radial_error(square(14), square(19)) == pytest.approx(5 / 19.5, abs=0.003)


def test_a_shifted_circle():
    """The radius of a circle shifted by s is s·cos a + sqrt(R² − s²·sin² a) at the angle a."""
    radius, shift = 30.0, 9.0
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    shifted = shift * np.cos(angles) + np.sqrt(radius**2 - (shift * np.sin(angles)) ** 2)
    expected = (abs(shifted - radius) / radius).mean()
    assert radial_error(disc(radius, i=60 + shift), disc(radius)) == pytest.approx(expected, abs=0.01)


def test_a_single_pixel_against_three_by_three():
    """One pixel ends where linear interpolation from 1 to 0 passes one half: 0.5 along an axis."""
    three, one = square(1), square(0)
    angles = np.pi / 180 * np.arange(0, 360, 2)
    c, s = abs(np.cos(angles)), abs(np.sin(angles))
    # (1 − rc)(1 − rs) = 1/2 around one pixel.
    of_one = ((c + s) - np.sqrt((c + s) ** 2 - 2 * c * s)) / np.where(c * s > 1e-9, 2 * c * s, np.inf)
    of_one = np.where(c * s > 1e-9, of_one, 0.5)
    got = radial_error(three, one)
    corner = 1 + (2 - np.sqrt(2)) / 2  # of three by three, along the diagonal
    assert radial_error(one, one) == 0
    assert 1.5 / of_one.max() - 1 < got < corner * np.sqrt(2) / of_one.min() - 1


def test_spacing_counts():
    wide = (2.0, 0.5)
    assert radial_error(disc(16, spacing=wide), disc(20, spacing=wide), wide) == pytest.approx(0.2, abs=0.015)
    prediction, truth = disc(20, j=66), disc(20)
    as_pixels = radial_error(prediction, truth)
    assert radial_error(prediction, truth, (3.0, 3.0)) == pytest.approx(as_pixels, abs=1e-6)
    # An ellipse that is long along j, moved along j: most rays leave it through its long sides, which stay.
    assert radial_error(prediction, truth, (1.0, 3.0)) < 0.8 * as_pixels
    assert radial_error(prediction, truth, (3.0, 1.0)) > 1.2 * as_pixels


def test_a_ray_that_misses_the_prediction_counts_as_the_whole_radius():
    truth = disc(30)
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    missing = (30 * np.cos(angles) < 4.5).mean()
    assert radial_error(truth & (ROWS >= 65), truth) == pytest.approx(missing, abs=0.01)
    assert radial_error(np.zeros_like(truth), truth) == 1


def test_the_outermost_crossing_of_several_components_counts():
    truth = disc(10)
    ring = disc(20) & ~disc(18)
    assert radial_error(ring, truth) == pytest.approx(1, abs=0.03)
    assert radial_error(ring | disc(10), truth) == pytest.approx(1, abs=0.03)
    holed = disc(10) & ~disc(4)
    assert radial_error(holed, truth) == 0


def test_a_c_shaped_truth_with_its_centroid_outside():
    ring = disc(40) & ~disc(30)
    truth = ring & (abs(np.arctan2(ROWS - 60, COLUMNS - 60)) > np.pi / 4)
    i, j = (float(axis[truth].mean()) for axis in (ROWS, COLUMNS))
    assert not truth[round(i), round(j)]
    assert radial_error(truth, truth) == 0
    # Rays through the opening have no true radius: what is predicted there changes nothing.
    opening = ring & (abs(np.arctan2(ROWS - i, COLUMNS - j)) < np.pi / 8)
    assert opening.any()
    assert radial_error(truth | opening, truth) == 0
    assert radial_error(np.zeros_like(truth), truth) == 1


def test_nothing_to_compare_with():
    nothing = np.zeros((5, 5), dtype=bool)
    something = nothing.copy()
    something[2, 2] = True
    assert math.isnan(radial_error(nothing, nothing))
    assert math.isnan(radial_error(something, nothing))
    diagonal = np.eye(2, dtype=bool)
    assert radial_error(diagonal, diagonal) == 0


def test_a_mask_at_the_border_of_the_image_ends_there():
    full = np.ones((21, 21), dtype=bool)
    centre = np.zeros_like(full)
    centre[5:16, 5:16] = True
    assert radial_error(full, centre) == pytest.approx(10.5 / 5.5 - 1, abs=0.02)
