"""The pixels of one DICOM image, decoded, in the colours and the units that its header means.

pydicom decodes what it has a decoder for. GDCM, which SimpleITK brings along, decodes the rest, such as JPEG Lossless.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lowshot.errors import UnreadableFile
from lowshot.imaging.dicom_file import read_dataset
from lowshot.imaging.quiet import no_output
from lowshot.imaging.stored import reading, require_size

if TYPE_CHECKING:
    from pydicom import Dataset

_MEASURED = ("CT", "PT")
"""Modalities whose rescaled numbers are a measurement (HU, Bq/ml), however bright they are to be shown."""

_ABOUT_PIXELS = (
    *("Rows", "Columns", "SamplesPerPixel", "PlanarConfiguration", "PixelData"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
"""Elements by which stored pixels are decoded."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Of one image, columns first."""

    values: npt.NDArray[np.float32]
    """(i, j), or (i, j, colour)."""
    palette_indices: npt.NDArray[Any] | None = None
    """(i, j) where the file numbers its colours."""


def read(file: Path) -> Pixels:
    """The pixels of a file with one image.

    Raises:
        UnreadableFile: truncated, damaged, or encoded in a way that nothing here can decode.
    """
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    with reading(file, "DICOM"):
        dataset = read_dataset(file)
        stored = _stored(file, dataset)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            return Pixels(_columns_first(apply_color_lut(stored, dataset)), stored.T)
        if dataset.PhotometricInterpretation == "MONOCHROME1" and dataset.get("Modality") not in _MEASURED:
            signed = dataset.PixelRepresentation == 1
            stored = (-1 if signed else 2**dataset.BitsStored - 1) - stored  # white is the lowest number: turn it round
        return Pixels(_columns_first(apply_modality_lut(stored, dataset)))


def _columns_first(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(pixels.swapaxes(0, 1), dtype=np.float32)


def _stored(file: Path, dataset: "Dataset") -> npt.NDArray[Any]:
    """(row, column) or (row, column, colour), as stored."""
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == RLELossless or not syntax.is_encapsulated:  # the others say their size once more inside
        claimed = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated // 8
        require_size(file, claimed, compressed=True)
    return dataset.pixel_array if _is_decoded_by_pydicom(dataset) else _decoded_by_gdcm(file, dataset)


def _is_decoded_by_pydicom(dataset: "Dataset") -> bool:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import JPEGExtended12Bit

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return True
    if syntax == JPEGExtended12Bit and dataset.BitsStored != 8:  # Pillow, which pydicom asks, has no more
        return False
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:  # it does not know of such an encoding
        return False


def _decoded_by_gdcm(file: Path, dataset: "Dataset") -> npt.NDArray[Any]:
    """From a copy with nothing but the pixels: GDCM would rescale, and turn what is white round, as is done here.

    What it decodes has the size that the encoded image says of itself, so that no header makes it take memory.
    """
    import SimpleITK

    with TemporaryDirectory(prefix="lowshot-") as folder, no_output():
        path = Path(folder) / "pixels.dcm"
        _pixels_alone(dataset).save_as(path, enforce_file_format=True)
        reader = SimpleITK.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        try:
            decoded = np.asarray(SimpleITK.GetArrayFromImage(reader.Execute())[0])
        except RuntimeError as error:
            raise UnreadableFile(
                f"{file}: its pixels are encoded as {dataset.file_meta.TransferSyntaxUID.name} and cannot be decoded "
                "here, or are damaged; decode it first, for example with dcmdjpeg or gdcmconv --raw"
            ) from error
    if decoded.shape[:2] != (dataset.Rows, dataset.Columns):
        raise UnreadableFile(
            f"{file}: expected {dataset.Rows} × {dataset.Columns} pixels, as its header says, got "
            f"{decoded.shape[0]} × {decoded.shape[1]}. It is damaged; copy or export it again"
        )
    return decoded


def _pixels_alone(dataset: "Dataset") -> "Dataset":
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

    alone = Dataset()
    for key in _ABOUT_PIXELS:
        if key in dataset:
            alone[key] = dataset[key]
    grey = dataset.SamplesPerPixel == 1
    alone.PhotometricInterpretation = "MONOCHROME2" if grey else dataset.PhotometricInterpretation
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    alone.file_meta.MediaStorageSOPClassUID = alone.SOPClassUID = SecondaryCaptureImageStorage
    alone.file_meta.MediaStorageSOPInstanceUID = alone.SOPInstanceUID = generate_uid()
    return alone
