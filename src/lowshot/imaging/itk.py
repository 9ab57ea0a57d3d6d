"""NRRD, MetaImage, PNG and TIFF by SimpleITK, which keeps sheared grids in NRRD and MetaImage (measured).

Of pictures, Pillow reads what SimpleITK cannot: the numbers of a palette's colours, and grey with opacity.

ITK counts millimetres towards left, posterior, superior; everything else in this package towards right, anterior,
superior.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lowshot.errors import OutputError, UnreadableFile
from lowshot.imaging.grid import LPS_TO_RAS, Affine
from lowshot.imaging.itk_header import VoxelFiles, voxel_files
from lowshot.imaging.quiet import no_output
from lowshot.imaging.scan import Source
from lowshot.imaging.stored import Stored, reading, require_geometry, require_size
from lowshot.imaging.tiff_header import read_header

_PICTURES = ("PNG", "TIFF")

_PALETTE, _GREY_WITH_OPACITY = 3, 4
_PNG_SAMPLES = {0: 1, 2: 3, _PALETTE: 1, _GREY_WITH_OPACITY: 2, 6: 4}
"""Numbers of a pixel, by the kind of its colour."""

_MOST_WIDENED = 32
"""Bytes in memory for one of a picture's: ITK makes a colour of four bytes from a single bit."""


@dataclass(frozen=True)
class _Picture:
    """What a picture's header claims."""

    voxel_bytes: int
    """Of its voxels, as the file would hold them without compression."""
    palette: bool = False
    """Whether these are numbers of colours."""
    grey_with_opacity: bool = False


def read_volume(path: Path) -> Stored:
    """An NRRD or MetaImage file; several numbers per voxel, or a fourth axis, come last."""
    what = "NRRD" if "nrrd" in path.suffix.lower() or path.suffix.lower() == ".nhdr" else "MetaImage"
    with reading(path, what):
        files = voxel_files(path, what)
    image, array = _read(path, what, files)
    affine = _affine(image)
    require_geometry(path, affine)
    return Stored(array, affine, _own_keys(image), spacing_known=files.spacing_known)


def read_picture(path: Path) -> Stored:
    """A PNG or TIFF file, several pages as slices. Dots per inch say nothing about the body: no spacing is known."""
    what = "PNG" if path.suffix.lower() == ".png" else "TIFF"
    with reading(path, what):
        picture = _png(path) if what == "PNG" else _tiff(path)
        require_size(path, picture.voxel_bytes, compressed=True)  # before a library takes memory to tell anything
    if picture.grey_with_opacity:
        array, colour = _read_by_pillow(path, what), True
    else:
        image, array = _read(path, what, VoxelFiles(packed=True))
        colour = image.GetNumberOfComponentsPerPixel() > 1
    indices = _read_by_pillow(path, what) if picture.palette else None
    return Stored(array, LPS_TO_RAS.copy(), colour=colour, spacing_known=False, palette_indices=indices)


def write(array: npt.NDArray[Any], affine: Affine, path: Path, source: Source | None, labels: bool) -> None:
    """Write (i, j, k) or (i, j, k, c) as NRRD or MetaImage, with the source's own keys if it had any."""
    del labels  # neither format says what its numbers mean
    import SimpleITK

    image = SimpleITK.GetImageFromArray(array.swapaxes(0, 2), isVector=array.ndim == 4)
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    if source is not None and isinstance(source.header, dict):
        for key, value in source.header.items():
            image.SetMetaData(key, value)
    _write(image, path)


def refuse_picture(array: npt.NDArray[Any], path: Path, labels: bool) -> None:
    """Refuse what PNG cannot hold: all but one slice of whole numbers from 0 to 65,535."""
    if not labels or array.ndim != 3 or array.shape[2] != 1:
        raise OutputError(f"{path}: PNG holds one slice of labels, got {array.shape}; choose .nii.gz, .nrrd or .mha")
    if array.min() < 0 or array.max() > np.iinfo(np.uint16).max:
        raise OutputError(
            f"{path}: PNG holds values from 0 to 65,535, got {array.min()} to {array.max()}; choose .nii.gz"
        )


def write_picture(array: npt.NDArray[Any], affine: Affine, path: Path, source: Source | None, labels: bool) -> None:
    """Write one slice of labels as PNG, which holds nothing but its values."""
    del affine, source, labels
    import SimpleITK

    small = array.astype(np.uint8 if array.max() <= np.iinfo(np.uint8).max else np.uint16)
    _write(SimpleITK.GetImageFromArray(small[:, :, 0].T), path)


def _read(path: Path, what: str, files: VoxelFiles) -> tuple[Any, npt.NDArray[Any]]:
    """The SimpleITK image and its voxels as (i, j, k) or (i, j, k, c)."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO({"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}.get(what, f"{what}ImageIO"))
    reader.SetFileName(str(path))
    with no_output(), reading(path, what):
        reader.ReadImageInformation()
        claimed = _claimed_bytes(reader) // (_MOST_WIDENED if what in _PICTURES else 1)
        require_size(path, claimed, files.packed, files.beside)
        image = reader.Execute()
    array = SimpleITK.GetArrayViewFromImage(image)
    components = image.GetNumberOfComponentsPerPixel() > 1
    if array.ndim - components not in (2, 3, 4) or (array.ndim - components == 4 and components):
        raise UnreadableFile(f"{path}: expected two or three axes, or four with channels, got {array.shape[::-1]}")
    # ITK's axes run k, j, i (and a fourth axis before, the numbers of a voxel behind them).
    spatial = array.ndim - components
    axes = [*range(spatial - 1, -1, -1), *([spatial] if components else [])]
    array = array.transpose(axes).copy()
    return image, array[:, :, None] if spatial == 2 else array


def _own_keys(image: Any) -> dict[str, str]:
    """What somebody wrote into the header, to be written again; without what is no text, which SimpleITK chokes on."""
    keys = [key for key in image.GetMetaDataKeys() if key.isprintable() and not key.startswith(("ITK_", "NRRD_"))]
    header = {key: image.GetMetaData(key) for key in keys}
    return {key: value for key, value in header.items() if value.isprintable()}


def _read_by_pillow(path: Path, what: str) -> npt.NDArray[Any]:
    """(i, j, k) or (i, j, k, c): the numbers of a palette's colours, grey and opacity."""
    from PIL import Image, ImageSequence

    content = BytesIO(path.read_bytes())  # of a file Pillow asks for as many bytes as a damaged part claims to have
    with no_output(), reading(path, what), Image.open(content, formats=[what]) as picture:
        pages = [np.asarray(page) for page in ImageSequence.Iterator(picture)] if what == "TIFF" else [picture]
        return np.stack([np.asarray(page).swapaxes(0, 1) for page in pages], axis=2)


def _png(path: Path) -> _Picture:
    with path.open("rb") as file:
        start = file.read(26)
    if not start.startswith(b"\x89PNG"):
        return _Picture(0)  # what it is instead, ITK says
    width, height, bits, colour = struct.unpack(">16xIIBB", start)
    if colour == _GREY_WITH_OPACITY and bits > 8:  # Pillow would cut it down to 8
        raise UnreadableFile(f"{path}: is grey of {bits} bits with opacity; save it without an alpha channel")
    return _Picture(
        int(width * height * bits * _PNG_SAMPLES.get(colour, 4) // 8),
        palette=colour == _PALETTE,
        grey_with_opacity=colour == _GREY_WITH_OPACITY,
    )


def _tiff(path: Path) -> _Picture:
    header = read_header(path)
    return _Picture(header.voxel_bytes, palette=header.palette)


def _claimed_bytes(reader: Any) -> int:
    import SimpleITK

    # One component, whatever the header claims: this comes before anybody has refused it.
    size = SimpleITK.Image([1, 1], reader.GetPixelID(), 1).GetSizeOfPixelComponent() * reader.GetNumberOfComponents()
    for length in reader.GetSize():
        size *= length
    return int(size)


def _affine(image: Any) -> Affine:
    """RAS+ affine of a SimpleITK image with two, three or four axes."""
    axes = image.GetDimension()
    spatial = min(axes, 3)
    directions = np.array(image.GetDirection()).reshape(axes, axes)[:spatial, :spatial]
    lps = np.eye(4)
    lps[:spatial, :spatial] = directions * np.array(image.GetSpacing()[:spatial])
    lps[:spatial, 3] = image.GetOrigin()[:spatial]
    return np.asarray(LPS_TO_RAS @ lps, dtype=np.float64)


def _write(image: Any, path: Path) -> None:
    import SimpleITK

    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:  # ITK reports a full disk like any other failure
        raise OSError(str(error).strip().splitlines()[-1]) from error
