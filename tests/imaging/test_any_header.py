"""Whatever grid, type and values a sound file has, its voxels are read where they lie, and results lie there too.

The files are written, and the results read, by nibabel and SimpleITK themselves.
"""

import tempfile
from itertools import permutations
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lowshot.errors import InputError
from lowshot.imaging.files import read_scan, write_segmentation
from lowshot.imaging.label_maps import read_labels
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
FARTHEST_VOXELS = 1e4
"""NIfTI holds places in 32 bits: farther from the origin than this, they are no longer exact to a hundredth voxel."""
CLOSE_VOXELS = 0.02
"""A quaternion in 32 bits turns by up to 0.0003 too much or too little."""

shapes = st.tuples(*[st.integers(1, 5)] * 3)
sizes = st.floats(-4, 4).map(lambda exponent: 10.0**exponent)
ratios = st.tuples(*[st.floats(1, 8)] * 3)
turns = st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(*[st.floats(-180, 180)] * 3))
axes = st.tuples(st.permutations(range(3)), st.tuples(*[st.sampled_from([1, -1])] * 3))
origins = st.tuples(*[st.floats(-FARTHEST_VOXELS, FARTHEST_VOXELS)] * 3)


@st.composite
def grids(draw, sheared=False):
    """A shape, and the RAS+ affine of a grid that is permuted, flipped, turned, stretched and perhaps sheared."""
    order, signs = draw(axes)
    directions = Rotation.from_euler("xyz", draw(turns), degrees=True).as_matrix() @ (np.eye(3)[:, order] * signs)
    spacing = draw(sizes) * np.array(draw(ratios))
    if sheared:
        shear = np.eye(3)
        shear[np.triu_indices(3, 1)] = draw(st.tuples(*[st.floats(-0.5, 0.5)] * 3))
        directions = directions @ shear
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = np.array(draw(origins)) * spacing.min()
    return draw(shapes), affine


def ramp(shape, dtype):
    """Voxels that are all different, so that none can change places with another unnoticed."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def off_by_voxels(affine, other, shape):
    """How far any voxel is from its place, in voxels (of the shortest side)."""
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])]).T
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    return np.linalg.norm(((affine - other) @ corners)[:3], axis=0).max() / sides.min()


def labels_like(scan, values):
    """All of ``values`` in turn, background first."""
    indices = torch.arange(scan.grid.shape[0] * scan.grid.shape[1] * scan.grid.shape[2]) % len(values)
    return Segmentation(indices.reshape(scan.grid.shape), Names.from_values(values[1:], values[0]), scan.affine)


def unless_refused(path, read, *words, **more):
    """What ``read`` made of the file, or None if it refused with one line that names it."""
    try:
        return read(path, *words, **more)
    except InputError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert "\n" not in message
    return None


values = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=6, unique=True).map(
    lambda some: [some[0], *sorted(some[1:])]
)
integers = st.sampled_from(["u1", "i1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4", "<i8", "<u8"])
reals = st.sampled_from(["<f4", ">f4", "<f8"])
codes = st.sampled_from([(0, 1), (1, 0), (2, 3), (4, 4), (1, 1)])


@settings(max_examples=60, deadline=None)
@given(
    grid=grids(),
    dtype=integers | reals,
    values=values,
    codes=codes,
    suffix=st.sampled_from([".nii", ".nii.gz"]),
    kind=st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]),
)
def test_nifti_of_any_grid_type_and_values(grid, dtype, values, codes, suffix, kind):
    shape, affine = grid
    image = kind(ramp(shape, dtype), affine, kind.header_class(endianness=dtype[0] if dtype[0] in "<>" else "<"))
    image.set_data_dtype(dtype)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    with tempfile.TemporaryDirectory() as folder:
        path, result = Path(folder) / f"image{suffix}", Path(folder) / f"labels{suffix}"
        image.to_filename(path)
        scan = read_scan(path)
        np.testing.assert_array_equal(scan.voxels[0], ramp(shape, np.float32))
        assert off_by_voxels(affine, scan.affine, shape) < CLOSE_VOXELS
        labels = labels_like(scan, values)
        write_segmentation(labels, result, scan.source)
        before, after = nibabel.load(path), nibabel.load(result)
        assert type(after) is kind
        np.testing.assert_array_equal(after.affine, before.affine)
        for form in ("sform", "qform"):
            np.testing.assert_array_equal(getattr(after, f"get_{form}")(), getattr(before, f"get_{form}")())
            assert after.header[f"{form}_code"] == before.header[f"{form}_code"]
        np.testing.assert_array_equal(np.asarray(after.dataobj), labels.names.decode(labels.labels.numpy()))
        back, _ = read_labels(result, labels.names, like=scan)
        assert torch.equal(back.labels.long(), labels.labels)


@settings(max_examples=60, deadline=None)
@given(
    grid=grids(sheared=True),
    dtype=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"]),
    values=values,
    suffix=st.sampled_from([".nrrd", ".mha"]),
    packed=st.booleans(),
)
def test_nrrd_and_metaimage_of_any_grid_type_and_values(grid, dtype, values, suffix, packed):
    shape, affine = grid
    image = SimpleITK.GetImageFromArray(ramp(shape, dtype).T)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(((LPS @ affine)[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((LPS @ affine)[:3, 3].tolist())
    with tempfile.TemporaryDirectory() as folder:
        path, result = Path(folder) / f"image{suffix}", Path(folder) / f"labels{suffix}"
        SimpleITK.WriteImage(image, path, useCompression=packed)
        image = SimpleITK.ReadImage(path)  # of what its text kept
        scan = read_scan(path)
        last = tuple(size - 1 for size in shape)
        for voxel in ((0, 0, 0), last, (last[0], 0, 0), (0, last[1], 0)):
            assert scan.voxels[0][voxel] == image[voxel]
            place = LPS[:3, :3] @ image.TransformIndexToPhysicalPoint(voxel)
            off = np.linalg.norm((scan.affine @ (*voxel, 1))[:3] - place) / spacing.min()
            assert off < CLOSE_VOXELS
        labels = labels_like(scan, values)
        write_segmentation(labels, result, scan.source)
        after = SimpleITK.ReadImage(result)
        np.testing.assert_allclose(after.GetDirection(), image.GetDirection(), atol=1e-5)
        np.testing.assert_allclose(after.GetSpacing(), image.GetSpacing(), rtol=1e-5)
        np.testing.assert_allclose(after.GetOrigin(), image.GetOrigin(), rtol=1e-5, atol=CLOSE_VOXELS * spacing.min())
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(after).T, labels.names.decode(labels.labels.numpy()))


absurd = st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e-38, 1e-12, 1e12, 3e38, -1.0])


UNIT_MM = {1: 1000, 2: 1, 3: 0.001}
"""Millimetres per metre, millimetre and micrometre, as NIfTI numbers its units; no unit is taken to be millimetres."""


def read_absurd(shape, affine, places, zooms, unit):
    """Whether a file is read whose header says absurd things about its grid; what is read is right."""
    image = nibabel.Nifti1Image(ramp(shape, np.int16), affine)
    for row, column, value in places:
        image.header["srow_" + "xyz"[row]][column] = value
    image.header["xyzt_units"] = unit
    if zooms is not None:
        image.header["pixdim"][1:4] = zooms
        image.header["sform_code"] = 0
    image.header["vox_offset"] = 352
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.nii"
        path.write_bytes(image.header.binaryblock + bytes(4) + ramp(shape, "<i2").tobytes(order="F"))
        scan = unless_refused(path, read_scan)
        if scan is None:
            return False
        expected = np.diag([UNIT_MM.get(unit % 8, 1)] * 3 + [1]) @ nibabel.load(path).affine
        corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])]).T
        off_mm = np.linalg.norm(((scan.affine - expected) @ corners)[:3], axis=0)
        assert off_mm.max() <= 1e-9 * max(1, np.linalg.norm((expected @ corners)[:3], axis=0).max())
        assert np.isfinite(scan.affine).all()
        assert np.linalg.matrix_rank(scan.affine[:3, :3] / scan.grid.spacing, tol=1e-7) == 3
        np.testing.assert_array_equal(scan.voxels[0], ramp(shape, np.float32))
        write_segmentation(labels_like(scan, [0, 3]), Path(folder) / "labels.nii", scan.source)
        read_labels(Path(folder) / "labels.nii", like=scan)
        return True


@settings(max_examples=60, deadline=None)
@given(
    grid=grids(),
    places=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), absurd), min_size=1, max_size=6),
    zooms=st.none() | st.tuples(*[absurd] * 3),
    unit=st.integers(0, 255),
)
def test_absurd_grids_are_refused_or_right(grid, places, zooms, unit):
    """What nibabel says the affine is holds if it places voxels at all; else there is one line that names the file."""
    read_absurd(*grid, places, zooms, unit)


OBLIQUE = np.array([[2.0, 0, 0, -50], [0, 1.6, -1.2, 20], [0, 1.2, 1.6, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("places", "zooms", "unit", "is_read"),
    [
        ([(0, 3, 0.0)], None, 2, True),
        ([(1, 0, -1.0), (2, 0, 0.0)], None, 2, True),
        ([(0, 0, -1.0)], None, 1, True),  # metres
        ([(0, 0, -1.0)], None, 3 + 8, True),  # micrometres and seconds
        ([(0, 0, 1e-12)], None, 7, False),
        ([(0, 0, 0.0)], (-1.0, -1.0, -1.0), 255, True),  # the qform, whose sizes nibabel takes without their sign
        ([(0, 0, 0.0)], None, 2, False),
        ([(0, 3, np.nan)], None, 2, False),
        ([(0, 0, 3e38)], None, 2, False),
        ([], (0.0, 1e-38, 1.0), 2, False),
    ],
)
def test_only_grids_that_place_no_voxels_are_refused(places, zooms, unit, is_read):
    assert read_absurd((3, 4, 2), OBLIQUE, places, zooms, unit) == is_read


anything = st.one_of(
    st.integers(-(2**63), 2**64 - 1).map(np.array),
    st.floats(width=64).map(np.array),
    st.floats(width=32).map(np.float32),
)


@settings(max_examples=60, deadline=None)
@example(values=[np.array(2**53 + 1), np.array(2**63 - 1), np.array(-(2**63))], named=False, ignored=None)
@given(values=st.lists(anything, min_size=1, max_size=5), named=st.booleans(), ignored=st.none() | st.integers())
def test_label_values_are_kept_or_refused(values, named, ignored):
    """Whole numbers of 64 bits are labels, exactly; anything else, and any value without a name, is refused."""
    kind = np.result_type(*[np.asarray(value).dtype for value in values])
    stored = np.array([np.asarray(value).astype(kind) for value in values]).reshape(-1, 1, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.nii"
        nibabel.Nifti1Image(stored, np.eye(4), dtype=stored.dtype).to_filename(path)
        names = Names.of({1: "liver", 2: "spleen"}) if named else None

        def is_no_label(value):
            if named:
                return value not in (0, 1, 2)
            if isinstance(value, int):
                return not -(2**63) <= value < 2**63
            return abs(value) > 2**53 or not value.is_integer()

        answer = unless_refused(path, read_labels, names, ignore_value=ignored)
        if answer is None:
            assert ignored in (0, 1, 2) or any(map(is_no_label, stored.ravel().tolist()))
            return
        labels, known = answer
        made = labels.names.decode(labels.labels.numpy()).ravel().tolist()
        for value, read, is_known in zip(
            stored.ravel().tolist(), made, [True] * len(made) if known is None else known.ravel().tolist(), strict=True
        ):
            assert not is_known or read == value or abs(read - value) < 1e-3  # a float may be nearly whole


def test_all_orders_of_axes_are_among_the_grids():
    """The strategy above would be worth little if it drew one orientation."""
    drawn = set()

    @settings(max_examples=200, deadline=None, database=None)
    @given(axes)
    def draw(order_and_signs):
        drawn.add(tuple(order_and_signs[0]))

    draw()
    assert drawn == set(permutations(range(3)))
