"""How the pixels of DICOM images are stored, and what they mean."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2KLossless, JPEGLosslessSV1, RLELossless, generate_uid

from imaging.dicom_series import raw_slice, write_series
from lowshot.errors import BadVoxels, UnreadableFile
from lowshot.imaging import dicom_pixels
from lowshot.imaging.files import read_scan
from lowshot.imaging.label_maps import read_labels


def test_truncated_pixels_are_refused(tmp_path):
    def cut(k, dataset):
        dataset.PixelData = dataset.PixelData[:-10]

    with pytest.raises(UnreadableFile, match="cannot be read as DICOM"):
        read_scan(write_series(tmp_path / "ct", change=cut))


def test_lossless_compression_that_pydicom_knows_is_read(tmp_path):
    def compress(k, dataset):
        dataset.compress(RLELossless)

    folder = write_series(tmp_path / "rle", change=compress)
    expected = read_scan(write_series(tmp_path / "plain"))
    np.testing.assert_array_equal(read_scan(folder).voxels, expected.voxels)


@pytest.mark.parametrize(("signed", "expected"), [(0, lambda x: 4095 - x), (1, lambda x: -1 - x)])
def test_white_as_the_lowest_number_is_turned_round(tmp_path, signed, expected):
    def invert(k, dataset):
        dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME1"
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, signed

    usual = read_scan(write_series(tmp_path / "usual")).voxels
    turned = read_scan(write_series(tmp_path / "turned", change=invert)).voxels
    np.testing.assert_array_equal(turned, 2 * expected((usual + 1000) / 2) - 1000)


def test_hounsfield_units_stay_what_they_are_however_they_are_shown(tmp_path):
    def invert(k, dataset):
        dataset.PhotometricInterpretation = "MONOCHROME1"

    usual = read_scan(write_series(tmp_path / "usual")).voxels
    np.testing.assert_array_equal(read_scan(write_series(tmp_path / "ct", change=invert)).voxels, usual)


def test_colour_is_refused(tmp_path):
    folder = tmp_path / "us"
    folder.mkdir()
    dataset = raw_slice(0, np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8))
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = dataset.PixelData + b"\0"
    dataset.save_as(folder / "x.dcm", enforce_file_format=True)
    with pytest.raises(BadVoxels, match="got colour"):
        read_scan(folder)
    assert read_scan(folder, colour=True).voxels.shape == (3, 7, 5, 1)


@pytest.fixture
def encode(tmp_path):
    """Encodes an image as archives do, which pydicom has no decoder for."""

    def change(k, dataset):
        image = SimpleITK.GetImageFromArray(dataset.pixel_array[None])
        SimpleITK.WriteImage(image, tmp_path / "encoded.dcm", useCompression=True, compressor="JPEG")
        encoded = pydicom.dcmread(tmp_path / "encoded.dcm")
        assert encoded.file_meta.TransferSyntaxUID == JPEGLosslessSV1
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        dataset["PixelData"] = encoded["PixelData"]

    return change


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("signed", [0, 1])
def test_jpeg_lossless_gives_the_same_numbers_rescaled_once(tmp_path, encode, photometric, signed):
    def plain(k, dataset):
        dataset.Modality, dataset.PhotometricInterpretation = "MR", photometric
        dataset.PixelRepresentation = signed

    def encoded(k, dataset):
        plain(k, dataset)
        encode(k, dataset)

    usual = read_scan(write_series(tmp_path / "usual", change=plain))
    np.testing.assert_array_equal(read_scan(write_series(tmp_path / "jpeg", change=encoded)).voxels, usual.voxels)


def test_jpeg_of_twelve_bits_is_read():
    """A real file, which Pillow cannot decode."""
    pixels = dicom_pixels.read(Path(get_testdata_file("JPEG-lossy.dcm"))).values
    assert pixels.shape == (256, 1024)
    assert (pixels.min(), pixels.max()) == (0, 264)


def test_colours_in_jpeg_lossless_are_read():
    pixels = dicom_pixels.read(Path(get_testdata_file("SC_rgb_jpeg_gdcm.dcm"))).values
    np.testing.assert_array_equal(pixels[50, [5, 25, 95]], [[255, 0, 0], [0, 255, 0], [255, 255, 255]])


@pytest.mark.parametrize("damage", ["cut", "another size", "unknown"])
def test_what_cannot_be_decoded_is_named(tmp_path, encode, damage):
    def spoil(k, dataset):
        encode(k, dataset)
        if damage == "cut":
            dataset.PixelData = encapsulate([dataset.PixelData[16:-20]])
        elif damage == "another size":
            dataset.Rows += 1
        else:
            dataset.file_meta.TransferSyntaxUID = HTJ2KLossless

    folder = write_series(tmp_path / "ct", positions=[(0, 0, 0)], change=spoil)
    message = {
        "cut": r"0-1\.dcm: its pixels are encoded as JPEG Lossless.* or are damaged; decode it first",
        "another size": r"0-1\.dcm: expected 6 × 7 pixels, as its header says, got 5 × 7",
        "unknown": r"0-1\.dcm: its pixels are encoded as High-Throughput .* dcmdjpeg or gdcmconv --raw",
    }
    with pytest.raises(UnreadableFile, match=message[damage]):
        read_scan(folder)


@pytest.fixture
def with_palette(tmp_path):
    """Writes an image whose pixels are numbers of these colours."""

    def write(numbers, colours):
        dataset = raw_slice(0, numbers)
        dataset.SeriesInstanceUID, dataset.Modality = generate_uid(), "US"
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
        for name, entries in zip(("Red", "Green", "Blue"), np.transpose(colours), strict=True):
            setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [len(entries), 0, 8])
            setattr(dataset, f"{name}PaletteColorLookupTableData", bytes(entries.tolist()))
        (tmp_path / "us").mkdir()
        dataset.save_as(tmp_path / "us" / "1.dcm", enforce_file_format=True)
        return tmp_path / "us"

    return write


def test_the_colours_of_a_palette_are_the_image_and_their_numbers_labels(with_palette):
    numbers = np.random.default_rng(0).integers(0, 4, (6, 7)).astype(np.uint8)
    colours = np.array([[0, 0, 0], [50, 50, 50], [100, 100, 100], [250, 10, 10]])
    folder = with_palette(numbers, colours)
    with pytest.raises(BadVoxels, match="got colour"):
        read_scan(folder)
    scan = read_scan(folder, colour=True)
    np.testing.assert_array_equal(scan.voxels[:, :, :, 0], colours[numbers].transpose(2, 1, 0))
    labels, _ = read_labels(folder)
    np.testing.assert_array_equal(labels.labels[:, :, 0], numbers.T)


def test_a_grey_palette_gives_a_grey_image(with_palette):
    numbers = np.random.default_rng(0).integers(0, 4, (6, 7)).astype(np.uint8)
    greys = np.array([0, 50, 100, 254])
    scan = read_scan(with_palette(numbers, np.stack([greys] * 3, axis=1)))
    np.testing.assert_array_equal(scan.voxels[0, :, :, 0], greys[numbers].T)
