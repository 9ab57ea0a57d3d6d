from collections import Counter

import numpy as np
import pytest

from lowshot.phantoms.heart.pathology import PROBABILITY, disease
from lowshot.phantoms.heart.ventricles import PHASES, measures, ventricles
from lowshot.phantoms.variability import Variability


def suffering_from(illness, amount=1.0):
    return next(own for own in (Variability(seed, amount) for seed in range(200)) if disease(own) == illness)


def test_diseases_are_as_frequent_as_stated():
    found = Counter(disease(Variability(seed)) for seed in range(1500))
    shares = {name: found[name] / 1500 for name in PROBABILITY}
    assert shares == pytest.approx(PROBABILITY, abs=0.035)
    assert found[None] / 1500 == pytest.approx(1 - sum(PROBABILITY.values()), abs=0.04)


def test_at_half_variation_everybody_is_well():
    assert {disease(Variability(seed, 0.5)) for seed in range(100)} == {None}


def test_each_disease_does_to_the_heart_what_its_name_says():
    average = PHASES["end-diastole"]
    dilated, hypertrophic, right = (
        [measures("end-diastole", own) for own in map(Variability, range(300)) if disease(own) == illness]
        for illness in ("dilated", "hypertrophic", "dilated right ventricle")
    )
    assert np.mean([size.cavity for size in dilated]) > 1.2 * average.cavity
    assert np.mean([size.wall for size in dilated]) < average.wall
    assert np.mean([size.wall for size in hypertrophic]) > 1.4 * average.wall
    assert np.mean([size.cavity for size in hypertrophic]) < average.cavity
    assert np.mean([size.right for size in right]) > 1.25 * average.right


def test_dilated_hearts_eject_little():
    own = suffering_from("dilated")
    relaxed, contracted = (measures(phase, own) for phase in ("end-diastole", "end-systole"))
    assert 1 - (contracted.cavity / relaxed.cavity) ** 2 * contracted.length / relaxed.length < 0.5


def test_an_infarct_thins_the_wall_in_one_territory_but_does_not_break_it():
    heart = ventricles("end-systole", suffering_from("infarcted"))
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radius = np.arange(0.0, 60.0, 0.5)
    walls = []
    for z in (-15.0, -8.0, 0.0):
        x, y = radius * np.cos(angle)[:, None], radius * np.sin(angle)[:, None]
        points = np.stack([x, y, np.full_like(x, z)]).astype(np.float32)
        inside = (heart.left_hull.distance(points) < 0) & (heart.left.distance(points) >= 0)
        walls.append(inside.sum(axis=1) * 0.5)
    assert np.min(walls) < 0.6 * np.median(walls)
    assert np.min(walls) > 2.5
