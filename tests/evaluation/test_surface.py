import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from effort import smoothings
from lowshot.evaluation.surface import (
    border,
    hd95,
    hd95_in_plane,
    hd95_pooled_voxels,
    image_diagonal,
)

OBLIQUE = np.array([[0.9, -0.3, 0.1, 12.0], [0.25, 1.1, -0.4, -7.0], [0.0, 0.35, 2.9, 3.0], [0, 0, 0, 1]])
"""Sheared as well: its columns are not orthogonal."""


def spaced(i, j, k):
    return np.diag([i, j, k, 1.0])


def naive_border(mask, offsets, outside):
    """Voxels with a neighbour outside the mask, by walking over them."""
    padded = np.pad(mask, 1, constant_values=outside)
    found = np.zeros_like(mask)
    for index in np.argwhere(mask):
        found[tuple(index)] = any(not padded[tuple(index + 1 + offset)] for offset in offsets)
    return found


def six(flat):
    return [np.array(o) for o in [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)] + [(0, 0, 1), (0, 0, -1)] * (not flat)]


def naive_distances(prediction, truth, affine, offsets, outside=False):
    points = [np.argwhere(naive_border(mask, offsets, outside)) @ affine[:3, :3].T for mask in (prediction, truth)]
    distances = cdist(*points)
    return distances.min(axis=1), distances.min(axis=0)


def random_masks(seed):
    """Blobs of a random size on a small random grid; now and then one is empty, full, or the grid has one slice."""
    generator = np.random.default_rng(seed)
    shape = (*generator.integers(2, 9, size=2), 1 if seed % 5 == 0 else int(generator.integers(2, 9)))
    noise = ndimage.gaussian_filter(generator.normal(size=(2, *shape)), [0, 1, 1, 1])
    prediction, truth = noise > np.quantile(noise, generator.uniform(0.2, 0.95))
    if seed % 20 == 3:
        prediction[:] = False
    if seed % 20 == 4:
        truth[:] = False
    if seed % 50 == 7:
        prediction[:], truth[:] = False, False
    spacing = generator.uniform(0.5, 5, size=3)
    return prediction, truth, OBLIQUE if seed % 3 == 0 else spaced(*spacing)


@pytest.mark.parametrize("seed", range(200))
def test_agrees_with_brute_force(seed):
    prediction, truth, affine = random_masks(seed)
    if not prediction.any() and not truth.any():
        assert math.isnan(hd95(prediction, truth, affine))
        assert math.isnan(hd95_pooled_voxels(prediction, truth))
    elif not prediction.any() or not truth.any():
        assert hd95(prediction, truth, affine) == image_diagonal(truth.shape, affine)
        assert hd95_pooled_voxels(prediction, truth) == image_diagonal(truth.shape)
    else:
        neighbours = six(flat=truth.shape[2] == 1)
        there, back = naive_distances(prediction, truth, affine, neighbours)
        assert hd95(prediction, truth, affine) == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
        pooled = np.concatenate(naive_distances(prediction, truth, np.eye(4), neighbours))
        assert hd95_pooled_voxels(prediction, truth) == pytest.approx(np.percentile(pooled, 95))


@pytest.mark.parametrize("seed", range(60))
def test_in_plane_agrees_with_brute_force(seed):
    prediction, truth, affine = random_masks(seed)
    square = [np.array([i, j, 0]) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    borders = [naive_border(mask, square, outside=True) for mask in (prediction, truth)]
    got = hd95_in_plane(prediction, truth, affine)
    if all(found.any() for found in borders):
        there, back = naive_distances(prediction, truth, affine, square, outside=True)
        assert got == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    elif any(found.any() for found in borders):
        assert got == image_diagonal(truth.shape, affine)
    else:
        assert math.isnan(got)


def cube(start, size, shape=(20, 20, 20)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(s, s + size) for s in start)] = True
    return mask


def test_shifted_cubes_by_hand():
    """A shift of 2 voxels along k at spacing (1, 1, 3): the far face is 6 mm from the other cube's border."""
    truth = cube((5, 5, 5), 8)
    assert hd95(cube((5, 5, 7), 8), truth, spaced(1, 1, 3)) == pytest.approx(6)
    assert hd95(cube((7, 5, 5), 8), truth, spaced(1, 1, 3)) == pytest.approx(2)
    assert hd95(cube((5, 5, 7), 8), truth) == pytest.approx(2)
    assert hd95_pooled_voxels(cube((5, 5, 7), 8), truth) == pytest.approx(2)


def test_a_perfect_prediction_is_zero_away():
    truth = cube((2, 3, 4), 5)
    assert hd95(truth, truth, OBLIQUE) == 0
    assert hd95_in_plane(truth, truth, OBLIQUE) == 0


def test_the_image_edge_is_a_border_and_an_inner_voxel_is_not():
    full = np.ones((3, 3, 3), dtype=bool)
    assert border(full).sum() == 26
    assert not border(full)[1, 1, 1]


def test_a_structure_in_one_slice_of_a_volume_has_no_inside():
    """Each of its voxels has a neighbour outside, above or below; in a 2-D image only its rim has one."""
    disc, dot = np.zeros((2, 9, 9, 5), dtype=bool)
    disc[2:7, 2:7, 2] = True
    dot[4, 4, 2] = True
    for prediction, truth, flat in ((dot, disc, False), (dot[:, :, 2:3], disc[:, :, 2:3], True)):
        there, back = naive_distances(prediction, truth, np.eye(4), six(flat))
        assert there == [2.0 if flat else 0.0]
        assert len(back) == (16 if flat else 25)
        assert hd95(prediction, truth) == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
        assert hd95_pooled_voxels(prediction, truth) == pytest.approx(np.percentile([*there, *back], 95))


def test_two_dimensional_images_equal_their_plane():
    """A 2-D image scores as the same picture in two dimensions, whatever its slice thickness."""
    generator = np.random.default_rng(0)
    prediction, truth = generator.random((2, 12, 12, 1)) > 0.6
    assert hd95(prediction, truth, spaced(2, 2, 1)) == hd95(prediction, truth, spaced(2, 2, 50))
    assert image_diagonal((3, 4, 1), spaced(2, 2, 50)) == pytest.approx(10)


def test_diagonal_is_the_longest_one_of_a_sheared_box():
    assert image_diagonal((3, 4, 12)) == pytest.approx(13)
    corners = np.array([[i, j, k] for i in (0, 5) for j in (0, 6) for k in (0, 7)]) @ OBLIQUE[:3, :3].T
    assert image_diagonal((5, 6, 7), OBLIQUE) == pytest.approx(cdist(corners, corners).max())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000))
def test_symmetric_and_bounded_by_the_diagonal(seed):
    prediction, truth, affine = random_masks(seed)
    distance = hd95(prediction, truth, affine)
    assert distance == pytest.approx(hd95(truth, prediction, affine), nan_ok=True)
    assert not distance > image_diagonal(truth.shape, affine)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI's own call of its own function
@pytest.mark.parametrize("seed", [1, 2, 6, 8, 11, 12])
def test_agrees_with_monai(seed):
    """Both non-empty: MONAI has the same definition on orthogonal grids."""
    import torch
    from monai.metrics import compute_hausdorff_distance

    generator = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(generator.normal(size=(2, 20, 24, 16)), [0, 2, 2, 2])
    prediction, truth = noise > np.quantile(noise, 0.7)
    spacing = generator.uniform(0.5, 4, size=3)
    one_hot = [torch.from_numpy(np.stack([~mask, mask])[None]).float() for mask in (prediction, truth)]
    theirs = compute_hausdorff_distance(*one_hot, percentile=95, spacing=spacing.tolist())
    assert hd95(prediction, truth, spaced(*spacing)) == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_plane_border_is_the_mrbrains18_scorers(seed):
    """That scorer subtracts SimpleITK's erosion of radius (1, 1, 0)."""
    import SimpleITK as sitk  # noqa: N813

    from lowshot.evaluation.surface import border_in_plane

    generator = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(generator.normal(size=(14, 15, 6)), 2) > -0.02
    image = sitk.GetImageFromArray(mask.astype(np.uint8).T)
    theirs = sitk.GetArrayFromImage(sitk.Subtract(image, sitk.BinaryErode(image, (1, 1, 0)))).T.astype(bool)
    assert np.array_equal(border_in_plane(mask), theirs)


@pytest.mark.slow
def test_a_brain_with_28_structures_takes_seconds():
    generator = np.random.default_rng(0)
    seeds = generator.integers(0, 1, size=(160, 214, 167))
    centres = np.stack([generator.integers(20, size - 20, size=28) for size in seeds.shape], axis=1)
    seeds[tuple(centres.T)] = np.arange(1, 29)
    distance, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    truth = np.where(distance < 15, seeds[tuple(nearest)], 0)
    prediction = np.roll(truth, (3, 2, 1), axis=(0, 1, 2))

    def all_of_them():
        for structure in range(1, 29):
            assert hd95(prediction == structure, truth == structure, spaced(1, 1, 1)) <= math.sqrt(14)

    assert smoothings(all_of_them) < 3000
