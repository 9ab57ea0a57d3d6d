import numpy as np
import pytest

from lowshot.phantoms.noise import SmoothNoise


def positions(seed, extent_mm=3000.0, count=20_000):
    return np.random.default_rng(seed).uniform(-extent_mm, extent_mm, size=(3, count)).astype(np.float32)


def test_mean_0_and_deviation_1_over_a_large_space():
    values = SmoothNoise.draw(np.random.default_rng(0), (40.0, 90.0))(positions(1))
    assert values.mean() == pytest.approx(0.0, abs=0.05)
    assert values.std() == pytest.approx(1.0, abs=0.05)


def test_one_wave_is_the_formula():
    noise = SmoothNoise.draw(np.random.default_rng(3), (50.0, 50.0), waves=1)
    assert np.linalg.norm(noise.wave_vectors) == pytest.approx(2 * np.pi / 50, rel=1e-5)
    points = positions(4, extent_mm=100.0)
    expected = np.sqrt(2) * np.cos(noise.wave_vectors[0] @ points + noise.phases[0])
    np.testing.assert_allclose(noise(points), expected, atol=1e-4)


def test_nowhere_steeper_than_its_shortest_wave_allows():
    noise = SmoothNoise.draw(np.random.default_rng(5), (40.0, 90.0))
    points = positions(6, extent_mm=200.0)
    step = np.array([0.1, 0.0, 0.0], dtype=np.float32)[:, None]
    slope = np.abs(noise(points + step) - noise(points - step)) / 0.2
    assert slope.max() < 2 * np.pi * np.sqrt(2 * len(noise.phases)) / 40
    assert slope.std() > 2 * np.pi / 90 / 4  # and not flat either


def test_equal_generators_give_equal_noise_whatever_the_grid():
    one, other = (SmoothNoise.draw(np.random.default_rng(7), (40.0, 90.0)) for _ in range(2))
    points = positions(8, count=60)
    np.testing.assert_array_equal(one(points).reshape(3, 4, 5), other(points.reshape(3, 3, 4, 5)))


def test_the_gradient_is_the_slope():
    noise, points = SmoothNoise.draw(np.random.default_rng(9), (40.0, 90.0)), positions(10, 200.0, 50)
    for axis, step in enumerate(0.05 * np.eye(3, dtype=np.float32)[:, :, None]):
        slope = (noise(points + step) - noise(points - step)) / 0.1
        np.testing.assert_allclose(noise.gradient(points)[axis], slope, atol=2e-4)
