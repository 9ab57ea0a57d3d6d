import struct

import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image

from imaging.mutants import with_checksums
from imaging.stored_images import OBLIQUE, SHAPE, image_array, save_nifti, segmentation
from lowshot.errors import BadVoxels, GridMismatch, OutputError, UnreadableFile
from lowshot.imaging.files import read_scan, write_segmentation
from lowshot.imaging.label_maps import read_labelled, read_labels


def test_nrrd_keys_are_kept(tmp_path):
    image = SimpleITK.GetImageFromArray(image_array(SHAPE[::-1]))
    image.SetMetaData("DWMRI_b-value", "1000")
    SimpleITK.WriteImage(image, tmp_path / "image.nrrd")
    scan = read_scan(tmp_path / "image.nrrd")
    write_segmentation(segmentation(affine=scan.affine), tmp_path / "labels.nrrd", scan.source)
    assert SimpleITK.ReadImage(tmp_path / "labels.nrrd").GetMetaData("DWMRI_b-value") == "1000"


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


NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 1 1 1\nencoding: raw\n{}\n1"
META = "ObjectType = Image\nNDims = 3\nDimSize = 1 1 1\n{}ElementType = MET_UCHAR\nElementDataFile = LOCAL\n1"


@pytest.mark.parametrize(
    ("name", "header", "field", "known"),
    [
        ("x.nrrd", NRRD, "", False),
        ("x.nrrd", NRRD, "space: left-posterior-superior\nspace origin: (1,2,3)\n", False),
        ("x.nrrd", NRRD, "spacings: nan nan nan\n", False),
        ("x.nrrd", NRRD, "spacings: 1 1 1\n", True),
        ("x.nrrd", NRRD, "space dimension: 3\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n", True),
        ("x.mha", META, "", False),
        ("x.mha", META, "ElementSpacing = 1 1 1\n", True),
        ("x.mha", META, "ElementSize = 1 1 1\n", True),
    ],
)
def test_millimetres_are_known_where_the_header_has_them(tmp_path, name, header, field, known):
    (tmp_path / name).write_text(header.format(field))
    assert read_scan(tmp_path / name).spacing_known == known


def test_tiff_pages_are_slices(tmp_path):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image_array((3, 5, 4), np.uint8)), tmp_path / "stack.tif")
    scan = read_scan(tmp_path / "stack.tif")
    assert scan.voxels.shape == (1, 4, 5, 3)
    assert not scan.spacing_known


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


def test_grey_with_opacity_is_grey(tmp_path):
    grey = image_array((7, 9), np.uint8)
    Image.fromarray(grey).convert("LA").save(tmp_path / "opaque.png")
    for colour in (False, True):
        scan = read_scan(tmp_path / "opaque.png", colour=colour)
        assert scan.channels == ("image",)
        np.testing.assert_array_equal(scan.voxels[0, :, :, 0], grey.T)
    np.testing.assert_array_equal(read_labels(tmp_path / "opaque.png")[0].labels.shape, (9, 7, 1))
    Image.fromarray(np.stack([grey, grey], axis=-1), "LA").save(tmp_path / "clear.png")
    with pytest.raises(BadVoxels, match=r"clear\.png: some of its pixels are transparent"):
        read_scan(tmp_path / "clear.png")


def test_grey_of_sixteen_bits_with_opacity_is_refused(tmp_path):
    Image.fromarray(np.zeros((7, 9), np.uint8)).convert("LA").save(tmp_path / "x.png")
    content = bytearray((tmp_path / "x.png").read_bytes())
    content[24] = 16
    (tmp_path / "x.png").write_bytes(with_checksums(bytes(content)))
    with pytest.raises(UnreadableFile, match=r"x\.png: is grey of 16 bits with opacity; save it without an alpha"):
        read_scan(tmp_path / "x.png")


@pytest.mark.parametrize(("suffix", "bits"), [(".png", 1), (".png", 2), (".png", 4), (".png", 8), (".tif", 8)])
@pytest.mark.parametrize("other", [(200, 10, 10), (200, 200, 200)], ids=["colours", "greys"])
def test_the_numbers_of_a_palette_are_labels_and_its_colours_the_image(tmp_path, suffix, bits, other):
    numbers = np.random.default_rng(0).integers(0, 2, (7, 9)).astype(np.uint8)
    picture = Image.fromarray(numbers)  # grey until it is given a palette
    picture.putpalette([0, 0, 0, *other])
    picture.save(tmp_path / f"labels{suffix}", bits=bits)
    labels, _ = read_labels(tmp_path / f"labels{suffix}")
    assert labels.names.values == (0, 1)
    np.testing.assert_array_equal(labels.labels[:, :, 0], numbers.T)
    image = read_scan(tmp_path / f"labels{suffix}", colour=True)
    steps = 256 if suffix == ".tif" else 1  # there, the colours of a palette have 16 bits
    np.testing.assert_array_equal(image.voxels[0, :, :, 0] / steps, 200 * numbers.T)


def test_pages_with_a_palette_are_slices_of_labels(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 3, (4, 7, 9)).astype(np.uint8)
    pages = [Image.fromarray(page) for page in numbers]
    for page in pages:
        page.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    pages[0].save(tmp_path / "labels.tif", save_all=True, append_images=pages[1:], compression="packbits")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.tif")[0].labels, numbers.transpose(2, 1, 0))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colours_without_numbers_are_no_labels(tmp_path, suffix):
    colours = np.zeros((7, 9, 3), np.uint8)
    colours[2, 3] = (255, 0, 0)
    Image.fromarray(colours).save(tmp_path / f"labels{suffix}")
    with pytest.raises(
        BadVoxels, match=r"got colour in 1\.59% .*; its labels are colours; save them as one number per"
    ):
        read_labels(tmp_path / f"labels{suffix}")


def disc():
    return np.hypot(*np.mgrid[-1:1:1000j, -1:1:1000j]) < 0.4


@pytest.mark.parametrize("compression", ["raw", "group4", "tiff_deflate", "packbits"])
def test_a_black_and_white_tiff_is_not_taken_for_a_lie(tmp_path, compression):
    """ITK makes four bytes of each bit, which is more than compression alone explains."""
    mask = disc()
    Image.fromarray(mask).save(tmp_path / "mask.tif", compression=compression)
    labels, _ = read_labels(tmp_path / "mask.tif")
    np.testing.assert_array_equal(labels.labels[:, :, 0] > 0, mask.T)


@pytest.mark.parametrize("bits", [1, 8])
def test_a_png_of_two_colours_is_not_taken_for_a_lie(tmp_path, bits):
    picture = Image.fromarray(disc().astype(np.uint8))
    picture.putpalette([0, 0, 0, 200, 10, 10])
    picture.save(tmp_path / "mask.png", bits=bits)
    labels, _ = read_labels(tmp_path / "mask.png")
    np.testing.assert_array_equal(labels.labels[:, :, 0], disc().T)


def test_a_png_that_claims_more_than_it_can_hold_is_refused(tmp_path):
    Image.fromarray(np.zeros((7, 9), np.uint8)).save(tmp_path / "x.png")
    content = bytearray((tmp_path / "x.png").read_bytes())
    content[16:24] = struct.pack(">II", 30_000, 30_000)
    (tmp_path / "x.png").write_bytes(with_checksums(bytes(content)))
    with pytest.raises(UnreadableFile, match=r"x\.png: its header claims 900,000,000 bytes of voxels"):
        read_scan(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes(b"\xff\xd8 no PNG at all, for twenty-six bytes and more")
    with pytest.raises(UnreadableFile, match=r"x\.png: cannot be read as PNG"):
        read_scan(tmp_path / "x.png")
