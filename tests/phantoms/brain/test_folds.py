import numpy as np
import pytest

from lowshot.phantoms.brain.folds import Folded, Sulci
from lowshot.phantoms.noise import SmoothNoise
from lowshot.phantoms.shapes import Ellipsoid, mm

BALL = Ellipsoid(mm(0, 0, 0), mm(60, 60, 60))
SULCI = Sulci(mm(0, 0, 0), mm(60, 60, 60), SmoothNoise.draw(np.random.default_rng(0), (25.0, 35.0)))
FOLDED = Folded(BALL, SULCI, BALL.grown(-15.0), width_mm=3.0)


def sphere(radius_mm, count=6000):
    directions = np.random.default_rng(1).normal(size=(3, count))
    return (radius_mm * directions / np.linalg.norm(directions, axis=0)).astype(np.float32)


def test_sulci_run_in_from_the_surface_and_stop_at_what_is_deep():
    assert 0.1 < (FOLDED.distance(sphere(58.0)) > 0).mean() < 0.4
    assert 0.1 < (FOLDED.distance(sphere(47.0)) > 0).mean() < 0.4
    assert (FOLDED.distance(sphere(44.0)) < 0).all()
    assert (FOLDED.distance(sphere(61.0)) > 0).all()


def test_sulci_stand_on_the_surface():
    outer, inner = SULCI.distance(sphere(58.0)) < 1.0, SULCI.distance(sphere(50.0)) < 1.0
    assert (outer & inner).sum() > 0.7 * outer.sum()


def test_the_distance_is_that_from_the_nearest_sheet():
    plane = SmoothNoise(
        np.array([[0.0, 0.0, 2 * np.pi / 80]], dtype=np.float32), np.array([np.pi / 2], dtype=np.float32)
    )
    points = np.stack([np.full(5, 60.0), np.zeros(5), np.array([-4.0, -2.0, 0.0, 2.0, 4.0])]).astype(np.float32)
    sulci = Sulci(mm(0, 0, 0), mm(60, 60, 60), plane)  # cos(k z + 90°) = 0 on the plane z = 0
    np.testing.assert_allclose(sulci.distance(points), [4, 2, 0, 2, 4], atol=0.3)


def test_wider_sulci_leave_less_brain():
    shares = [
        (Folded(BALL, SULCI, BALL.grown(-15.0), width_mm=width).distance(sphere(55.0)) < 0).mean()
        for width in (1.0, 2.0, 4.0)
    ]
    assert shares[0] > shares[1] > shares[2]
    assert shares[0] - shares[2] == pytest.approx(3 / 15, abs=0.12)  # sheets are about half a wavelength apart
