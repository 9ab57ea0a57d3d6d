import struct

import numpy as np
import pytest
import SimpleITK
from PIL import Image

from imaging.stored_images import image_array
from imaging.tiff_files import Page, tiff
from lowshot.errors import UnreadableFile
from lowshot.imaging.files import read_scan
from lowshot.imaging.tiff_header import read_header

ORDERS = pytest.mark.parametrize("order", ["<", ">"])
SIZES = pytest.mark.parametrize("big", [False, True])


def written(path, content):
    path.write_bytes(content)
    return path


@ORDERS
@SIZES
def test_a_sound_file_is_read(tmp_path, order, big):
    path = written(tmp_path / "x.tif", tiff([Page(), Page()], order, big))
    assert read_header(path).voxel_bytes == 2 * 12
    np.testing.assert_array_equal(read_scan(path).voxels[0, :, :, 1], np.arange(12).reshape(3, 4).T)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(7, 9), (3, 7, 9)])
def test_what_simpleitk_writes_claims_as_many_bytes_as_it_has(tmp_path, dtype, shape):
    array = image_array(shape, dtype)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), tmp_path / "x.tif")
    assert read_header(tmp_path / "x.tif").voxel_bytes == array.nbytes


def test_colours_count_three_times_and_bits_an_eighth(tmp_path):
    Image.fromarray(image_array((16, 24, 3), np.uint8)).save(tmp_path / "colour.tif")
    assert read_header(tmp_path / "colour.tif").voxel_bytes == 16 * 24 * 3
    Image.fromarray(image_array((16, 24), np.uint8) > 99).save(tmp_path / "bits.tif")
    assert read_header(tmp_path / "bits.tif").voxel_bytes == 16 * 24 / 8


@ORDERS
@SIZES
@pytest.mark.parametrize("pages", [1, 3])
def test_a_list_of_pages_without_an_end_is_refused(tmp_path, order, big, pages):
    path = written(tmp_path / "x.tif", tiff([Page()] * pages, order, big, back=True))
    with pytest.raises(UnreadableFile, match=rf"x\.tif: its list of pages never ends, since page {pages} leads back"):
        read_header(path)


def test_pages_inside_of_each_other_are_refused(tmp_path):
    """Each place is new, so that only what the pages take together shows it."""
    pages = b"".join(struct.pack("<I", 8 + 4 * k) for k in range(1, 200))
    path = written(tmp_path / "x.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", 100) * (1 + 6 * 100) + pages)
    with pytest.raises(UnreadableFile, match="each in its own part of the file, got 2 of together 2,400 bytes"):
        read_header(path)


def test_more_pages_than_itk_counts_are_refused(tmp_path):
    empty = b"".join(struct.pack("<HI", 0, 8 + 6 * (k + 1)) for k in range(65_536))
    path = written(tmp_path / "x.tif", b"II*\0\x08\0\0\0" + empty)
    with pytest.raises(UnreadableFile, match=r"expected at most 65,535 pages, .* got 65,536 of"):
        read_header(path)


@ORDERS
@SIZES
@pytest.mark.parametrize(
    "page",
    [
        Page(height=2**31 - 1),
        Page(width=2**31 - 1),
        Page(width=0, height=2**31 - 1),
        Page(more={277: 60_000}),
        Page(more={322: 60_000, 323: 60_000}),
    ],
    ids=["high", "wide", "high and without width", "many samples", "large tiles"],
)
def test_more_than_the_file_can_hold_is_refused_before_libtiff_makes_room(tmp_path, monkeypatch, order, big, page):
    path = written(tmp_path / "x.tif", tiff([page], order, big))
    monkeypatch.setattr(SimpleITK.ImageFileReader, "ReadImageInformation", lambda _: pytest.fail("libtiff was asked"))
    with pytest.raises(UnreadableFile, match=r"x\.tif: its header claims [\d,]+ bytes of voxels, the file has"):
        read_scan(path)


def test_every_page_counts_as_much_as_the_largest(tmp_path):
    """ITK makes room for as many as there are, all of the first one's size."""
    path = written(tmp_path / "x.tif", tiff([Page(width=400), *[Page()] * 99]))
    assert read_header(path).voxel_bytes == 100 * 400 * 3


@pytest.mark.parametrize("content", [b"", b"II", b"II*\0\xff\0\0\0", b"PK\3\4" + bytes(99), tiff([Page()])[:-30]])
def test_other_files_and_parts_of_one_are_refused(tmp_path, content):
    path = written(tmp_path / "x.tif", content)
    with pytest.raises(UnreadableFile, match=r"x\.tif: "):
        read_scan(path)


def test_a_page_outside_of_the_file_is_missing(tmp_path):
    path = written(tmp_path / "x.tif", tiff([Page()], then=99_999))
    with pytest.raises(UnreadableFile, match=r"x\.tif: cannot be read as TIFF"):
        read_scan(path)


@pytest.mark.parametrize(
    ("bits", "more", "message"),
    [
        (64, {339: 3}, "expected integers of at most 32 bits, or floats of 32, got floats of 64; save it as"),
        (64, {}, "got integers of 64; save it as 8 or 16 bit, as 32-bit float, or as NIfTI"),
        (16, {339: 3}, "got floats of 16"),
        (16, {277: 3, 284: 2}, "expected the numbers of a pixel side by side, got 3 planes of 16 bits; save slices as"),
    ],
)
def test_numbers_that_would_be_misread_are_refused(tmp_path, bits, more, message):
    path = written(tmp_path / "x.tif", tiff([Page(bits=bits, more=more)]))
    with pytest.raises(UnreadableFile, match=rf"x\.tif: .*{message}"):
        read_scan(path)


@ORDERS
@pytest.mark.parametrize("kind", [1, 2])
def test_integers_of_32_bits_are_read(tmp_path, order, kind):
    path = written(tmp_path / "x.tif", tiff([Page(width=1, height=3, bits=32, more={339: kind})], order))
    numbers = np.frombuffer(bytes(range(12)), order + ("u4" if kind == 1 else "i4"))
    np.testing.assert_array_equal(read_scan(path).voxels[0, 0, :, 0], numbers.astype(np.float32))
