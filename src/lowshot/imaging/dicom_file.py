"""One DICOM file, told from others and read, by pydicom."""

import mmap
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from typing import BinaryIO

    from pydicom import Dataset

_FIRST_GROUPS = (0x0002, 0x0008)
"""With which a file begins that lacks the preamble: what it says of itself as a file, or of its image."""

_LONGEST_FIRST = 1 << 10
"""Bytes of the first element of such a file: a number, a character set, a date, a unique identifier."""


def is_dicom_file(file: Path) -> bool:
    """Whether a file is DICOM, also without the 128 bytes and four letters before the first element.

    Old archives, and some programs that anonymise, leave these out.
    """
    from pydicom.misc import is_dicom

    return is_dicom(file) or (_begins_with_element(file) and _has_class(file))


def _begins_with_element(file: Path) -> bool:
    """From the first eight bytes, so that a folder with many other files is looked through quickly."""
    with file.open("rb") as content:
        start = content.read(8)
    if len(start) < 8:
        return False
    group, _, kind, length = struct.unpack("<HH2sH", start)
    if not re.fullmatch(rb"[A-Z]{2}", kind):  # implicit: no kind, but a length of four bytes
        length = int.from_bytes(start[4:], "little")
    return group in _FIRST_GROUPS and length <= _LONGEST_FIRST


def _has_class(file: Path) -> bool:
    """Whether it says what it is an object of, as every DICOM file must."""
    try:
        header = read_dataset(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
        return bool(header.get("SOPClassUID")) and header.SOPClassUID.is_valid
    except Exception:  # whatever pydicom comes upon in a file that is no DICOM
        return False


def read_dataset(file: Path, **how: Any) -> "Dataset":
    """A file that is known to be DICOM.

    Mapped, because of a file pydicom would ask for as many bytes as a damaged element claims to have, up to 4 GB.
    """
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with file.open("rb") as content, mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        dataset = pydicom.dcmread(cast("BinaryIO", mapped), force=True, **how)
    if "TransferSyntaxUID" not in dataset.file_meta:  # where the preamble is missing, this may be, too
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset
