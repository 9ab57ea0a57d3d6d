import gzip
import resource
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from lowshot.errors import (
    BadVoxels,
    ChannelMismatch,
    GridMismatch,
    InputError,
    OutputError,
    UnknownLabel,
    UnreadableFile,
)
from lowshot.imaging.files import (
    FORMATS,
    read_labelled,
    read_labels,
    read_scan,
    scan_format,
    scan_name,
    write_segmentation,
    write_volume,
)
from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation

SHAPE = (4, 5, 6)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", (20, -15, 10), degrees=True).as_matrix() * (0.9, 1.4, 3.3)
OBLIQUE[:3, 3] = (-30, 12, 55)
SHEARED = OBLIQUE @ np.array([[1, 0.1, 0, 0], [0, 1, 0.25, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha")


def orientations():
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = (np.eye(3)[:, list(order)] * signs) * (0.8, 1.5, 3.0)
            affine[:3, 3] = (-10, 20, 30)
            yield "".join(nibabel.aff2axcodes(affine)), affine


ORIENTATIONS = dict(orientations())
AFFINES = {**ORIENTATIONS, "oblique": OBLIQUE, "sheared": SHEARED}


def segmentation(values=(0, 1, 2), affine=OBLIQUE, shape=SHAPE):
    labels = torch.randint(0, len(values), shape, generator=torch.Generator().manual_seed(0))
    labels.view(-1)[: len(values)] = torch.arange(len(values))
    return Segmentation(labels, Names.from_values(values, background=values[0]), affine)


def save_nifti(path, array, affine=OBLIQUE, **header):
    image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)
    return path


def image_array(shape=SHAPE, dtype=np.int16):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


# ---- round trips -----------------------------------------------------------------------------------------------------


def test_there_are_48_orientations():
    assert len(ORIENTATIONS) == 48


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
def test_a_label_map_comes_back_where_it_was(tmp_path, affine, suffix):
    written = segmentation(affine=affine)
    write_segmentation(written, tmp_path / f"labels{suffix}")
    back, known = read_labels(tmp_path / f"labels{suffix}")
    assert torch.equal(back.labels, written.labels.short())
    assert known is None
    assert written.grid.distance_mm(back.grid) < 1e-4


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES.keys())
def test_simpleitk_and_nibabel_see_the_same_place(tmp_path, affine, suffix):
    """What another program reads from our file lies at our world position (ITK counts towards left, posterior)."""
    write_volume(torch.arange(120.0).reshape(1, *SHAPE), affine, tmp_path / f"x{suffix}")
    if suffix.startswith(".nii"):
        image = nibabel.load(tmp_path / f"x{suffix}")
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
        assert image.dataobj[3, 1, 2] == 3 * 30 + 1 * 6 + 2
    else:
        image = SimpleITK.ReadImage(tmp_path / f"x{suffix}")
        left, posterior, superior = image.TransformIndexToPhysicalPoint((3, 1, 2))
        np.testing.assert_allclose((-left, -posterior, superior), (affine @ (3, 1, 2, 1))[:3], atol=1e-9)
        assert image[3, 1, 2] == 3 * 30 + 1 * 6 + 2


@pytest.mark.parametrize("suffix", VOLUMES)
def test_an_image_becomes_labels_on_exactly_its_grid(tmp_path, suffix):
    """Image written by another program, labels written by us: shape and header geometry agree to the last bit."""
    path = tmp_path / f"image{suffix}"
    if suffix.startswith(".nii"):
        save_nifti(path, image_array())
    else:
        image = SimpleITK.GetImageFromArray(image_array(SHAPE[::-1]))
        image.SetDirection(Rotation.from_euler("xyz", (20, -15, 10), degrees=True).as_matrix().ravel().tolist())
        image.SetSpacing((0.9, 1.4, 3.3))
        image.SetOrigin((-30, 12, 55))
        SimpleITK.WriteImage(image, path)
    scan = read_scan(path)
    result = tmp_path / f"result{suffix}"
    write_segmentation(segmentation(affine=scan.affine), result, scan.source)
    read_labelled(path, result)
    if suffix.startswith(".nii"):
        np.testing.assert_array_equal(nibabel.load(result).affine, nibabel.load(path).affine)
    else:
        one, other = SimpleITK.ReadImage(path), SimpleITK.ReadImage(result)
        np.testing.assert_allclose(one.GetDirection(), other.GetDirection(), atol=1e-15)
        np.testing.assert_allclose(one.GetSpacing(), other.GetSpacing(), rtol=1e-15)
        assert one.GetOrigin() == other.GetOrigin()


@pytest.mark.parametrize("source", ["image.nii.gz", "image.mgz", "image.nrrd", "image.mha"])
@pytest.mark.parametrize("result", ["result.nii.gz", "result.nrrd", "result.mha"])
def test_any_format_becomes_any_other(tmp_path, source, result):
    array = image_array()
    if source.endswith("mgz"):
        nibabel.save(nibabel.MGHImage(array.astype(np.int32), SHEARED), tmp_path / source)
    else:
        write_volume(torch.from_numpy(array)[None].float(), SHEARED, tmp_path / source)
    scan = read_scan(tmp_path / source)
    np.testing.assert_array_equal(scan.voxels[0], array)
    np.testing.assert_allclose(scan.affine, SHEARED, atol=1e-4)
    write_segmentation(segmentation(affine=scan.affine), tmp_path / result, scan.source)
    read_labelled(tmp_path / source, tmp_path / result)


# ---- NIfTI headers ---------------------------------------------------------------------------------------------------


def with_forms(path, sform=None, qform=None):
    header = nibabel.Nifti1Header()
    header.set_data_shape(SHAPE)
    header.set_zooms((0.9, 1.4, 3.3))
    header.set_sform(None if sform is None else sform[0], 0 if sform is None else sform[1])
    header.set_qform(None if qform is None else qform[0], 0 if qform is None else qform[1])
    nibabel.save(nibabel.Nifti1Image(image_array(), None, header), path)
    return path


SHIFTED = OBLIQUE.copy()
SHIFTED[:3, 3] += 2


@pytest.mark.parametrize(
    ("forms", "codes", "affine"),
    [
        ({"sform": (SHEARED, 4)}, (4, 0), SHEARED),
        ({"qform": (OBLIQUE, 1)}, (0, 1), OBLIQUE),
        ({"sform": (SHEARED, 2), "qform": (SHIFTED, 1)}, (2, 1), SHEARED),
        ({"sform": (OBLIQUE, 3), "qform": (OBLIQUE, 3)}, (3, 3), OBLIQUE),
        ({}, (0, 0), None),
    ],
    ids=["sform", "qform", "different", "equal", "neither"],
)
def test_both_forms_and_their_codes_are_kept(tmp_path, forms, codes, affine):
    path = with_forms(tmp_path / "image.nii.gz", **forms)
    scan = read_scan(path)
    if affine is None:
        assert scan.grid.spacing == pytest.approx((0.9, 1.4, 3.3))
    else:
        np.testing.assert_allclose(scan.affine, affine, atol=1e-5)
    write_segmentation(segmentation(affine=scan.affine), tmp_path / "labels.nii.gz", scan.source)
    before, after = nibabel.load(path), nibabel.load(tmp_path / "labels.nii.gz")
    assert (int(after.header["sform_code"]), int(after.header["qform_code"])) == codes
    np.testing.assert_array_equal(after.affine, before.affine)
    np.testing.assert_array_equal(after.get_sform(), before.get_sform())
    np.testing.assert_array_equal(after.get_qform(), before.get_qform())


def test_what_describes_the_image_is_reset_and_the_rest_is_kept(tmp_path):
    image = nibabel.Nifti1Image(image_array(dtype=np.float32) / 7, OBLIQUE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"ward 7"
    image.header["cal_max"] = 12
    image.header.set_intent("t test", (3,), name="activation")
    image.header.set_slope_inter(0.5, 10)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"of the image"))
    nibabel.save(image, tmp_path / "image.nii")
    scan = read_scan(tmp_path / "image.nii")
    write_segmentation(segmentation(affine=scan.affine), tmp_path / "labels.nii", scan.source)
    header = nibabel.load(tmp_path / "labels.nii").header
    assert header["descrip"].item() == b"ward 7"
    assert header.get_xyzt_units() == ("mm", "sec")
    assert header.get_data_dtype() == np.uint8
    assert header.get_slope_inter() in ((None, None), (1.0, 0.0))
    assert header["cal_max"] == 0
    assert header.get_intent() == ("label", (), "")
    assert not header.extensions


@pytest.mark.parametrize(
    ("unit", "mm"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0), ("unknown", 1.0), (5, 1.0)]
)
def test_units_of_length_become_mm_and_are_written_back_as_they_were(tmp_path, unit, mm):
    image = nibabel.Nifti1Image(image_array(), OBLIQUE)
    image.header["xyzt_units"] = nibabel.nifti1.unit_codes[unit] + 8 if isinstance(unit, str) else unit
    nibabel.save(image, tmp_path / "image.nii")
    scan = read_scan(tmp_path / "image.nii")
    np.testing.assert_allclose(scan.affine, np.diag([mm, mm, mm, 1]) @ OBLIQUE, rtol=1e-5)
    write_segmentation(segmentation(affine=scan.affine), tmp_path / "labels.nii", scan.source)
    before, after = nibabel.load(tmp_path / "image.nii"), nibabel.load(tmp_path / "labels.nii")
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.header["xyzt_units"] == before.header["xyzt_units"]
    write_segmentation(segmentation(affine=scan.affine), tmp_path / "labels.mha", scan.source)
    read_labelled(tmp_path / "image.nii", tmp_path / "labels.mha")


def test_a_header_of_another_grid_is_not_used(tmp_path):
    scan = read_scan(save_nifti(tmp_path / "image.nii", image_array(), OBLIQUE))
    write_segmentation(segmentation(affine=SHIFTED), tmp_path / "labels.nii", scan.source)
    np.testing.assert_allclose(nibabel.load(tmp_path / "labels.nii").affine, SHIFTED, atol=1e-5)


def test_a_sheared_grid_has_no_qform(tmp_path):
    """A qform cannot hold shear; a wrong one would make programs that prefer it draw the labels elsewhere."""
    write_segmentation(segmentation(affine=SHEARED), tmp_path / "sheared.nii")
    write_segmentation(segmentation(affine=OBLIQUE), tmp_path / "oblique.nii")
    assert nibabel.load(tmp_path / "sheared.nii").header["qform_code"] == 0
    assert nibabel.load(tmp_path / "oblique.nii").header["qform_code"] == 1


def test_nifti_2_stays_nifti_2(tmp_path):
    nibabel.save(nibabel.Nifti2Image(image_array(), OBLIQUE), tmp_path / "image.nii.gz")
    scan = read_scan(tmp_path / "image.nii.gz")
    write_segmentation(segmentation(affine=scan.affine), tmp_path / "labels.nii.gz", scan.source)
    assert isinstance(nibabel.load(tmp_path / "labels.nii.gz"), nibabel.Nifti2Image)


def test_scaled_integers_are_read_in_their_units(tmp_path):
    image = nibabel.Nifti1Image(image_array(), OBLIQUE)
    image.header.set_slope_inter(2, -1024)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    scan = read_scan(tmp_path / "ct.nii.gz")
    assert scan.voxels.dtype == torch.float32
    np.testing.assert_allclose(scan.voxels[0], 2.0 * image_array() - 1024)


def test_big_endian_files_are_read(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(image_array(dtype=">i2"), OBLIQUE, header), tmp_path / "image.nii")
    np.testing.assert_array_equal(read_scan(tmp_path / "image.nii").voxels[0], image_array())


def test_nrrd_keys_are_kept(tmp_path):
    image = SimpleITK.GetImageFromArray(image_array(SHAPE[::-1]))
    image.SetMetaData("DWMRI_b-value", "1000")
    SimpleITK.WriteImage(image, tmp_path / "image.nrrd")
    scan = read_scan(tmp_path / "image.nrrd")
    write_segmentation(segmentation(affine=scan.affine), tmp_path / "labels.nrrd", scan.source)
    assert SimpleITK.ReadImage(tmp_path / "labels.nrrd").GetMetaData("DWMRI_b-value") == "1000"


# ---- two dimensions --------------------------------------------------------------------------------------------------


def test_png_in_png_out(tmp_path):
    pixels = image_array((7, 9), np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels), tmp_path / "image.png")
    mask = (pixels > 50).astype(np.uint8) * 255
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(mask), tmp_path / "mask.png")
    labelled = read_labelled(tmp_path / "image.png", tmp_path / "mask.png")
    assert labelled.scan.voxels.shape == (1, 9, 7, 1)
    assert not labelled.scan.spacing_known
    np.testing.assert_array_equal(labelled.scan.voxels[0, :, :, 0], pixels.T)
    assert labelled.truth.names.values == (0, 255)
    write_segmentation(labelled.truth, tmp_path / "out.png", labelled.scan.source)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "out.png")), mask)


def test_a_png_mask_lies_where_its_nifti_image_lies(tmp_path):
    save_nifti(tmp_path / "slice.nii.gz", image_array((9, 7, 1)), OBLIQUE)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.eye(7, 9, dtype=np.uint8)), tmp_path / "mask.png")
    labelled = read_labelled(tmp_path / "slice.nii.gz", tmp_path / "mask.png")
    np.testing.assert_allclose(labelled.truth.affine, labelled.scan.affine)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.eye(9, 7, dtype=np.uint8)), tmp_path / "turned.png")
    with pytest.raises(GridMismatch, match=r"turned\.png: the label map is \(7, 9, 1\)"):
        read_labelled(tmp_path / "slice.nii.gz", tmp_path / "turned.png")


def test_sixteen_bit_labels_in_png(tmp_path):
    written = segmentation((0, 300, 65535), shape=(8, 6, 1))
    write_segmentation(written, tmp_path / "labels.png")
    back, _ = read_labels(tmp_path / "labels.png")
    assert back.names.values == (0, 300, 65535)
    assert torch.equal(back.labels, written.labels.short())


@pytest.mark.parametrize(
    ("values", "shape", "message"),
    [
        ((0, 1), SHAPE, "PNG holds one slice"),
        ((0, -1), (8, 6, 1), "got -1 to 0"),
        ((0, 70000), (8, 6, 1), "got 0 to 70000"),
    ],
)
def test_what_png_cannot_hold_is_refused(tmp_path, values, shape, message):
    with pytest.raises(OutputError, match=message):
        write_segmentation(segmentation(values, shape=shape), tmp_path / "labels.png")
    assert not list(tmp_path.iterdir())


def test_tiff_pages_are_slices(tmp_path):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image_array((3, 5, 4), np.uint8)), tmp_path / "stack.tif")
    scan = read_scan(tmp_path / "stack.tif")
    assert scan.voxels.shape == (1, 4, 5, 3)
    assert not scan.spacing_known


def test_a_2d_nifti_stays_2d(tmp_path):
    save_nifti(tmp_path / "slice.nii.gz", image_array((9, 7)))
    scan = read_scan(tmp_path / "slice.nii.gz")
    assert scan.voxels.shape == (1, 9, 7, 1)
    write_segmentation(segmentation(shape=(9, 7, 1), affine=scan.affine), tmp_path / "labels.nii.gz", scan.source)
    assert nibabel.load(tmp_path / "labels.nii.gz").shape == (9, 7)


# ---- channels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", VOLUMES)
def test_channels_of_one_file_must_be_declared(tmp_path, suffix):
    volume = torch.rand(2, *SHAPE)
    write_volume(volume, OBLIQUE, tmp_path / f"x{suffix}")
    scan = read_scan(tmp_path / f"x{suffix}", channels=["T1", "FLAIR"])
    assert scan.channels == ("T1", "FLAIR")
    assert torch.equal(scan.voxels, volume)
    with pytest.raises(BadVoxels, match=r"expected three axes, got shape \(4, 5, 6, 2\)"):
        read_scan(tmp_path / f"x{suffix}")
    with pytest.raises(ChannelMismatch, match=r"expected 3 channels \(a, b, c\), got 2"):
        read_scan(tmp_path / f"x{suffix}", channels=["a", "b", "c"])


def test_one_channel_can_be_named(tmp_path):
    path = save_nifti(tmp_path / "x.nii", image_array())
    assert read_scan(path).channels == ("image",)
    assert read_scan(path, channels=["T2"]).channels == ("T2",)
    with pytest.raises(ChannelMismatch, match="expected 2 channels"):
        read_scan(path, channels=["T2", "DWI"])


def test_a_fourth_axis_of_one_is_no_axis(tmp_path):
    path = save_nifti(tmp_path / "x.nii", image_array((*SHAPE, 1)))
    assert read_scan(path).voxels.shape == (1, *SHAPE)
    scan = read_scan(path)
    write_segmentation(segmentation(affine=scan.affine), tmp_path / "labels.nii", scan.source)
    assert nibabel.load(tmp_path / "labels.nii").shape == SHAPE


def test_five_axes_are_read_as_vectors_or_refused(tmp_path):
    path = save_nifti(tmp_path / "field.nii", image_array((*SHAPE, 1, 3)))
    assert read_scan(path, channels="xyz").voxels.shape == (3, *SHAPE)
    path = save_nifti(tmp_path / "more.nii", image_array((*SHAPE, 2, 3)))
    with pytest.raises(UnreadableFile, match=r"more\.nii: expected three axes"):
        read_scan(path)


def test_files_become_channels_of_one_scan(tmp_path):
    one = save_nifti(tmp_path / "t1.nii.gz", image_array())
    noisy = OBLIQUE + np.random.default_rng(0).normal(0, 1e-8, (4, 4)) * np.array([[1], [1], [1], [0]])
    two = save_nifti(tmp_path / "flair.nii.gz", image_array() + 1, noisy)
    scan = read_scan({"T1": one, "FLAIR": two}, name="patient")
    assert (scan.name, scan.channels) == ("patient", ("T1", "FLAIR"))
    np.testing.assert_array_equal(scan.voxels[1] - scan.voxels[0], 1)
    three = save_nifti(tmp_path / "shifted.nii.gz", image_array(), SHIFTED)
    with pytest.raises(GridMismatch, match=r"shifted\.nii\.gz: channel DWI .*3\.46 mm apart"):
        read_scan({"T1": one, "DWI": three})


def test_grey_in_colour_is_grey_and_colour_must_be_declared(tmp_path):
    grey = np.repeat(image_array((7, 9), np.uint8)[..., None], 3, axis=-1)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(grey, isVector=True), tmp_path / "grey.png")
    scan = read_scan(tmp_path / "grey.png")
    np.testing.assert_array_equal(scan.voxels[0, :, :, 0], grey[..., 0].T)
    colour = grey.copy()
    colour[0, 0] = (255, 0, 7)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(colour, isVector=True), tmp_path / "colour.png")
    with pytest.raises(BadVoxels, match=r"colour\.png: expected grey values, got colour in 1\.59% of"):
        read_scan(tmp_path / "colour.png")
    scan = read_scan(tmp_path / "colour.png", colour=True)
    assert scan.channels == ("red", "green", "blue")
    assert scan.voxels[:, 0, 0, 0].tolist() == [255, 0, 7]


def test_opacity_is_dropped_when_full_and_refused_when_not(tmp_path):
    pixels = np.repeat(image_array((7, 9), np.uint8)[..., None], 4, axis=-1)
    pixels[..., 3] = 255
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=True), tmp_path / "opaque.png")
    assert read_scan(tmp_path / "opaque.png").voxels.shape == (1, 9, 7, 1)
    pixels[0, 0, 3] = 7
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=True), tmp_path / "clear.png")
    with pytest.raises(BadVoxels, match="transparent"):
        read_scan(tmp_path / "clear.png")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_numbers_of_a_palette_are_labels_and_its_colours_the_image(tmp_path, bits):
    numbers = np.random.default_rng(0).integers(0, 2, (7, 9)).astype(np.uint8)
    picture = Image.fromarray(numbers)  # grey until it is given a palette
    picture.putpalette([0, 0, 0, 200, 10, 10])
    picture.save(tmp_path / "labels.png", bits=bits)
    labels, _ = read_labels(tmp_path / "labels.png")
    assert labels.names.values == (0, 1)
    np.testing.assert_array_equal(labels.labels[:, :, 0], numbers.T)
    image = read_scan(tmp_path / "labels.png", colour=True)
    np.testing.assert_array_equal(image.voxels[0, :, :, 0], 200 * numbers.T)


def test_rgb_nifti(tmp_path):
    voxels = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for colour in "RGB":
        voxels[colour] = image_array(dtype=np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, OBLIQUE), tmp_path / "rgb.nii")
    np.testing.assert_array_equal(read_scan(tmp_path / "rgb.nii").voxels[0], image_array())


# ---- label values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ((0, 63, 126, 189, 252), np.uint8),
        ((0, 200, 500, 600), np.int16),
        ((0, 255), np.uint8),
        ((0, -1, -7, 3), np.int16),
        ((0, 40_000, 1_000_000), np.int32),
        ((-1024, 5), np.int16),
    ],
    ids=str,
)
def test_any_integers_come_back(tmp_path, values, stored, suffix):
    written = segmentation(values)
    write_segmentation(written, tmp_path / f"labels{suffix}")
    back, _ = read_labels(tmp_path / f"labels{suffix}", background=values[0])
    assert back.names.values == (values[0], *sorted(values[1:]))
    np.testing.assert_array_equal(back.names.decode(back.labels.numpy()), written.names.decode(written.labels.numpy()))
    if suffix == ".nii":
        assert nibabel.load(tmp_path / "labels.nii").get_data_dtype() == stored


def test_values_beyond_32_bits(tmp_path):
    write_segmentation(segmentation((0, 2**40)), tmp_path / "labels.nii.gz")
    back, _ = read_labels(tmp_path / "labels.nii.gz")
    assert back.names.values == (0, 2**40)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int64])
def test_whole_numbers_of_any_type_are_labels(tmp_path, dtype):
    array = np.where(image_array() > 50, 600, 0).astype(dtype)
    labels, _ = read_labels(save_nifti(tmp_path / "labels.nii.gz", array))
    assert labels.names.values == (0, 600)


def test_fractions_are_no_labels(tmp_path):
    array = image_array().astype(np.float32)
    array[0, 0, :2] = 0.25, np.nan
    with pytest.raises(BadVoxels, match=r"labels\.nii: expected integer label values, got 0\.25 and 1 others"):
        read_labels(save_nifti(tmp_path / "labels.nii", array))


def test_names_say_what_values_mean(tmp_path):
    path = save_nifti(tmp_path / "labels.nii", np.where(image_array() > 50, 500, 200).astype(np.int16))
    names = Names.of({0: "background", 200: "ventricle", 500: "muscle", 600: "atrium"})
    labels, _ = read_labels(path, names)
    assert labels.names is names
    assert set(labels.labels.unique().tolist()) == {1, 2}
    with pytest.raises(UnknownLabel, match=r"labels\.nii: label value 500 has no name"):
        read_labels(path, Names.of({200: "ventricle"}))


def test_an_ignored_value_is_unknown_and_no_structure(tmp_path):
    array = np.zeros(SHAPE, np.uint8)
    array[0], array[1] = 1, 255
    path = save_nifti(tmp_path / "labels.nii", array)
    labels, known = read_labels(path, ignore_value=255)
    assert labels.names.values == (0, 1)
    np.testing.assert_array_equal(known, array != 255)
    assert (labels.labels[1] == 0).all()
    with pytest.raises(UnknownLabel, match="cannot be both ignored and a structure"):
        read_labels(path, Names.of({1: "liver", 255: "spleen"}), ignore_value=255)


@pytest.mark.parametrize(("annotated_slice", "where"), [(2, (2, 2)), ((2, 2), (2, 2)), ((0, 3), (0, 3))])
def test_one_annotated_slice_is_known_and_nothing_else(tmp_path, annotated_slice, where):
    save_nifti(tmp_path / "image.nii", image_array())
    array = np.ones(SHAPE, np.uint8)
    array[..., 0] = 7
    save_nifti(tmp_path / "labels.nii", array)
    labelled = read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii", annotated_slice=annotated_slice)
    expected = torch.zeros(SHAPE, dtype=torch.bool)
    expected.select(*where).fill_(True)
    assert torch.equal(labelled.known, expected)
    both = read_labelled(
        tmp_path / "image.nii", tmp_path / "labels.nii", annotated_slice=annotated_slice, ignore_value=7
    )
    assert torch.equal(both.known, expected & torch.from_numpy(array != 7))


def test_empty_slices_are_known_unless_said_otherwise(tmp_path):
    save_nifti(tmp_path / "image.nii", image_array())
    array = np.zeros(SHAPE, np.uint8)
    array[:, :, 2] = 1
    save_nifti(tmp_path / "labels.nii", array)
    assert read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii").known is None


@pytest.mark.parametrize("annotated_slice", [6, -1, (3, 0), (0, 4)])
def test_a_slice_that_does_not_exist_is_refused(tmp_path, annotated_slice):
    save_nifti(tmp_path / "image.nii", image_array())
    save_nifti(tmp_path / "labels.nii", np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match=r"labels\.nii: no slice .* in a label map of shape \(4, 5, 6\)"):
        read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii", annotated_slice=annotated_slice)


def test_annotated_structures_are_named(tmp_path):
    save_nifti(tmp_path / "image.nii", image_array())
    save_nifti(tmp_path / "labels.nii", np.zeros(SHAPE, np.uint8))
    names = Names.of({1: "liver", 2: "spleen"})
    labelled = read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii", names=names, annotated=["liver"])
    assert labelled.annotated == {"liver"}
    with pytest.raises(UnknownLabel, match="no structure named 'lever'"):
        read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii", names=names, annotated=["lever"])


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [(SHAPE, SHIFTED, r"3\.46 mm apart"), ((4, 5, 7), OBLIQUE, "shapes differ")],
)
def test_labels_of_another_grid_are_refused(tmp_path, shape, affine, message):
    save_nifti(tmp_path / "image.nii", image_array())
    save_nifti(tmp_path / "labels.nii", np.zeros(shape, np.uint8), affine)
    with pytest.raises(GridMismatch, match=message):
        read_labelled(tmp_path / "image.nii", tmp_path / "labels.nii")


def test_label_maps_with_channels_are_refused(tmp_path):
    path = save_nifti(tmp_path / "labels.nii", np.zeros((*SHAPE, 2), np.uint8))
    with pytest.raises(BadVoxels, match="expected a label map with three axes"):
        read_labels(path)


# ---- bad input -------------------------------------------------------------------------------------------------------


def refused(path, error=UnreadableFile):
    with pytest.raises(error) as caught:
        read_scan(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_a_missing_file_has_suggestions(tmp_path):
    save_nifti(tmp_path / "case_01.nii.gz", image_array())
    assert "Did you mean case_01.nii.gz?" in refused(tmp_path / "case_1.nii.gz")
    assert "no such file" in refused(tmp_path / "zzz.png")
    assert "folder" in refused(tmp_path / "nowhere" / "case.nii.gz")


@pytest.mark.parametrize("suffix", [*VOLUMES, ".mgz", ".png", ".tif"])
@pytest.mark.parametrize(("content", "message"), [(b"", "empty"), (b"hello, I am no image\n", "not a|cannot be read")])
def test_empty_files_and_text_are_refused(tmp_path, suffix, content, message):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=message):
        read_scan(path)


@pytest.mark.parametrize("suffix", [*VOLUMES, ".mgz", ".png", ".tif"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, suffix, kept):
    path = tmp_path / f"image{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 16)).astype(np.uint8)
    if suffix == ".mgz":
        nibabel.save(nibabel.MGHImage(noise, OBLIQUE), path)
    elif suffix in (".png", ".tif"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise[0]), path)
    else:
        write_volume(torch.from_numpy(noise)[None].float(), OBLIQUE, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refused(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz"])
def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    if suffix.startswith(".nii"):
        image = nibabel.Nifti1Image(image_array(), OBLIQUE)
    else:
        image = nibabel.MGHImage(image_array(dtype=np.int32), OBLIQUE)
    stream = bytearray(image.to_bytes())
    if suffix.startswith(".nii"):
        stream[42:48] = np.array([30000] * 3, "<i2").tobytes()
    else:
        stream[4:16] = np.array([30000] * 3, ">i4").tobytes()
    path.write_bytes(gzip.compress(bytes(stream)) if suffix.endswith("z") else bytes(stream))
    message = refused(path)
    assert "claims" in message
    assert f"{27_000_000_000_000 * (2 if 'nii' in suffix else 4):,} bytes" in message


@pytest.mark.parametrize(
    ("suffix", "header"),
    [
        (".nrrd", "NRRD0004\ntype: short\ndimension: 3\nsizes: 30000 30000 30000\nencoding: raw\nendian: little\n\n"),
        (".mha", "ObjectType = Image\nNDims = 3\nDimSize = 30000 30000 30000\nElementType = MET_SHORT\n"
                 "ElementDataFile = LOCAL\n"),
    ],
)  # fmt: skip
def test_an_itk_header_that_lies_is_refused_before_memory_is_taken(tmp_path, suffix, header):
    (tmp_path / f"image{suffix}").write_bytes(header.encode() + b"12")
    assert "54,000,000,000,000 bytes" in refused(tmp_path / f"image{suffix}")


def test_highly_compressed_files_are_not_taken_for_lies(tmp_path):
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        empty = Segmentation(torch.zeros(128, 128, 64, dtype=torch.int16), Names.from_values([1]), OBLIQUE)
        write_segmentation(empty, tmp_path / f"empty{suffix}")
        read_labels(tmp_path / f"empty{suffix}")


def test_gzip_and_its_name_must_agree(tmp_path):
    save_nifti(tmp_path / "a.nii", image_array())
    (tmp_path / "a.nii").rename(tmp_path / "b.nii.gz")
    assert "rename it to b.nii" in refused(tmp_path / "b.nii.gz")
    save_nifti(tmp_path / "c.nii.gz", image_array())
    (tmp_path / "c.nii.gz").rename(tmp_path / "d.nii")
    assert "rename it to d.nii.gz" in refused(tmp_path / "d.nii")


def test_damage_inside_is_noticed(tmp_path):
    path = save_nifti(tmp_path / "image.nii.gz", image_array((30, 30, 30)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_counted(tmp_path, bad):
    array = image_array(dtype=np.float32)
    array[1, 2, :3] = bad
    assert "got 3 NaN or infinite voxels of 120" in refused(save_nifti(tmp_path / "x.nii", array), BadVoxels)


def test_complex_numbers_are_refused(tmp_path):
    assert "complex" in refused(save_nifti(tmp_path / "x.nii", image_array(dtype=np.complex64)), BadVoxels)


def test_a_grid_without_volume_is_refused(tmp_path):
    path = with_forms(tmp_path / "flat.nii", sform=(np.diag([1.0, 0.0, 1.0, 1.0]), 1))
    assert "no size or place" in refused(path)


def test_negative_sizes_are_refused(tmp_path):
    stream = bytearray(nibabel.Nifti1Image(image_array(), OBLIQUE).to_bytes())
    stream[42:44] = np.array([-4], "<i2").tobytes()
    (tmp_path / "x.nii").write_bytes(stream)
    assert "positive sizes" in refused(tmp_path / "x.nii")


def test_other_kinds_of_files_are_refused_with_what_is_possible(tmp_path):
    (tmp_path / "scan.jpg").write_bytes(b"x")
    assert ".nii.gz" in refused(tmp_path / "scan.jpg")


# ---- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", "", ".mgz", ".tif", ".mhd"])
def test_formats_that_are_not_written_are_refused(tmp_path, suffix):
    with pytest.raises(OutputError, match=r"expected a file ending in \.nii\.gz"):
        write_segmentation(segmentation(), tmp_path / f"labels{suffix}")


@pytest.fixture
def full_disk():
    """The system refuses to make any file longer than 20 kB, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nibabel leaves its file to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("suffix", VOLUMES)
def test_a_full_disk_leaves_nothing_behind(tmp_path, suffix):
    with pytest.raises(OutputError, match=f"result{suffix}: cannot be written"):
        write_volume(torch.rand(1, 40, 40, 40), np.eye(4), tmp_path / f"result{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_made_and_no_other_file_is_left(tmp_path):
    write_segmentation(segmentation(), tmp_path / "results" / "case.nii.gz")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["case.nii.gz"]


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "key", "name"),
    [
        ("images/case.1.nii.gz", "nifti", "case.1"),
        ("CASE.NII", "nifti", "CASE"),
        ("a.mgz", "mgz", "a"),
        ("a.nhdr", "nrrd", "a"),
        ("a.mhd", "metaimage", "a"),
        ("benign (1).png", "png", "benign (1)"),
        ("a.tiff", "tiff", "a"),
    ],
)
def test_formats_and_names(path, key, name):
    assert scan_format(path) == key
    assert scan_name(Path(path)) == name
    assert key in FORMATS
