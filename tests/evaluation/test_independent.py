"""Scores against implementations that share no code with ours, on 1,000 random masks."""

import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from lowshot.evaluation.evaluate import evaluate_case
from lowshot.evaluation.overlap import dice, false_positive_ratio, true_positive_ratio
from lowshot.evaluation.radial import RAYS, radial_error
from lowshot.evaluation.surface import hd95, hd95_in_plane, hd95_pooled_voxels, image_diagonal
from lowshot.evaluation.variants import dice_of_slices, variants_of
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation

SEEDS = range(1000)


def random_pair(seed):
    """Prediction, truth, spacing: blobs, noise, single voxels, full and empty masks, in volumes and 2-D images."""
    generator = np.random.default_rng(seed)
    i, j, k = (int(size) for size in generator.integers(2, (13, 13, 9)))
    shape = (i, j, 1) if seed % 4 == 0 else (i, j, k)
    masks = [random_mask(generator, shape) for _ in range(2)]
    spacing = generator.uniform(0.4, 6, size=3)
    return *masks, spacing if seed % 3 else np.ones(3)


def random_mask(generator, shape):
    kind = generator.choice(["blob", "blob", "blob", "noise", "voxel", "full", "empty"])
    mask = np.zeros(shape, dtype=bool)
    if kind == "voxel":
        mask[tuple(generator.integers(shape))] = True
    elif kind == "full":
        mask[:] = True
    elif kind != "empty":
        values = ndimage.gaussian_filter(generator.normal(size=shape), 1.2 if kind == "blob" else 0)
        mask = values > np.quantile(values, generator.uniform(0.3, 0.95))
    return mask


def test_the_random_masks_are_of_every_kind():
    pairs = [random_pair(seed) for seed in SEEDS]
    empty = [(not prediction.any(), not truth.any()) for prediction, truth, _ in pairs]
    assert min(empty.count(each) for each in ((True, True), (True, False), (False, True), (False, False))) > 10
    assert sum(mask.all() for pair in pairs for mask in pair[:2]) > 100
    assert sum(mask.sum() == 1 for pair in pairs for mask in pair[:2]) > 100
    assert sum(truth.shape[2] == 1 for _, truth, _ in pairs) == 250


def border_by_shifts(mask, outside, shifts):
    """Voxels of which a shifted copy of the mask lacks one; ``outside``: what lies beyond the image."""
    padded = np.pad(mask, 1, constant_values=outside)
    inside = np.ones_like(mask)
    for a, b, c in shifts:
        inside &= padded[1 + a :, 1 + b :, 1 + c :][: mask.shape[0], : mask.shape[1], : mask.shape[2]]
    return mask & ~inside


FACES = [(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if abs(a) + abs(b) + abs(c) == 1]
SQUARE = [(a, b, 0) for a in (-1, 0, 1) for b in (-1, 0, 1)]


def faces(mask):
    return [face for face in FACES if mask.shape[2] > 1 or face[2] == 0]


def brute_force(borders, spacing, pooled=False):
    distances = cdist(*(np.argwhere(border) * spacing for border in borders))
    there, back = distances.min(axis=1), distances.min(axis=0)
    if pooled:
        return percentile_95([*there, *back])
    return max(percentile_95(there), percentile_95(back))


def percentile_95(values):
    """Linear between the two nearest ranks, by hand."""
    ordered = sorted(values)
    place = 0.95 * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def affine(spacing):
    return np.diag([*spacing, 1.0])


@pytest.mark.parametrize("start", range(0, 1000, 100))
def test_hd95_is_brute_force(start):
    for seed in range(start, start + 100):
        prediction, truth, spacing = random_pair(seed)
        got, pooled = hd95(prediction, truth, affine(spacing)), hd95_pooled_voxels(prediction, truth)
        if prediction.any() and truth.any():
            borders = [border_by_shifts(mask, False, faces(mask)) for mask in (prediction, truth)]
            assert got == pytest.approx(brute_force(borders, spacing)), seed
            assert pooled == pytest.approx(brute_force(borders, np.ones(3), pooled=True)), seed
        else:
            assert_without_border(prediction.any() or truth.any(), got, truth.shape, spacing)
            assert_without_border(prediction.any() or truth.any(), pooled, truth.shape, np.ones(3))


@pytest.mark.parametrize("start", range(0, 1000, 100))
def test_hd95_in_plane_is_brute_force(start):
    for seed in range(start, start + 100):
        prediction, truth, spacing = random_pair(seed)
        borders = [border_by_shifts(mask, True, SQUARE) for mask in (prediction, truth)]
        got = hd95_in_plane(prediction, truth, affine(spacing))
        if all(border.any() for border in borders):
            assert got == pytest.approx(brute_force(borders, spacing)), seed
        else:
            assert_without_border(any(border.any() for border in borders), got, truth.shape, spacing)


def assert_without_border(some, got, shape, spacing):
    if not some:
        assert math.isnan(got)
        return
    extent = [size * step for size, step in zip(shape, spacing, strict=True)]
    assert got == pytest.approx(math.hypot(*(extent[:2] if shape[2] == 1 else extent)))
    assert got == image_diagonal(shape, affine(spacing))


def test_dice_of_slices_is_counted_pixel_by_pixel():
    for seed in SEEDS:
        prediction, truth, _ = random_pair(seed)
        slices = []
        for k in range(truth.shape[2]):
            one, other = (set(map(tuple, np.argwhere(mask[..., k]).tolist())) for mask in (prediction, truth))
            if one or other:
                slices.append(2 * len(one & other) / (len(one) + len(other)))
        wanted = sum(slices) / len(slices) if slices else math.nan
        assert dice_of_slices(prediction, truth) == pytest.approx(wanted, nan_ok=True), seed


@pytest.mark.parametrize("start", range(0, 1000, 100))
def test_the_scorer_of_mt_unet_is_its_rule_for_empty_masks_and_brute_force_else(start):
    for seed in range(start, start + 100):
        prediction, truth, spacing = random_pair(seed)
        got = variants_of(prediction, truth, affine(spacing))
        if prediction.any() and truth.any():
            borders = [border_by_shifts(mask, False, faces(mask)) for mask in (prediction, truth)]
            both, either = np.count_nonzero(prediction * truth), prediction.sum() + truth.sum()
            wanted = (2 * both / either, brute_force(borders, np.ones(3), pooled=True))
        else:
            wanted = (1.0 if prediction.any() else 0.0, 0.0)
        assert (got["dice_legacy_empty"], got["hd95_legacy_empty"]) == pytest.approx(wanted), seed


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI's own call of its own function
def test_hd95_is_monais():
    """Where both have voxels; else MONAI answers NaN or infinity, and we the diagonal."""
    import torch
    from monai.metrics import compute_hausdorff_distance

    compared = 0
    for seed in SEEDS:
        prediction, truth, spacing = random_pair(seed)
        if not prediction.any() or not truth.any():
            continue
        flat = truth.shape[2] == 1
        masks = [mask[..., 0] if flat else mask for mask in (prediction, truth)]
        one_hot = [torch.from_numpy(mask[None, None]).float() for mask in masks]
        steps = [float(step) for step in spacing[: truth.ndim - flat]]
        theirs = compute_hausdorff_distance(*one_hot, include_background=True, percentile=95, spacing=steps)
        assert hd95(prediction, truth, affine(spacing)) == pytest.approx(theirs.item(), rel=1e-5), seed
        compared += 1
    assert compared > 600


def test_overlaps_are_counted_voxel_by_voxel():
    for seed in SEEDS:
        prediction, truth, _ = random_pair(seed)
        pairs = list(zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True))
        hit, extra, lost = (pairs.count(each) for each in ((True, True), (True, False), (False, True)))
        both = 2 * hit + extra + lost
        assert dice(prediction, truth) == pytest.approx(2 * hit / both if both else math.nan, nan_ok=True)
        size = hit + lost
        assert true_positive_ratio(prediction, truth) == pytest.approx(hit / size if size else math.nan, nan_ok=True)
        assert false_positive_ratio(prediction, truth) == pytest.approx(extra / size if size else math.nan, nan_ok=True)


def test_dice_is_monais():
    import torch
    from monai.metrics import compute_dice

    for seed in SEEDS:
        prediction, truth, _ = random_pair(seed)
        one_hot = [torch.from_numpy(mask[None, None]).float() for mask in (prediction, truth)]
        theirs = compute_dice(*one_hot, include_background=True, ignore_empty=False)
        expected = math.nan if not prediction.any() and not truth.any() else theirs.item()
        assert dice(prediction, truth) == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.slow
def test_volumes_are_voxels_times_their_size():
    import torch

    names = Names(("background", "ball"), (0, 1))
    for seed in SEEDS:
        prediction, truth, spacing = random_pair(seed)
        made = [Segmentation(torch.from_numpy(np.int16(mask)), names, affine(spacing)) for mask in (prediction, truth)]
        (score,) = evaluate_case(*made, "case").scores
        voxel = spacing[0] * spacing[1] * spacing[2] / 1000
        counted = [sum(mask.ravel().tolist()) * voxel for mask in (prediction, truth)]
        assert [score.volume_prediction, score.volume_truth] == pytest.approx(counted)
        assert score.volume_unit == "ml"
        slices = [at for at in range(truth.shape[2]) if not truth[..., at].any()]
        elsewhere = sum(int(prediction[..., at].sum()) for at in slices)
        assert score.volume_elsewhere == pytest.approx(elsewhere * voxel)


def crossing(mask, centre, direction, spacing):
    """How far from the centre a ray leaves the mask for the last time, by steps of a hundredth of a pixel.

    Zero where it does not meet the mask. Between centres of pixels the mask is interpolated, with nothing outside.
    """
    radii = np.arange(0, math.hypot(*np.multiply(np.add(mask.shape, 2), spacing)), 0.01 * min(spacing))
    points = centre[:, None] + (np.array(direction) / spacing)[:, None] * radii
    low = np.floor(points).astype(int)
    padded = np.pad(mask.astype(float), 2)
    value = np.zeros(radii.size)
    for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = low + np.array(step)[:, None]
        share = np.prod(1 - abs(points - corner), axis=0)
        rows, columns = (np.clip(at + 2, 0, size - 1) for at, size in zip(corner, padded.shape, strict=True))
        value += share * padded[rows, columns]
    inside = np.flatnonzero(value >= 0.5)
    return radii[inside[-1]] if inside.size else 0.0


@pytest.mark.slow
def test_radial_errors_are_those_of_finely_walked_rays():
    """Where the centroid lies within the truth, at least a pixel from its contour: else radii have no fixed size."""
    generator = np.random.default_rng(0)
    compared = 0
    for _ in range(40):
        noise = ndimage.gaussian_filter(generator.normal(size=(2, 14, 16)), (0, 3, 3))
        prediction, truth = (values > np.quantile(values, 0.6) for values in noise)
        spacing = tuple(float(step) for step in generator.uniform(0.5, 2, size=2))
        centre = np.mean(np.nonzero(truth), axis=1)
        angles = 2 * np.pi * np.arange(RAYS) / RAYS
        rays = list(zip(np.cos(angles), np.sin(angles), strict=True))
        true = np.array([crossing(truth, centre, ray, spacing) for ray in rays])
        if true.min() < max(spacing):
            continue
        found = np.array([crossing(prediction, centre, ray, spacing) for ray in rays])
        # Ours may miss a ray or two that only graze a contour.
        expected = pytest.approx(np.mean(abs(found - true) / true), abs=0.012)
        assert radial_error(prediction, truth, spacing) == expected
        compared += 1
    assert compared > 15


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # that package's import
def test_hd95_is_within_a_voxel_of_surface_distances():
    """DeepMind's package draws surfaces between voxels and weighs them by area; ours has the voxels at the border.

    The difference is less than one voxel's diagonal in volumes. In 2-D images, whose contours have few elements, a
    percentile may fall on another stretch of the contour; there nine in ten are within half a diagonal.
    """
    surface_distance = pytest.importorskip("surface_distance")
    off = {"volume": [], "image": []}
    for seed in SEEDS:
        prediction, truth, spacing = random_pair(seed)
        if not prediction.any() or not truth.any():
            continue
        flat = truth.shape[2] == 1
        masks = [mask[..., 0] if flat else mask for mask in (truth, prediction)]
        steps = spacing[: truth.ndim - flat].tolist()
        theirs = surface_distance.compute_robust_hausdorff(
            surface_distance.compute_surface_distances(*masks, steps), 95.0
        )
        ours = hd95(prediction, truth, affine(spacing))
        off["image" if flat else "volume"].append(abs(ours - theirs) / math.hypot(*steps))
    assert max(off["volume"]) < 1
    assert np.median(off["volume"]) < 0.25
    assert np.quantile(off["image"], 0.9) < 0.5
    assert len(off["volume"]) > 500
