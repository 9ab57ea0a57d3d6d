import numpy as np
import pytest
import torch

from lowshot.errors import SettingsError
from lowshot.imaging.intensity import KINDS, centre_and_deviation, scaling, window


def image(seed=0):
    return np.random.default_rng(seed).gamma(2, 100, (20, 20, 20)).astype(np.float32)


def scaled(kind, voxels):
    return scaling(kind, voxels)(torch.from_numpy(voxels)).numpy()


def test_zscore():
    result = scaled("zscore", image())
    assert result.mean() == pytest.approx(0, abs=1e-5)
    assert result.std() == pytest.approx(1, rel=1e-5)


def test_moments_are_exact_far_from_zero():
    voxels = (np.random.default_rng(0).normal(0, 1, (128, 128, 64)) + 30_000).astype(np.float32)
    scale = scaling("zscore", voxels)
    assert scale.shift == pytest.approx(voxels.mean(dtype=np.float64), abs=1e-2)
    assert scale.scale == pytest.approx(voxels.std(dtype=np.float64), rel=1e-3)


def test_percentiles_span_zero_to_one():
    voxels = image()
    result = scaled("percentiles", voxels)
    low, high = np.percentile(voxels, (0.5, 99.5))
    assert (result.min(), result.max()) == (0, 1)
    np.testing.assert_allclose(result, (voxels.clip(low, high) - low) / (high - low), atol=1e-5)


def test_window_in_hu():
    voxels = np.array([-1000, -210, 40, 290, 3000], dtype=np.float32).reshape(5, 1, 1)
    assert scaled("window:-210:290", voxels).ravel().tolist() == [0, 0, 0.5, 1, 1]


def test_none_changes_nothing():
    voxels = image()
    np.testing.assert_array_equal(scaled("none", voxels), voxels)


def test_foreground_zscore_uses_the_body_alone():
    voxels = np.zeros((30, 30, 30), dtype=np.float32)
    body = np.random.default_rng(0).normal(500, 50, (14, 14, 14))
    voxels[8:22, 8:22, 8:22] = body
    voxels[10, 10, 10] = 1e5  # one voxel of metal
    result = scaled("foreground-zscore", voxels)[8:22, 8:22, 8:22]
    assert result.mean() == pytest.approx(0, abs=1e-3)
    assert result.std() == pytest.approx(1, rel=1e-3)
    assert result.max() < 4


@pytest.mark.parametrize("kind", ["zscore", "foreground-zscore", "percentiles", "none", "window:0:1"])
@pytest.mark.parametrize("value", [0.0, 1000.1, -3024.0])
def test_a_constant_image_is_finite(kind, value):
    voxels = np.full((4, 4, 4), value, dtype=np.float32)
    result = scaled(kind, voxels)
    assert np.isfinite(result).all()
    if kind in ("zscore", "foreground-zscore", "percentiles"):
        np.testing.assert_allclose(result, 0, atol=1e-3)


@pytest.mark.parametrize(
    "kind", ["window", "window:1", "window:a:b", "window:5:5", "window:nan:1", "Zscore", "window:0:inf"]
)
def test_bad_kinds_are_named(kind):
    with pytest.raises(SettingsError, match=kind):
        window(kind)


def test_the_listed_kinds_exist():
    for kind in KINDS:
        scaling(kind.replace("LOW", "0").replace("HIGH", "1"), image())


@pytest.mark.parametrize("kind", ["zscore", "percentiles", "window:0:600"])
def test_grey_values_lie_about_where_it_is_said(kind):
    voxels = np.random.default_rng(0).normal(300, 120, (20, 20, 20)).astype(np.float32)
    centre, deviation = centre_and_deviation(kind)
    assert abs(scaled(kind, voxels).mean() - centre) < deviation / 4
    assert 0.6 < scaled(kind, voxels).std() / deviation < 1.2
