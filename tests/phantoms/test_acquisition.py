import numpy as np
import pytest

from lowshot.imaging.grid import Grid
from lowshot.phantoms.acquisition import bias_field, correlated_noise, ct_noise, mr_image, rician
from lowshot.phantoms.rendering import Rendering
from lowshot.phantoms.variability import Variability

SHAPE, SPACING = (48, 48, 20), (1.0, 1.0, 2.5)


def neighbours(noise, axis, steps):
    moved = np.roll(noise, steps, axis=axis)
    return float((noise * moved).mean())


def test_correlated_noise_is_as_wide_as_asked():
    noise = correlated_noise(np.random.default_rng(0), SHAPE, SPACING, (2.0, 2.0, 2.0))
    assert noise.std() == pytest.approx(1.0, abs=1e-3)
    # White noise blurred with sigma has the autocorrelation exp(-d² / (4 sigma²)).
    assert neighbours(noise, 0, 2) == pytest.approx(np.exp(-4 / 16), abs=0.06)
    assert neighbours(noise, 2, 1) == pytest.approx(np.exp(-6.25 / 16), abs=0.08)


def test_ct_noise_has_neighbours_alike_and_little_at_low_frequencies():
    noise = ct_noise(np.random.default_rng(0), SHAPE, SPACING)
    assert noise.std() == pytest.approx(1.0, abs=1e-3)
    assert neighbours(noise, 0, 1) > 0.4
    power = (np.abs(np.fft.fft2(noise, axes=(0, 1))) ** 2).mean(axis=2)
    per_mm = np.hypot(*np.meshgrid(np.fft.fftfreq(48), np.fft.fftfreq(48)))
    assert power[per_mm < 0.035].mean() < 0.5 * power[(per_mm > 0.08) & (per_mm < 0.12)].mean()


def test_equal_generators_give_equal_noise():
    one, other = (ct_noise(np.random.default_rng(5), SHAPE, SPACING) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_rician_noise_keeps_the_power_and_lifts_what_is_dark():
    signal = np.tile(np.array([0.0, 100.0], dtype=np.float32), (40, 40, 40))
    magnitude = rician(np.random.default_rng(1), signal, 10.0)
    assert (magnitude[..., 0::2]).mean() == pytest.approx(10 * np.sqrt(np.pi / 2), rel=0.02)  # Rayleigh
    assert (magnitude[..., 1::2] ** 2).mean() == pytest.approx(100**2 + 2 * 10**2, rel=0.01)
    assert magnitude[..., 1::2].std() == pytest.approx(10.0, rel=0.03)


def test_the_bias_field_is_smooth_and_as_strong_as_asked():
    grid = Grid((40, 40, 40), np.diag([10.0, 10.0, 10.0, 1.0]))
    fields = np.stack([np.log(bias_field(np.random.default_rng(seed), grid, 0.2)) for seed in range(20)])
    assert fields.std() == pytest.approx(0.2, rel=0.2)
    assert fields.mean() == pytest.approx(0.0, abs=0.05)
    assert max(np.abs(np.diff(fields, axis=axis)).max() for axis in (1, 2, 3)) < 0.2 * 4 * 2 * np.pi * 10 / 250


def test_an_mr_image_without_noise_and_bias_is_the_signal_times_the_gain():
    mean = np.linspace(0, 900, 8**3, dtype=np.float32).reshape(8, 8, 8)
    rendering = Rendering(np.zeros((8, 8, 8), dtype=np.int16), mean, np.zeros_like(mean))
    grid = Grid((8, 8, 8), np.eye(4))
    average = mr_image(rendering, grid, Variability(0, amount=0.0), noise_level=0.0, bias_spread=0.0)
    np.testing.assert_allclose(average, mean, atol=0.5)
    brightest = [mr_image(rendering, grid, Variability(seed), 0.0, 0.0).max() for seed in range(4)]
    assert max(brightest) > 1.2 * min(brightest)
