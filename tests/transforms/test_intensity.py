import numpy as np
import pytest
import torch
from scipy import ndimage

from lowshot.transforms.intensity import IntensityRanges, blur, in_the_look_of, transform_intensity


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def patches(*shape):
    return torch.randn(shape or (4, 2, 8, 7, 6), generator=generator(99))


ONE_EACH = [
    IntensityRanges(contrast=0.5),
    IntensityRanges(brightness=0.5),
    IntensityRanges(gamma=0.5),
    IntensityRanges(bias=0.5),
    IntensityRanges(noise=0.5),
    IntensityRanges(blur_voxels=1.0),
]
EVERYTHING = IntensityRanges(contrast=0.3, brightness=0.3, gamma=0.4, bias=0.2, noise=0.1, blur_voxels=0.7)


def test_zero_ranges_are_the_identity():
    assert torch.equal(transform_intensity(patches(), IntensityRanges(), generator()), patches())


@pytest.mark.parametrize("ranges", [*ONE_EACH, EVERYTHING])
def test_the_generator_decides_alone(ranges):
    torch.manual_seed(0)
    first = transform_intensity(patches(), ranges, generator(1))
    torch.manual_seed(1)
    again, other = (transform_intensity(patches(), ranges, generator(seed)) for seed in (1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, patches())


@pytest.mark.parametrize("ranges", [*ONE_EACH, EVERYTHING])
def test_the_input_is_not_changed(ranges):
    before = patches()
    transform_intensity(before, ranges, generator())
    assert torch.equal(before, patches())


@pytest.mark.parametrize("ranges", [EVERYTHING])
def test_images_and_constant_patches_stay_finite(ranges):
    assert transform_intensity(patches(3, 1, 8, 8, 1), ranges, generator()).isfinite().all()
    assert transform_intensity(torch.zeros(3, 1, 8, 8, 4), ranges, generator()).isfinite().all()


def test_contrast_multiplies_each_patch_and_channel_within_its_range():
    before = patches(200, 2, 2, 2, 2)
    factors = (transform_intensity(before, IntensityRanges(contrast=0.5), generator()) / before).flatten(2)
    torch.testing.assert_close(factors.amin(2), factors.amax(2), rtol=1e-4, atol=1e-4)
    assert 1 / 1.5 - 1e-4 <= factors.min() < 0.7
    assert 1.4 < factors.max() <= 1.5 + 1e-4
    assert not torch.allclose(factors[:, 0, 0], factors[:, 1, 0])


def test_brightness_adds_to_each_patch_and_channel_within_its_range():
    before = patches(200, 2, 2, 2, 2)
    shifts = (transform_intensity(before, IntensityRanges(brightness=0.5), generator()) - before).flatten(2)
    torch.testing.assert_close(shifts.amin(2), shifts.amax(2), rtol=0, atol=1e-5)
    assert -0.5 <= shifts.min() < -0.4
    assert 0.4 < shifts.max() <= 0.5 + 1e-5


def test_gamma_keeps_extremes_and_order():
    before = patches(20, 1, 4, 4, 4)
    after = transform_intensity(before, IntensityRanges(gamma=0.5), generator())
    for x, y in zip(before.flatten(1), after.flatten(1), strict=True):
        assert float(y.min()) == pytest.approx(float(x.min()), abs=1e-2)
        assert float(y.max()) == pytest.approx(float(x.max()), abs=1e-4)
        assert torch.equal(x.argsort(), y.argsort())


def test_a_bias_field_is_smooth_and_leaves_black_alone():
    before = torch.zeros(4, 1, 16, 16, 16)
    before[..., 0] = -1.0
    after = transform_intensity(before, IntensityRanges(bias=0.5), generator())
    assert torch.equal(after[..., 0], before[..., 0])
    field = (after[..., 1:] + 1).log()
    assert 0.1 < field.abs().max() <= 0.5 + 1e-5
    assert field.diff(dim=2).abs().max() <= 1.0 / 16 * 3 + 1e-5  # two steps of at most 1 over 16 voxels


def test_noise_is_white_and_differs_in_strength():
    noise = transform_intensity(torch.zeros(50, 1, 12, 12, 12), IntensityRanges(noise=0.5), generator())
    deviations = noise.flatten(1).std(1)
    assert deviations.max() <= 0.5 * 1.1
    assert deviations.min() < 0.1
    assert noise.flatten(1).mean(1).abs().max() < 0.1


@pytest.mark.parametrize("deviation", [0.4, 0.7, 1.3])
def test_blur_is_scipys_gaussian_filter(deviation):
    image = patches(1, 2, 9, 8, 7)
    radius = int(np.ceil(2 * deviation))
    for channel, blurred in zip(image[0], blur(image, torch.tensor([deviation]))[0], strict=True):
        expected = ndimage.gaussian_filter(channel.numpy(), deviation, mode="nearest", radius=radius)
        np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-5)


def test_each_patch_has_its_own_blur_and_none_is_none():
    image = patches(3, 1, 8, 8, 8)
    together = blur(image, torch.tensor([0.0, 1.0, 0.5]))
    torch.testing.assert_close(together[0], image[0])
    torch.testing.assert_close(together[1:2], blur(image[1:2], torch.tensor([1.0])))


def test_an_image_is_blurred_in_its_plane():
    image = patches(1, 1, 9, 9, 1)
    expected = ndimage.gaussian_filter(image[0, 0, ..., 0].numpy(), 1.0, mode="nearest", radius=2)
    np.testing.assert_allclose(blur(image, torch.tensor([1.0]))[0, 0, ..., 0].numpy(), expected, atol=1e-5)


def test_the_strongest_blur_is_the_end_of_its_range():
    points = torch.zeros(200, 1, 9, 9, 9)
    points[:, :, 4, 4, 4] = 1
    peak = transform_intensity(points, IntensityRanges(blur_voxels=1.0), generator()).amax((1, 2, 3, 4)).min()
    strongest, weaker = (blur(points[:1], torch.tensor([deviation])).max() for deviation in (1.0, 0.9))
    assert strongest - 1e-3 <= peak < weaker


def test_half_of_the_patches_stay_sharp():
    before = patches(100, 1, 4, 4, 4)
    after = transform_intensity(before, IntensityRanges(blur_voxels=1.0), generator())
    sharp = [torch.allclose(x, y, atol=1e-6) for x, y in zip(before, after, strict=True)]
    assert 35 <= sum(sharp) <= 70


def test_a_slice_in_the_look_of_another_has_its_quantiles_and_keeps_its_order():
    own = torch.rand(1, 2, 30, 31, generator=generator(1))
    other = 5 + 3 * torch.rand(1, 2, 30, 31, generator=generator(2)) ** 2
    found = in_the_look_of(own, other, torch.ones(1))
    for q in (0.1, 0.5, 0.9):
        wanted = torch.quantile(other.flatten(2), q, dim=2)
        torch.testing.assert_close(torch.quantile(found.flatten(2), q, dim=2), wanted, atol=0.03, rtol=0)
    assert found[0, 0].flatten()[own[0, 0].flatten().argsort()].diff().min() >= 0


def test_looks_are_mixed_by_the_amount_and_its_own_changes_nothing():
    own, other = torch.rand(3, 1, 8, 8, generator=generator(1)), torch.rand(3, 1, 8, 8, generator=generator(2)) + 4
    whole = in_the_look_of(own, other, torch.ones(3))
    found = in_the_look_of(own, other, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(found, torch.stack([own[0], (own[1] + whole[1]) / 2, whole[2]]))
    torch.testing.assert_close(in_the_look_of(own, own, torch.ones(3)), own, atol=1e-3, rtol=0)
    flat = in_the_look_of(torch.zeros(3, 1, 8, 8), other, torch.ones(3))  # one value has no quantiles
    assert flat.isfinite().all()


def test_grey_values_of_another_kind_are_changed_as_much():
    """What goes from 0 to 1 about 0.5 by a quarter is what goes about 0 by 1, but for the unit."""
    values = patches()
    own = transform_intensity(values, EVERYTHING, generator())
    other = transform_intensity(values * 0.25 + 0.5, EVERYTHING.about(0.5, 0.25), generator())
    torch.testing.assert_close(other, own * 0.25 + 0.5, atol=1e-4, rtol=0)
    assert IntensityRanges().about(0.5, 0.25) == IntensityRanges()
