"""NIfTI (both ways) and MGZ (in) by nibabel.

SimpleITK is not used here: it makes sheared affines orthogonal, and keeps neither of the two forms' codes (measured).
"""

import gzip
import math
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lowshot.errors import UnreadableFile
from lowshot.imaging.grid import LPS_TO_RAS, Affine, Grid
from lowshot.imaging.scan import Source
from lowshot.imaging.stored import Stored, is_possible, reading, require_geometry, require_size

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

_GZIP = b"\x1f\x8b"
_LABEL_INTENT = "label"
_OFFSETS = {348: ("f", 108), 540: ("q", 168)}
"""Of NIfTI-1 and 2, by the size of the header: how and where it says where the image begins."""
_LEAST_EXTENSION = 16
_SCANNER = 1
_MM = {1: 1000.0, 3: 0.001}
"""Millimetres per unit of a header that counts in metres or micrometres; any other is taken to count in mm."""


def read(path: Path) -> Stored:
    """A NIfTI-1, NIfTI-2, MGH or MGZ file. Where sform and qform are both set, the sform is the affine.

    Headers in metres or micrometres are read as what they say.
    """
    import nibabel

    what = "MGZ" if path.suffix.lower() in (".mgz", ".mgh") else "NIfTI"
    with reading(path, what):
        compressed = _check_compression(path, what)
        if what == "NIfTI":
            _require_extensions(path, compressed)
        image: Any = nibabel.load(path)
        shape = tuple(int(size) for size in image.shape)
        stored_type = np.dtype(image.get_data_dtype())
        if not shape or min(shape) < 1:
            raise UnreadableFile(f"{path}: expected positive sizes in its header, got {shape}")
        require_size(path, math.prod(shape) * stored_type.itemsize, compressed)
        header = image.header.copy() if what == "NIfTI" else None
        affine = np.asarray(image.affine, dtype=np.float64) if header is None else _affine_mm(header)
        require_geometry(path, affine)
        array = _checked_voxels(path, type(image)) if compressed else np.asanyarray(image.dataobj)
    if stored_type.fields is not None:  # RGB24 and RGBA32 are records
        array = np.stack([array[field] for field in stored_type.fields], axis=-1)
    shaped = _four_axes(path, array, colour=stored_type.fields is not None)
    places = () if header is None else _places(header, shaped.shape)
    return Stored(shaped, affine, header, colour=stored_type.fields is not None, places=places)


def write(array: npt.NDArray[Any], affine: Affine, path: Path, source: Source | None, labels: bool) -> None:
    """Write (i, j, k) or (i, j, k, c) with the source's header, if it has a NIfTI header for this very grid.

    Kept: both forms and their codes, units, description. Reset, because they describe the image's values and not
    these: data type, scaling, display range, intent, extensions.
    """
    import nibabel

    header = _header_for(affine, source)
    if header is not None and len(header.get_data_shape()) == 2 and array.shape[2:] == (1,):
        array = array[:, :, 0]
    make: Any = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    own_affine = affine if header is None else header.get_best_affine()  # in the header's own unit
    image = make(array, own_affine, header, dtype=array.dtype)
    if header is None:
        _set_forms(image, affine, in_mm=source is None or source.format not in ("png", "tiff"))
    image.header.extensions.clear()
    image.header["cal_min"] = image.header["cal_max"] = 0
    image.header.set_intent(_LABEL_INTENT if labels else "none")
    image.set_data_dtype(array.dtype)
    image.to_filename(path)


def _check_compression(path: Path, what: str) -> bool:
    """Whether the file is compressed; refused if its name says otherwise."""
    named = path.suffix.lower() in (".gz", ".mgz")
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP
    if named and not compressed:
        plain = path.name[:-3] if path.suffix.lower() == ".gz" else f"{path.stem}.mgh"
        raise UnreadableFile(
            f"{path}: not a {what} file: the name says gzip, the content is not. "
            f"If it is an uncompressed image, rename it to {plain}; if not, export it again"
        )
    if compressed and not named:
        right = f"{path.name}.gz" if what == "NIfTI" else f"{path.stem}.mgz"
        raise UnreadableFile(f"{path}: the content is gzip, the name says it is not; rename it to {right}")
    return compressed


def _require_extensions(path: Path, compressed: bool) -> None:
    """Refuse what claims to lie between header and image and is not there: nibabel would take memory for it."""
    with gzip.open(path) if compressed else path.open("rb") as stream:
        start = stream.read(min(_OFFSETS))
        sizes = {struct.pack(f"{order}i", size): (order, size) for order in "<>" for size in _OFFSETS}
        if len(start) < min(_OFFSETS) or start[:4] not in sizes:
            return  # which nibabel tells
        order, size = sizes[start[:4]]
        kind, place = _OFFSETS[size]
        (offset,) = struct.unpack_from(order + kind, start, place)
        stream.seek(size)
        if not math.isfinite(offset) or stream.read(4)[:1] in (b"", b"\x00"):
            return
        left = int(offset) - size - 4
        # Where the image would begin before its header ends, nibabel reads extensions to the end of the file.
        while not 0 <= left < _LEAST_EXTENSION and len(begin := stream.read(8)) == 8:
            (claimed, _) = struct.unpack(f"{order}ii", begin)
            if claimed < 8 or _passed(stream.read, claimed - 8) < claimed - 8:
                raise UnreadableFile(
                    f"{path}: its header claims an extension of {claimed:,} bytes, which is not there. It is damaged; "
                    "copy or export it again"
                )
            left -= claimed


def _passed(read: Callable[[int], bytes], count: int) -> int:
    """How many of so many bytes there are; read in pieces, so that no number takes memory."""
    passed = 0
    while passed < count and (piece := read(min(count - passed, 1 << 16))):
        passed += len(piece)
    return passed


def _checked_voxels(path: Path, image_class: Any) -> npt.NDArray[Any]:
    """The voxels of a compressed file, read to its very end, where the checksum is."""
    with gzip.open(path) as stream:
        array: npt.NDArray[Any] = np.asanyarray(image_class.from_stream(stream).dataobj)
        while stream.read(1 << 20):
            continue
    return array


def _four_axes(path: Path, array: npt.NDArray[Any], colour: bool) -> npt.NDArray[Any]:
    """(i, j, k) or (i, j, k, c): a 2-D image gets one slice, axes of size 1 behind the third are dropped."""
    spatial = array.ndim - colour
    if spatial < 2:
        raise UnreadableFile(f"{path}: expected an image with two or three axes, got shape {array.shape}")
    if spatial == 2:
        array = array[:, :, None]
    extra = [size for size in array.shape[3:] if size != 1]
    if len(extra) > 1:
        raise UnreadableFile(f"{path}: expected three axes, or four with channels, got shape {array.shape}")
    return array.reshape(*array.shape[:3], *extra) if extra or array.ndim > 3 else array


def _places(header: "Nifti1Header", shape: Sequence[int]) -> tuple[Affine, ...]:
    """Ours, and that of ITK, and with it of ITK-SNAP and 3D Slicer; none where they agree on it."""
    affine = _affine_mm(header)
    with np.errstate(all="ignore"):  # numbers of a damaged header, which is_possible then refuses
        seen = _in_mm(header, _seen_by_itk(header))
    i, j, k = shape[:3]
    agreed = not is_possible(seen) or Grid((i, j, k), seen).same_as(Grid((i, j, k), affine))
    return () if agreed else (affine, seen)


def _seen_by_itk(header: "Nifti1Header") -> Affine:
    """In the header's own unit.

    Of two forms it takes the qform, unless the sform is the scanner's and not sheared; where there is neither, voxels
    begin at 0. Their sides it takes from neither form (measured on ITK 5.4).
    """
    sides = np.where(header["pixdim"][1:4] > 0, header["pixdim"][1:4], 1).astype(np.float64)
    sform, qform = header.get_sform(coded=True)[0], _qform(header)
    if sform is not None and (qform is None or (header["sform_code"] == _SCANNER and _is_orthogonal(sform))):
        seen: Affine = sform.copy()
        seen[:3, :3] *= sides / np.linalg.norm(sform[:3, :3], axis=0)
        return seen
    return LPS_TO_RAS @ np.diag([*sides, 1.0]) if qform is None else qform


def _header_for(affine: Affine, source: Source | None) -> "Nifti1Header | None":
    from nibabel import Nifti1Header

    header = source.header if source is not None else None
    if not isinstance(header, Nifti1Header) or not np.allclose(_affine_mm(header), affine):
        return None
    own: Nifti1Header = header.copy()
    return own


def _qform(header: "Nifti1Header") -> Affine | None:
    """None where there is none, or its numbers make no rotation."""
    from nibabel.spatialimages import HeaderDataError

    try:
        qform: Affine | None = header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):
        return None
    return qform


def _affine_mm(header: "Nifti1Header") -> Affine:
    return _in_mm(header, header.get_best_affine())


def _in_mm(header: "Nifti1Header", affine: Affine) -> Affine:
    unit = int(header["xyzt_units"]) & 7  # the bits above are the unit of time
    to_mm = np.diag([_MM.get(unit, 1.0)] * 3 + [1.0])
    return np.asarray(to_mm @ affine, dtype=np.float64)


def _is_orthogonal(affine: Affine) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-5))


def _set_forms(image: Any, affine: Affine, in_mm: bool) -> None:
    """Both forms; the sform alone where the affine is sheared, which a qform cannot say."""
    image.set_sform(affine, code=_SCANNER)
    image.set_qform(affine, code=_SCANNER if _is_orthogonal(affine) else 0)
    if in_mm:
        image.header.set_xyzt_units("mm")
