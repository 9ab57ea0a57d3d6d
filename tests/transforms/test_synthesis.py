import numpy as np
import pytest
import torch
from scipy import ndimage

from lowshot.errors import EmptySupport, SettingsError
from lowshot.transforms.intensity import IntensityRanges
from lowshot.transforms.slices import Slices, together
from lowshot.transforms.spatial import WIDTH_MM, SpatialRanges
from lowshot.transforms.synthesis import (
    Synthesis,
    _cut_out,
    _layers,
    _paste,
    backgrounds_of,
    emptied,
    synthesise,
)

SIZE = (40, 32)
CRESCENT, RING, POOL = 1, 2, 3
SWITCHES = ("exemplar_intensity", "exemplar_geometry", "background_intensity", "background_geometry")
OFF = dict.fromkeys(SWITCHES, False)
NO_POOL = torch.zeros(0, 1, *SIZE)


def only(*switches, **changes):
    return Synthesis(**(OFF | dict.fromkeys(switches, True) | changes))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def heart(*, centre=(20, 14), wall=2.0, numbers=(CRESCENT, RING, POOL), size=SIZE):
    """A pool in a ring, and a crescent beside them that touches the ring."""
    i, j = np.indices(size)
    radius = np.hypot(i - centre[0], j - centre[1])
    labels = np.zeros(size, dtype=np.int16)
    labels[(np.hypot(i - centre[0] - 6, j - centre[1]) < 6) & (radius >= 5 + wall)] = numbers[0]
    labels[radius < 5 + wall] = numbers[1]
    labels[radius < 5] = numbers[2]
    return torch.from_numpy(labels)


def exemplar(labels=None, *, image=None, channels=1, seed=0):
    """Every pixel has its own value, so that it can be recognised."""
    labels = heart() if labels is None else labels
    if image is None:
        image = torch.rand(channels, *labels.shape, generator=generator(seed)) + 1
    return Slices(image[None], labels[None], torch.ones_like(labels, dtype=torch.bool)[None])


def flat(labels):
    """Without noise: what a pixel shows is what it is."""
    return exemplar(labels, image=10.0 * labels[None] + 5)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("centre", [(20, 14), (2, 3), (38, 30)])
def test_with_all_switches_off_structures_are_pasted_where_they_were(channels, centre):
    shown = exemplar(heart(centre=centre), channels=channels)
    slices = synthesise(shown, shown.image[:0], only(black=1.0), 3, generator())
    darkest = shown.image.amin((2, 3), keepdim=True)
    expected = torch.where(shown.labels[:, None] > 0, shown.image, darkest).expand(3, -1, -1, -1)
    assert slices.labels.equal(shown.labels.expand(3, -1, -1))
    assert slices.labels.dtype == shown.labels.dtype
    assert slices.known.all()
    torch.testing.assert_close(slices.image, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("jitter", [0.0, 0.25, 1.0])
def test_a_pixel_shows_what_its_label_says(jitter):
    slices = synthesise(flat(heart()), NO_POOL, only("exemplar_geometry", black=1.0, jitter=jitter), 50, generator())
    torch.testing.assert_close(slices.image[:, 0], 10.0 * slices.labels + 5, atol=1e-3, rtol=0)
    assert not slices.labels[0].equal(slices.labels[1])


def pasted(shown, synthesis, seed=0):
    """By the functions that ``synthesise`` is made of."""
    cut = _cut_out(shown)
    layers = _layers(cut, tuple(shown.labels.shape[1:]), synthesis, generator(seed))
    image, result = torch.zeros_like(shown.image), torch.zeros_like(shown.labels)
    for layer in layers:
        _paste(layer, cut, image, result)
    return image, result, layers


def naively_pasted(shown, layers):
    """Slice after slice, each structure sampled over the whole of it."""
    image, result = np.zeros(shown.image[:, 0].shape), np.zeros(shown.labels.shape, dtype=np.int16)
    pixels = np.indices(result.shape[1:]).reshape(2, -1)
    for n in range(len(result)):
        for layer in layers:
            places = layer.affine.matrix[n].numpy() @ pixels + layer.affine.offset[n].numpy()[:, None]
            mask = (shown.labels[n] == layer.label[n]).numpy().astype(float)
            part, value = (
                ndimage.map_coordinates(each, places, order=1, mode="grid-constant").reshape(mask.shape)
                for each in (mask, mask * shown.image[n, 0].numpy())
            )
            here = part >= 0.499
            image[n][here], result[n][here] = value[here] / part[here], int(layer.label[n])
    return image, result


def test_windows_give_what_whole_slices_would():
    # Three hearts, of which some leave the slice; boxes and orders differ between samples.
    centres = [(20, 14), (4, 5), (34, 20)]
    hearts = [exemplar(heart(centre=centre, wall=1.0 + n), seed=n) for n, centre in enumerate(centres)]
    hearts[2].labels[hearts[2].labels == CRESCENT] = 0
    shown = together(hearts * 8)
    strong = SpatialRanges(rotation_degrees=180.0, scale=1.0, stretch=0.3, shear=0.2, shift_mm=0.4 * WIDTH_MM)
    image, labels, layers = pasted(shown, only("exemplar_geometry", spatial=strong))
    expected_image, expected_labels = naively_pasted(shown, layers)
    # At a share of just one half, rounding decides.
    agree = labels.numpy() == expected_labels
    assert agree.mean() > 0.9995
    assert (labels[labels > 0]).unique().tolist() == [CRESCENT, RING, POOL]
    np.testing.assert_allclose(image[:, 0].numpy()[agree], expected_image[agree], atol=2e-3)


def middles(slices, label=None):
    masks = (slices.labels > 0 if label is None else slices.labels == label).numpy()
    return np.array([ndimage.center_of_mass(mask) for mask in masks])


def test_structures_are_shifted_together_by_at_most_a_tenth_of_the_slice():
    shown = exemplar()
    spatial = SpatialRanges(shift_mm=0.1 * WIDTH_MM)
    slices = synthesise(shown, NO_POOL, only("exemplar_geometry", spatial=spatial, jitter=0.0), 60, generator())
    shifts = middles(slices) - middles(shown)
    assert np.abs(shifts).max() < 4.1  # of 40 pixels
    assert np.abs(shifts).max(axis=0).min() > 3
    for label in (CRESCENT, RING, POOL):
        np.testing.assert_allclose(middles(slices, label) - middles(shown, label), shifts, atol=0.3)


def test_structures_are_scaled_about_their_own_middle():
    shown = exemplar(heart(centre=(12, 10)))
    slices = synthesise(
        shown, NO_POOL, only("exemplar_geometry", spatial=SpatialRanges(scale=0.43), jitter=0.0), 60, generator()
    )
    scales = ((slices.labels > 0).sum((1, 2)) / (shown.labels > 0).sum()).sqrt()
    assert 0.65 < scales.min() < 0.8
    assert 1.25 < scales.max() < 1.5
    np.testing.assert_allclose(middles(slices), np.repeat(middles(shown), 60, axis=0), atol=0.6)


def test_structures_are_turned_within_the_range():
    bar = torch.zeros(SIZE, dtype=torch.int16)
    bar[10:30, 14:18] = 1
    turned = synthesise(
        exemplar(bar), NO_POOL, only("exemplar_geometry", spatial=SpatialRanges(rotation_degrees=25.0)), 60, generator()
    )
    angles = []
    for mask in turned.labels.numpy() > 0:
        major = np.linalg.eigh(np.cov(np.nonzero(mask)))[1][:, 1]
        angles.append(np.degrees(np.arctan(major[1] / major[0])))
    assert -32 < min(angles) < -15 < 15 < max(angles) < 32  # the bar varies by a quarter of the range on its own


@pytest.mark.parametrize("numbers", [(1, 2, 3), (1, 3, 2), (3, 1, 2)])
@pytest.mark.parametrize("wall", [1.2, 3.0])
def test_what_lies_inside_another_structure_is_not_covered_by_it(numbers, wall):
    # The thin ring has fewer pixels than the pool, the thick one more.
    _, ring, pool = numbers
    labels = heart(numbers=numbers, wall=wall)
    labels[labels == numbers[0]] = 0
    assert ((labels == ring).sum() < (labels == pool).sum()) == (wall < 2)
    shown = together([exemplar(labels)] * 20)
    _, every, layers = pasted(shown, only("exemplar_geometry", jitter=1.0))
    _, alone = naively_pasted(shown, [layer for layer in layers if int(layer.label[0]) == pool][-1:])
    assert (every.numpy()[alone == pool] == pool).mean() > 0.999  # at a share of just one half, rounding decides
    assert (every.numpy() == ring).any(axis=(1, 2)).all()


def test_between_touching_structures_that_vary_on_their_own_no_gap_opens():
    shown = together([exemplar()] * 40)
    _, labels, _ = pasted(shown, only("exemplar_geometry", jitter=0.5))
    for mask in labels.numpy() > 0:
        assert (ndimage.binary_fill_holes(mask) == mask).all()


def test_each_structure_varies_on_its_own():
    slices = synthesise(exemplar(), NO_POOL, only("exemplar_geometry", jitter=0.5), 40, generator())
    apart = np.linalg.norm(middles(slices, POOL) - middles(slices, RING), axis=1)
    assert apart.std() > 0.1


def test_a_small_structure_lies_on_a_large_one():
    labels = torch.zeros(SIZE, dtype=torch.int16)
    labels[5:30, 5:25] = 2
    labels[18:22, 12:16] = 1
    slices = synthesise(flat(labels), NO_POOL, only("exemplar_geometry", jitter=1.0), 20, generator())
    assert (slices.labels == 1).flatten(1).any(1).all()


def test_without_intensity_only_values_of_the_structure_occur():
    shown = exemplar()
    slices = synthesise(shown, NO_POOL, only("exemplar_geometry"), 20, generator())
    for label in (CRESCENT, RING, POOL):
        values, found = shown.image[:, 0][shown.labels == label], slices.image[:, 0][slices.labels == label]
        assert values.min() - 1e-3 <= found.min() <= found.max() <= values.max() + 1e-3


def test_intensity_changes_values_and_leaves_places():
    shown = exemplar()
    slices = synthesise(shown, NO_POOL, only("exemplar_intensity", black=1.0), 8, generator())
    assert slices.labels.equal(shown.labels.expand(8, -1, -1))
    inside = slices.labels[0] > 0
    means = slices.image[:, 0, inside].mean(1)
    assert means.std() > 0.05
    assert slices.image[:, 0, ~inside].eq(shown.image.min()).all()


def test_structures_share_a_change_of_intensity_and_have_a_small_one_of_their_own():
    shown = flat(heart())
    bright = IntensityRanges(brightness=8.0)
    for jitter in (0.0, 0.25):
        synthesis = only("exemplar_intensity", black=1.0, intensity=bright, jitter=jitter)
        slices = synthesise(shown, NO_POOL, synthesis, 40, generator())
        changes = torch.stack(
            [slices.image[:, 0, shown.labels[0] == k].mean(1) - (10 * k + 5) for k in (CRESCENT, RING, POOL)]
        )
        assert changes[0].abs().max() > 5
        own = (changes - changes.mean(0)).abs().max()
        assert own < 1e-3 if jitter == 0 else 1 < own < 4


def outside(slices):
    """Images where nothing was pasted; elsewhere NaN."""
    return slices.image[:, 0].masked_fill(slices.labels > 0, torch.nan)


def backgrounds(count=4):
    return torch.rand(count, 1, *SIZE, generator=generator(9)) + 100 * torch.arange(1, count + 1)[:, None, None, None]


def test_backgrounds_are_slices_of_the_pool_as_they_are():
    pool = backgrounds()
    slices = synthesise(exemplar(), pool, only(black=0.0), 30, generator())
    assert not slices.labels[(slices.image[:, 0] >= 100)].any()
    for each in outside(slices):
        same = [bool(torch.isclose(each, ground[0])[~each.isnan()].all()) for ground in pool]
        assert sum(same) == 1
    assert {int(each.nanmean() // 100) for each in outside(slices)} == {1, 2, 3, 4}


def test_backgrounds_are_moved_by_their_own_switch():
    ramp = torch.arange(32.0).expand(1, 1, *SIZE).clone() + 100
    still = synthesise(exemplar(), ramp, only("background_intensity", black=0.0), 6, generator())
    moved = synthesise(exemplar(), ramp, only("background_geometry", black=0.0), 6, generator())
    for slices in (still, moved):
        assert slices.labels.equal(heart().expand(6, -1, -1))
    assert moved.image[:, 0][moved.labels == 0].min() >= 100
    assert moved.image.max() <= 131  # mirrored at the border: no other values
    rows = outside(moved)[:, :3].nanmean((1, 2)) - outside(moved)[:, -3:].nanmean((1, 2))
    assert rows.abs().max() > 2  # turned, so that rows differ
    # Toned: still one value to a column, but others.
    assert (outside(still)[:, 0] - outside(still)[:, -1]).abs().max() < 1e-2
    assert (outside(still)[:, 0] - ramp[0, 0, 0]).abs().amax(1).min() > 1e-3


@pytest.mark.parametrize(("black", "own"), [(0.5, 0.0), (0.2, 0.5), (0.0, 1.0), (1.0, 0.0)])
def test_shares_of_the_kinds_of_background(black, own):
    shown = flat(heart())
    shown.image[0, 0, 0, 0] = -1.0  # the darkest; the exemplar's own background is 5
    slices = synthesise(shown, backgrounds(), only(black=black, own=own), 400, generator())
    corner = slices.image[:, 0, -1, -1]
    shares = [float(each.float().mean()) for each in (corner == -1, (corner - 5).abs() < 1e-3, corner >= 100)]
    np.testing.assert_allclose(shares, [black, own, 1 - black - own], atol=0.07)


def test_where_there_is_no_pool_backgrounds_are_black():
    slices = synthesise(flat(heart()), NO_POOL, Synthesis(black=0.0), 5, generator())
    assert slices.image[:, 0][slices.labels == 0].eq(5).all()


def test_an_emptied_slice_keeps_its_background_and_fills_the_rest_from_around():
    shown = exemplar()
    shown.image[:, 0][shown.labels > 0] = 1000.0
    shown.image[:, 0, 30:36, 25:30], shown.known[:, 30:36, 25:30] = 1000.0, False
    empty = emptied(shown)
    kept = (shown.labels == 0) & shown.known
    assert empty[:, 0][kept].equal(shown.image[:, 0][kept])
    filled = empty[:, 0][~kept]
    assert 1 <= filled.min() <= filled.max() <= 2
    ramp = flat(heart())
    ramp.image[:] = torch.arange(32.0)
    assert (emptied(ramp) - ramp.image).abs().max() < 6


def test_equal_generators_give_equal_slices():
    shown, pool = together([exemplar(), exemplar(heart(wall=3.0))]), backgrounds()
    first, again, other = (synthesise(shown, pool, Synthesis(own=0.2), 6, generator(seed)) for seed in (1, 1, 2))
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not first.image.equal(other.image)


def test_several_exemplars_are_drawn_and_those_that_show_nothing_are_not():
    empty = exemplar(torch.zeros(SIZE, dtype=torch.int16))
    shown = together([exemplar(heart(centre=(10, 14))), empty, exemplar(heart(centre=(28, 14)))])
    slices = synthesise(shown, NO_POOL, only(), 20, generator())
    found = {next(n for n, labels in enumerate(shown.labels) if labels.equal(each)) for each in slices.labels}
    assert found == {0, 2}
    with pytest.raises(EmptySupport, match="shows a structure"):
        synthesise(empty, NO_POOL, only(), 2, generator())


def test_a_structure_that_an_exemplar_lacks_is_left_out():
    without = heart()
    without[without == RING] = 0
    slices = synthesise(exemplar(without), NO_POOL, Synthesis(), 10, generator())
    assert slices.labels.unique().tolist() == [0, CRESCENT, POOL]
    mixed = synthesise(together([flat(without), flat(heart())]), NO_POOL, only("exemplar_geometry"), 30, generator())
    torch.testing.assert_close(mixed.image[:, 0], 10.0 * mixed.labels + 5, atol=1e-3, rtol=0)
    rings = (mixed.labels == RING).flatten(1).any(1)
    assert rings.any()
    assert not rings.all()


def test_what_is_not_known_is_not_pasted():
    shown = exemplar()
    shown.known[:, :20] = False
    shown.image[:, :, :20] = 1000.0
    slices = synthesise(shown, NO_POOL, only("exemplar_geometry", black=1.0), 10, generator())
    assert slices.image.max() <= 2
    still = synthesise(shown, NO_POOL, only(black=1.0), 1, generator())
    assert not still.labels[:, :20].any()
    assert still.labels[:, 20:].equal(shown.labels[:, 20:])


def test_backgrounds_are_the_ends_of_stacks_and_annotated_slices_that_show_nothing():
    stacks = [torch.full((n, 1, *SIZE), 10.0 * n) + torch.arange(n)[:, None, None, None] for n in (5, 2, 3, 1)]
    empty = exemplar(torch.zeros(SIZE, dtype=torch.int16), image=torch.full((1, *SIZE), 7.0))
    half_known = empty._replace(known=empty.known & (torch.arange(SIZE[1]) < 9))
    found = backgrounds_of(stacks, together([exemplar(), empty, half_known]))
    assert found[:, 0, 0, 0].tolist() == [50.0, 54.0, 30.0, 32.0, 7.0]
    assert backgrounds_of([], exemplar()).shape == (0, 1, *SIZE)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(SettingsError, match="at most 1 together"):
        Synthesis(black=0.7, own=0.4)
    with pytest.raises(SettingsError, match="at most 1 together"):
        Synthesis(black=-0.1)
    with pytest.raises(SettingsError, match="moved as wholes"):
        Synthesis(spatial=SpatialRanges(elastic_mm=1.0))
