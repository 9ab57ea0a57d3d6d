import math
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy import ndimage

from lowshot.imaging.axis_map import AxisMap


def exact(axes, signs, shape):
    """The map that only permutes and flips."""
    start = tuple(0.0 if sign > 0 else shape[axis] - 1.0 for axis, sign in zip(axes, signs, strict=True))
    sizes = tuple(shape[axis] for axis in axes)
    return AxisMap(axes, start, tuple(map(float, signs)), sizes, shape)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_permutation_and_flips_copy_every_bit_there_and_back(axes):
    volume = torch.randn(2, 3, 4, 5)
    for signs in product((1, -1), repeat=3):
        axis_map = exact(axes, signs, (3, 4, 5))
        flips = [1 + a for a in range(3) if signs[a] < 0]
        expected = volume.permute(0, *(1 + axis for axis in axes)).flip(flips)
        assert axis_map.is_exact
        assert torch.equal(axis_map.forward(volume), expected)
        assert torch.equal(axis_map.backward(expected), volume)


@pytest.mark.parametrize("dtype", [torch.int16, torch.bool, torch.float64])
def test_exact_copies_keep_the_type(dtype):
    volume = torch.tensor([0, 1, 2, 3, 4, 5]).reshape(1, 1, 2, 3).to(dtype)
    axis_map = exact((2, 0, 1), (1, -1, -1), (1, 2, 3))
    assert torch.equal(axis_map.backward(axis_map.forward(volume)), volume)
    assert axis_map.forward(volume).dtype == dtype


@pytest.mark.parametrize(
    ("start", "step", "size"), [(-2, 1, 9), (2, 1, 2), (2, 1, 7), (4, -1, 9), (7, -1, 3), (-9, 1, 4)]
)
def test_crop_and_padding_copy_and_fill(start, step, size):
    volume = torch.arange(1.0, 6.0).reshape(1, 5, 1, 1)
    axis_map = AxisMap((0, 1, 2), (float(start), 0.0, 0.0), (float(step), 1.0, 1.0), (size, 1, 1), (5, 1, 1))
    positions = [start + step * n for n in range(size)]
    expected = [volume[0, p, 0, 0].item() if 0 <= p < 5 else 9.0 for p in positions]
    assert axis_map.forward(volume, fill=9.0).flatten().tolist() == expected


def test_the_matrix_leads_to_the_same_voxels():
    axis_map = exact((2, 0, 1), (-1, 1, -1), (3, 4, 5))
    volume = torch.arange(60.0).reshape(1, 3, 4, 5)
    moved = axis_map.forward(volume)[0]
    for index in product(*map(range, axis_map.shape)):
        i, j, k, _ = (axis_map.matrix() @ [*index, 1]).astype(int)
        assert moved[index] == volume[0, i, j, k]


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_refining_agrees_with_scipy(mode):
    volume = torch.rand(1, 6, 7, 5)
    axis_map = AxisMap((1, 2, 0), (0.13, 3.91, 0.32), (0.55, -0.45, 0.7), (11, 8, 7), (6, 7, 5))
    indices = np.indices(axis_map.shape).reshape(3, -1)
    positions = (axis_map.matrix() @ np.vstack([indices, np.ones(indices.shape[1])]))[:3]
    order = 1 if mode == "linear" else 0
    expected = ndimage.map_coordinates(volume[0].numpy(), positions, order=order, mode="nearest")
    moved = axis_map.forward(volume, mode=mode)
    np.testing.assert_allclose(moved.numpy().ravel(), expected, rtol=1e-5)


def test_coarsening_averages_with_a_triangle():
    """Positions 0.5, 2.5, 4.5 at step 2: neighbours weighted 1:3:3:1, renormalised at the edges."""
    values = [8.0, 0.0, 4.0, 0.0, 2.0, 6.0]
    axis_map = AxisMap((0, 1, 2), (0.5, 0.0, 0.0), (2.0, 1.0, 1.0), (3, 1, 1), (6, 1, 1))
    moved = axis_map.forward(torch.tensor(values).reshape(1, 6, 1, 1)).flatten()
    expected = [(3 * 8 + 0 + 4) / 7, (0 + 3 * 4 + 0 + 2) / 8, (0 + 3 * 2 + 3 * 6) / 7]
    np.testing.assert_allclose(moved.numpy(), expected, rtol=1e-6)


def test_a_checkerboard_does_not_alias():
    stripes = torch.arange(64).remainder(2).float().reshape(1, 64, 1, 1)
    axis_map = AxisMap((0, 1, 2), (1.0, 0.0, 0.0), (3.0, 1.0, 1.0), (21, 1, 1), (64, 1, 1))
    moved = axis_map.forward(stripes).flatten()
    assert (moved - 0.5).abs().max() < 0.08


@pytest.mark.parametrize("step", [0.3, 0.77, 1.9, 4.2, -2.5])
def test_a_constant_stays_constant_and_a_ramp_a_ramp(step):
    size = math.floor(19 / abs(step))
    start = 0.0 if step > 0 else 19.0
    axis_map = AxisMap((0, 1, 2), (0.0, start, 0.0), (1.0, step, 1.0), (2, size, 2), (2, 20, 2))
    ones = torch.ones(1, 2, 20, 2)
    np.testing.assert_allclose(axis_map.forward(ones).numpy(), 1, rtol=1e-6)
    ramp = torch.arange(20.0).reshape(1, 1, 20, 1).expand(1, 2, 20, 2)
    inner = slice(3, -3) if abs(step) < 1 else slice(1, -1)
    moved = axis_map.forward(ramp)[0, 0, inner, 0]
    expected = (start + step * torch.arange(size))[inner]
    np.testing.assert_allclose(moved.numpy(), expected.numpy(), atol=0.1 if abs(step) > 1 else 1e-5)


def test_backward_fills_outside_of_the_box():
    axis_map = AxisMap((0, 1, 2), (2.0, 0.0, 0.0), (0.5, 1.0, 1.0), (4, 2, 1), (8, 2, 1))
    back = axis_map.backward(torch.ones(1, 4, 2, 1), fill=-1.0)
    # The box spans scan positions 1.75 to 3.75.
    assert back[0, :, 0, 0].tolist() == [-1, -1, 1, 1, -1, -1, -1, -1]


def test_header_noise_does_not_interpolate():
    axis_map = AxisMap((0, 1, 2), (1e-6, 0.0, 0.0), (1 + 1e-7, 1.0, 1.0), (5, 5, 5), (5, 5, 5))
    volume = torch.randn(1, 5, 5, 5)
    assert torch.equal(axis_map.forward(volume), volume)


def test_half_precision_comes_back_as_float32():
    axis_map = AxisMap((0, 1, 2), (0.25, 0.0, 0.0), (0.5, 1.0, 1.0), (4, 1, 1), (4, 1, 1))
    moved = axis_map.forward(torch.tensor([0.0, 1, 2, 3], dtype=torch.bfloat16).reshape(1, 4, 1, 1))
    assert moved.dtype == torch.float32
    assert moved.flatten().tolist() == [0.25, 0.75, 1.25, 1.75]


def test_integers_are_not_interpolated():
    axis_map = AxisMap((0, 1, 2), (0.25, 0.0, 0.0), (0.5, 1.0, 1.0), (4, 1, 1), (4, 1, 1))
    with pytest.raises(ValueError, match="cannot be interpolated"):
        axis_map.forward(torch.zeros(1, 4, 1, 1, dtype=torch.int16))


def test_a_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected shape \(3, 4, 5\), got \(3, 4, 6\)"):
        exact((0, 1, 2), (1, 1, 1), (3, 4, 5)).forward(torch.zeros(1, 3, 4, 6))


@pytest.mark.parametrize("step", [0.4, 1.0, 1.5, 2.0, 3.7, -0.6, -2.2])
def test_no_annotated_slice_is_lost(step):
    size = math.ceil(12 / abs(step))
    start = (11 - step * (size - 1)) / 2
    axis_map = AxisMap((0, 1, 2), (0.0, 0.0, start), (1.0, 1.0, step), (2, 2, size), (2, 2, 12))
    positions = start + step * np.arange(size)
    for k in range(12):
        mask = torch.zeros(2, 2, 12, dtype=torch.bool)
        mask[:, :, k] = True
        covered = axis_map.cover(mask)[0, 0].numpy()
        distance = abs(positions - k)
        assert covered.any()
        assert covered[distance < max(1, abs(step)) / 2 - 0.02].all()
        assert not covered[distance > max(1, abs(step)) / 2 + 0.02].any()


@pytest.mark.parametrize("seed", range(30))
def test_part_is_the_whole_where_the_volume_is_zero_elsewhere(seed):
    generator = np.random.default_rng(seed)
    scan_shape = tuple(generator.integers(1, 25, 3).tolist())
    shape = tuple(generator.integers(1, 25, 3).tolist())
    axes = tuple(generator.permutation(3).tolist())
    step = tuple((generator.uniform(0.3, 3, 3) * generator.choice([-1, 1], 3)).tolist())
    start = tuple((generator.uniform(-4, 20, 3)).tolist())
    axis_map = AxisMap(axes, start, step, shape, scan_shape)
    low = [int(generator.integers(0, size)) for size in scan_shape]
    box = tuple(slice(a, int(generator.integers(a + 1, size + 1))) for a, size in zip(low, scan_shape, strict=True))
    volume = torch.zeros(1, *scan_shape)
    volume[0][box] = torch.rand(volume[0][box].shape) + 0.1
    part, piece, target = axis_map.part(box)
    expected = axis_map.forward(volume)[0]
    result = torch.zeros(shape)
    result[target] = part.forward(volume[0][piece][None])[0]
    torch.testing.assert_close(result, expected)


def test_scan_box_holds_the_voxels_that_are_touched():
    assert AxisMap((0, 1, 2), (2.0, 4.0, 0.25), (1.0, -1.0, 0.5), (3, 3, 6), (9, 9, 3)).scan_box() == (
        slice(2, 5),
        slice(2, 5),
        slice(0, 3),
    )
    padded = AxisMap((0, 1, 2), (-2.0, 0.0, 0.0), (1.0, 1.0, 1.0), (9, 1, 1), (5, 1, 1))
    assert padded.scan_box()[0] == slice(0, 5)
