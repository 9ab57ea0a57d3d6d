import numpy as np
import pytest

from lowshot.phantoms.lesions import lesions
from lowshot.phantoms.shapes import Ellipsoid, mm
from lowshot.phantoms.variability import Variability

ORGAN = Ellipsoid(mm(20, 0, -10), mm(60, 40, 30)).minus(Ellipsoid(mm(20, 0, 10), mm(30, 30, 30)))
POINTS = np.stack(np.meshgrid(*[np.arange(-80.0, 81.0, 4.0)] * 3, indexing="ij")).astype(np.float32)


def test_as_many_as_asked_for():
    counts = {len(lesions(ORGAN, Variability(seed), (2, 4), (5.0, 9.0))) for seed in range(30)}
    assert counts == {2, 3, 4}


def test_they_begin_in_the_organ_and_do_not_leave_it():
    outside = ORGAN.distance(POINTS) > 0
    for lesion in lesions(ORGAN, Variability(1), (6, 6), (8.0, 12.0)):
        inside = lesion.distance(POINTS) < 0
        assert inside.any()
        assert not (inside & outside).any()


def test_they_are_as_large_as_asked_for():
    ball = Ellipsoid(mm(0, 0, 0), mm(70, 70, 70))  # so large that few lesions are cut off
    found = lesions(ball, Variability(2), (8, 8), (10.0, 10.0))
    volumes = [(lesion.distance(POINTS) < 0).sum() * 4.0**3 for lesion in found]
    assert np.median(volumes) == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.3)


def test_equal_seeds_give_equal_lesions():
    one, same = (lesions(ORGAN, Variability(5).of("cysts"), (3, 3), (6.0, 9.0)) for _ in range(2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a.distance(POINTS), b.distance(POINTS))
