import numpy as np
import pytest

from lowshot.phantoms.acquisition import correlated_noise, ct_noise

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
