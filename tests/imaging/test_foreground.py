"""One image of each kind that hospitals have, with a known body."""

import numpy as np
import pytest

from lowshot.imaging.foreground import body_box, foreground, otsu

SHAPE = (48, 48, 24)


def ball(radius, shape=SHAPE):
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    return (grid**2).sum(0) < radius**2


def noise(seed, scale):
    generator = np.random.default_rng(seed)
    return generator.normal(0, scale, SHAPE)


def rician(seed, scale):
    return np.hypot(noise(seed, scale), noise(seed + 1, scale))


def stripped_brain():
    """White matter, grey matter and fluid; exact zeros outside."""
    body = ball(0.8)
    image = np.where(ball(0.55), 110, 75) + noise(0, 6)
    image[ball(0.2)] = 30
    return np.where(body, image, 0), body


def stripped_t2():
    """Fluid is four times as bright as white matter."""
    body = ball(0.8)
    image = np.where(ball(0.3), 400, 100) + noise(0, 8)
    return np.where(body, image, 0), body


def noisy_head():
    body = ball(0.7)
    return np.where(body, 300 + noise(0, 30), 0) + rician(2, 15), body


def noisy_head_with_zeroed_face():
    image, body = noisy_head()
    image[:, 40:] = 0
    body = body.copy()
    body[:, 40:] = False
    return image, body


def ct_with_air():
    body = ball(0.7)
    image = np.where(body, 40 + noise(0, 20), -1000 + noise(1, 8))
    image[ball(0.1)] = 1500
    return image, body


def ct_with_padding(value):
    image, body = ct_with_air()
    image[~ball(1.0)] = value
    return image, body


def ct_clipped_at_air():
    image, body = ct_with_air()
    return np.maximum(image, -1000), body


def ultrasound():
    """No air anywhere: speckle all over, a little darker in a lesion."""
    image = 90 + rician(0, 40)
    image[ball(0.3)] *= 0.6
    return image, np.ones(SHAPE, dtype=bool)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def one_sided_coil():
    """Tissue is six times as bright on one side as on the other."""
    image, body = noisy_head()
    return image * np.linspace(0.4, 2.4, SHAPE[0])[:, None, None], body


@pytest.mark.parametrize(
    "make", [stripped_brain, stripped_t2, noisy_head, noisy_head_with_zeroed_face, one_sided_coil, ultrasound]
)
@pytest.mark.parametrize("factor", [1.0, 1e-3, 37.5])
def test_the_body_is_found_in_any_units(make, factor):
    image, body = make()
    assert dice(foreground((image * factor).astype(np.float32)), body) > 0.97


@pytest.mark.parametrize("padding", [None, -1024, -2000, -3024])
def test_the_body_is_found_in_ct(padding):
    image, body = ct_with_air() if padding is None else ct_with_padding(padding)
    assert dice(foreground(image.astype(np.float32)), body) > 0.97


def test_the_body_is_found_in_ct_whose_air_is_clipped():
    image, body = ct_clipped_at_air()
    assert dice(foreground(image.astype(np.float32)), body) > 0.97


@pytest.mark.parametrize("value", [0.0, -1024.0, 7.0])
def test_a_constant_image_is_all_foreground(value):
    assert foreground(np.full(SHAPE, value, dtype=np.float32)).all()


def test_two_values_are_background_and_body():
    image = ball(0.5).astype(np.float32)
    np.testing.assert_array_equal(foreground(image), ball(0.5))


def test_the_box_holds_both_legs_and_no_speck():
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[3:6, 4:9, 5:16] = True
    mask[10:12, 5:9, 6:16] = True
    mask[18, 18, 18] = True
    assert body_box(mask) == (slice(3, 12), slice(4, 9), slice(5, 16))


def test_an_empty_mask_has_the_whole_box():
    assert body_box(np.zeros((2, 3, 4), dtype=bool)) == (slice(0, 2), slice(0, 3), slice(0, 4))


@pytest.mark.parametrize("seed", range(3))
def test_otsu_is_simpleitks(seed):
    import SimpleITK

    random = np.random.default_rng(seed)
    values = np.concatenate([random.normal(0, 1, 5000 * (seed + 1)), random.normal(4 - seed, 1.5, 4000)])
    reference = SimpleITK.OtsuThresholdImageFilter()
    reference.SetNumberOfHistogramBins(256)
    reference.Execute(SimpleITK.GetImageFromArray(values[None]))
    bin_width = (values.max() - values.min()) / 256
    assert otsu(values) == pytest.approx(reference.GetThreshold(), abs=0.1 * bin_width)
