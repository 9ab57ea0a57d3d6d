import gzip
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

from imaging.stored_images import (
    OBLIQUE,
    SHAPE,
    SHEARED,
    SHIFTED,
    VOLUMES,
    image_array,
    save_nifti,
    segmentation,
    with_forms,
)
from lowshot.errors import UnreadableFile
from lowshot.imaging.arranging import affine_in_viewers
from lowshot.imaging.files import read_scan, write_segmentation
from lowshot.imaging.grid import LPS_TO_RAS
from lowshot.imaging.label_maps import read_labelled


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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("unit", ["mm", "micron", "unknown"])
@pytest.mark.parametrize("codes", [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (4, 2)], ids=str)
@pytest.mark.parametrize(
    "sform", [SHIFTED, OBLIQUE @ np.diag([1.5, 1, 2, 1]), SHEARED], ids=["moved", "scaled", "sheared"]
)
def test_itk_sees_it_where_we_say(tmp_path, sform, codes, unit):
    path = with_forms(tmp_path / "image.nii", sform=(sform, codes[0]), qform=(OBLIQUE, codes[1]), unit=unit)
    scan = read_scan(path)
    if sform is SHEARED and codes[0] and not codes[1]:  # which it cannot read
        return
    image = SimpleITK.ReadImage(path)
    seen = affine_in_viewers(scan.affine, scan.source)
    for index in ((0, 0, 0), (3, 4, 5)):
        expected = LPS_TO_RAS[:3, :3] @ image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((seen @ [*index, 1])[:3], expected, atol=1e-4)


@pytest.mark.parametrize(("field", "value"), [("quatern_b", 7), ("quatern_b", np.nan), ("qoffset_x", np.inf)])
def test_a_damaged_qform_beside_an_sform_is_not_followed(tmp_path, field, value):
    path = with_forms(tmp_path / "image.nii", sform=(SHIFTED, 2), qform=(OBLIQUE, 1))
    whole = path.read_bytes()
    header = nibabel.Nifti1Header(whole[:348])
    header[field] = value
    path.write_bytes(header.binaryblock + whole[348:])
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.voxels[0], image_array())
    assert scan.source.places == ()


@pytest.mark.parametrize("codes", [(0, 0), (2, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("suffix", VOLUMES)
def test_viewers_show_a_result_on_its_scan(tmp_path, suffix, codes):
    path = with_forms(tmp_path / "image.nii", sform=(SHIFTED, codes[0]), qform=(OBLIQUE, codes[1]))
    scan = read_scan(path)
    wanted = segmentation(affine=scan.affine)
    write_segmentation(wanted, tmp_path / f"labels{suffix}", scan.source)
    image, result = (SimpleITK.ReadImage(each) for each in (path, tmp_path / f"labels{suffix}"))
    for index in ((0, 0, 0), (3, 4, 5)):
        there, here = (each.TransformIndexToPhysicalPoint(index) for each in (image, result))
        np.testing.assert_allclose(here, there, atol=1e-4)
    found = read_labelled(path, tmp_path / f"labels{suffix}").truth
    assert torch.equal(found.labels, wanted.labels.short())
    np.testing.assert_array_equal(found.affine, scan.affine)


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


def test_a_2d_nifti_stays_2d(tmp_path):
    save_nifti(tmp_path / "slice.nii.gz", image_array((9, 7)))
    scan = read_scan(tmp_path / "slice.nii.gz")
    assert scan.voxels.shape == (1, 9, 7, 1)
    write_segmentation(segmentation(shape=(9, 7, 1), affine=scan.affine), tmp_path / "labels.nii.gz", scan.source)
    assert nibabel.load(tmp_path / "labels.nii.gz").shape == (9, 7)


def test_rgb_nifti(tmp_path):
    voxels = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for colour in "RGB":
        voxels[colour] = image_array(dtype=np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, OBLIQUE), tmp_path / "rgb.nii")
    np.testing.assert_array_equal(read_scan(tmp_path / "rgb.nii").voxels[0], image_array())


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_an_extension_that_is_not_there_takes_no_memory(tmp_path, name):
    image = nibabel.Nifti1Image(image_array(), OBLIQUE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"seen by nobody"))
    nibabel.save(image, tmp_path / name)
    assert read_scan(tmp_path / name).grid.shape == SHAPE
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "rb") as file:
        content = bytearray(file.read())
    content[108:112] = struct.pack("<f", 2e9)  # where the image begins
    content[352:356] = struct.pack("<i", 10**9)  # the size of the extension
    with opened(tmp_path / name, "wb") as file:
        file.write(content)
    with pytest.raises(UnreadableFile, match=r"claims an extension of 1,000,000,000 bytes, which is not there"):
        read_scan(tmp_path / name)
