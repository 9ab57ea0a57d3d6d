import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowshot.errors import SettingsError
from lowshot.nn.geometry import Geometry, patch_for, strides_for, working_spacing
from lowshot.nn.luna_park import LunaParkUNet

spacings = st.tuples(*[st.floats(0.3, 8.0)] * 3)
shapes = st.tuples(*[st.integers(1, 600)] * 3)
axes = range(3)


@pytest.mark.parametrize(
    ("spacing", "shape", "levels", "expected"),
    [
        ((1.0, 1.0, 1.0), (160, 214, 167), 3, ((2, 2, 2), (2, 2, 2))),
        ((1.25, 1.25, 7.7), (256, 256, 37), 3, ((2, 2, 1), (2, 2, 1))),
        # 5 mm in plane against 7.7 mm: from here on every axis is halved.
        ((1.25, 1.25, 7.7), (256, 256, 37), 5, ((2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2))),
        ((3.0, 1.0, 1.0), (40, 200, 200), 3, ((1, 2, 2), (2, 2, 2))),
        ((1.0, 1.0, 1.0), (128, 128, 1), 3, ((2, 2, 1), (2, 2, 1))),
        # Five voxels cannot be halved, and do not keep the other axes from it.
        ((1.0, 1.0, 1.0), (5, 200, 200), 4, ((1, 2, 2), (1, 2, 2), (1, 2, 2))),
        ((1.0, 1.0, 1.0), (1, 1, 1), 2, ((1, 1, 1),)),
        ((1.0, 1.0, 1.0), (64, 64, 64), 1, ()),
    ],
)
def test_axes_are_halved_until_voxels_are_cubic(spacing, shape, levels, expected):
    assert strides_for(spacing, shape, levels) == expected


def test_patches_are_cubic_in_millimetres():
    assert patch_for((1.0, 1.0, 1.0), (160, 214, 167), 48**3, ((2, 2, 2), (2, 2, 2))) == ((48, 48, 48), (8, 8, 8))
    patch, margin = patch_for((1.25, 1.25, 7.7), (256, 256, 37), 48**3, ((2, 2, 1), (2, 2, 1)))
    assert patch == (88, 88, 14)  # 110 × 110 × 108 mm
    assert margin == (14, 14, 2)


def test_patch_of_an_image_is_flat():
    patch, margin = patch_for((1.0, 1.0, 1.0), (128, 128, 1), 64**2, ((2, 2, 1), (2, 2, 1)))
    assert patch == (64, 64, 1)
    assert margin == (10, 10, 0)


@settings(deadline=None)
@given(spacings, shapes, st.integers(1, 5), st.integers(8**3, 96**3))
def test_patches_fit_the_network_and_the_budget(spacing, shape, levels, voxels):
    strides = strides_for(spacing, shape, levels)
    patch, margin = patch_for(spacing, shape, voxels, strides)
    multiples = [math.prod(stride[axis] for stride in strides) for axis in axes]
    Geometry(3, strides, patch, margin)  # refuses what the network cannot halve
    assert all(patch[axis] == 1 for axis in axes if shape[axis] == 1)
    # No larger than wanted, unless the smallest patch that can be halved is.
    assert math.prod(patch) <= max(voxels, math.prod(multiples))
    assert all(patch[axis] < 1.5 * shape[axis] + multiples[axis] for axis in axes)


@settings(max_examples=10, deadline=None)
@given(spacings, st.tuples(*[st.integers(1, 40)] * 3), st.integers(1, 3))
def test_the_network_runs_on_the_patch(spacing, shape, levels):
    strides = strides_for(spacing, shape, levels)
    patch, _ = patch_for(spacing, shape, 8**3, strides)
    network = LunaParkUNet(1, widths=(4,) * levels, convolutions=(1,) * levels, strides=strides).eval()
    maps = network(torch.zeros(1, 1, *patch))
    assert tuple(maps[-1].shape[2:]) == patch


@settings(deadline=None)
@given(st.tuples(*[st.floats(1.0, 500.0)] * 3), spacings, st.one_of(st.none(), st.integers(1, 10**7)))
def test_working_spacing_bounds_the_number_of_voxels(extent_mm, spacing, most_voxels):
    coarser = working_spacing(extent_mm, spacing, most_voxels)

    def voxels(steps):
        return math.prod(max(1.0, size / step) for size, step in zip(extent_mm, steps, strict=True))

    assert all(new >= old for new, old in zip(coarser, spacing, strict=True))
    if most_voxels is None or voxels(spacing) <= most_voxels:
        assert coarser == spacing
    else:
        # As many as allowed, not just fewer.
        assert 0.99 * most_voxels <= voxels(coarser) <= most_voxels * (1 + 1e-6)


def test_the_finest_axes_are_made_coarser_first():
    # 200 × 200 × 40 voxels of 1 × 1 × 5 mm; a tenth of them fits: 1 mm becomes √10 mm, 5 mm stay.
    x, y, z = working_spacing((200.0, 200.0, 200.0), (1.0, 1.0, 5.0), 160_000)
    assert x == y == pytest.approx(math.sqrt(10), rel=1e-6)
    assert z == 5


def test_geometry_survives_json():
    geometry = Geometry(3, ((2, 2, 2), (2, 2, 1)), (36, 36, 12), (4, 4, 2))
    assert Geometry.from_json(json.loads(json.dumps(geometry.to_json()))) == geometry


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, ((2, 2, 2), (2, 2, 1)), (37, 36, 12), (4, 4, 2)), "multiples of the strides' product 4"),
        ((3, ((2, 2, 2),), (36, 36, 1), (0, 0, 0)), "multiples of the strides' product 2"),
        ((2, ((2, 2, 1),), (36, 36, 12), (4, 4, 2)), "last size of 1"),
        ((3, (), (8, 8, 8), (4, 4, 4)), "nothing is left"),
        ((3, (), (8, 8, 8), (-1, 0, 0)), "nothing is left"),
        ((3, (), (0, 8, 8), (0, 0, 0)), "patch"),
    ],
)
def test_patches_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(SettingsError, match=message):
        Geometry(*arguments)


def test_slice_by_slice_needs_no_stride_along_the_slices():
    assert Geometry(2, ((2, 2, 2), (2, 2, 2)), (32, 32, 1), (4, 4, 0)).patch == (32, 32, 1)
