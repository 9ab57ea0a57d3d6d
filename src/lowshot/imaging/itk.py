"""NRRD, MetaImage, PNG and TIFF by SimpleITK, which keeps sheared grids in NRRD and MetaImage (measured).

ITK counts millimetres towards left, posterior, superior; everything else in this package towards right, anterior,
superior.
"""

import struct
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
from lowshot.imaging.tiff_header import voxel_bytes

_PICTURES = ("PNG", "TIFF")

_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Numbers of a pixel, by the kind of its colour."""

_MOST_WIDENED = 32
"""Bytes in memory for one of a picture's: ITK makes a colour of four bytes from a single bit."""


def read_volume(path: Path) -> Stored:
    """An NRRD or MetaImage file; several numbers per voxel, or a fourth axis, come last."""
    image, array = _read(
        path, "NRRD" if "nrrd" in path.suffix.lower() or path.suffix.lower() == ".nhdr" else "MetaImage"
    )
    affine = _affine(image)
    require_geometry(path, affine)
    return Stored(array, affine, _own_keys(image))


def read_picture(path: Path) -> Stored:
    """A PNG or TIFF file, several pages as slices. Dots per inch say nothing about the body: no spacing is known."""
    what = "PNG" if path.suffix.lower() == ".png" else "TIFF"
    image, array = _read(path, what)
    return Stored(
        array,
        LPS_TO_RAS.copy(),
        colour=image.GetNumberOfComponentsPerPixel() > 1,
        spacing_known=False,
        palette_indices=_palette_indices(path) if what == "PNG" else None,
    )


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


def _read(path: Path, what: str) -> tuple[Any, npt.NDArray[Any]]:
    """The SimpleITK image and its voxels as (i, j, k) or (i, j, k, c)."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO({"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}.get(what, f"{what}ImageIO"))
    reader.SetFileName(str(path))
    with no_output(), reading(path, what):
        stored = VoxelFiles(packed=True) if what in _PICTURES else voxel_files(path, what)
        if what in _PICTURES:  # before libtiff takes memory to tell anything about them
            require_size(path, _picture_bytes(path, what), stored.packed)
        reader.ReadImageInformation()
        claimed = _claimed_bytes(reader) // (_MOST_WIDENED if what in _PICTURES else 1)
        require_size(path, claimed, stored.packed, stored.beside)
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


def _palette_indices(path: Path) -> npt.NDArray[Any] | None:
    """(i, j, 1) of a PNG with a palette, whose numbers SimpleITK replaces by colours; None if it has no palette."""
    from PIL import Image

    with reading(path, "PNG"), Image.open(path) as picture:
        return np.asarray(picture).T[:, :, None] if picture.mode == "P" else None


def _picture_bytes(path: Path, what: str) -> int:
    """Bytes of the voxels that a picture claims, as its file would hold them without compression."""
    if what == "TIFF":
        return voxel_bytes(path)
    with path.open("rb") as file:
        start = file.read(26)
    if not start.startswith(b"\x89PNG"):
        return 0  # what it is instead, ITK says
    width, height, bits, colour = struct.unpack(">16xIIBB", start)
    return int(width * height * bits * _PNG_SAMPLES.get(colour, 4) // 8)


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
