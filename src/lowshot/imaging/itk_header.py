"""What an NRRD or MetaImage header says of its voxels: whether they are packed, and which files hold them.

ITK believes these headers: it allocates what they claim whatever the files hold. MetaIO crashes on some numbers, and
gives the name of the file with the voxels to C's ``printf``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowshot.errors import UnreadableFile

_LONGEST_HEADER = 1 << 20
_MOST_FILES = 10_000
_FIELD = re.compile(r"([^:=#]+?)\s*[:=]\s*(.*)")
_VOXELS_IN = ("data file", "datafile", "elementdatafile")
_NUMBERED = re.compile(r"[^%]*%0?\d?d[^%]*")
_LIST = re.compile(r"LIST(\s+\d+D?)?", re.IGNORECASE)


@dataclass(frozen=True)
class VoxelFiles:
    """Where the voxels are."""

    packed: bool
    """Whether they may take more bytes in memory than in the file: compressed, or written as text."""
    beside: tuple[Path, ...] = ()
    """The files that hold them; none: the header's own."""


def voxel_files(path: Path) -> VoxelFiles:
    """Where the voxels of an NRRD or MetaImage header are; all of the files exist.

    Raises:
        UnreadableFile: a file with voxels is missing, or its name is none.
    """
    with path.open("rb") as file:
        lines = file.read(_LONGEST_HEADER).decode("latin-1").split("\n")
    fields: dict[str, str] = {}
    names: list[str] = []
    is_nrrd = bool(lines) and lines[0].startswith("NRRD")
    for number, line in enumerate(lines):
        if is_nrrd and not line.strip():
            break
        field = _FIELD.fullmatch(line.strip())
        if field is None:
            continue
        key, value = field.group(1).lower(), field.group(2).strip()
        fields[key] = value
        if key in _VOXELS_IN and value.upper() != "LOCAL":
            names = _names(path, value, lines[number + 1 :])
        if key == "elementdatafile":  # always the last field
            break
    beside = tuple(_existing(path, name) for name in names)
    if not is_nrrd:
        _refuse_numbers(path, fields, beside or (path,))
    return VoxelFiles(_is_packed(fields), beside)


def _refuse_numbers(path: Path, fields: dict[str, str], held_by: Sequence[Path]) -> None:
    """Refuse the numbers of a MetaImage header that MetaIO would crash on, or take far too much memory for."""
    if "ndims" not in fields:
        raise UnreadableFile(f"{path}: cannot be read as MetaImage: its header has no NDims. Copy or export it again")
    sizes = fields.get("dimsize", "").split()
    counts = [fields["ndims"], fields.get("elementnumberofchannels", "1"), *sizes]
    if not all(re.fullmatch(r"[1-9]\d{0,8}", count) for count in counts) or len(sizes) != int(counts[0]):
        raise UnreadableFile(
            f"{path}: expected as many positive sizes (DimSize) as axes (NDims) in its header, got "
            f"{' '.join(sizes)[:80]!r} for {counts[0][:20]!r} axes of {counts[1][:20]!r} channels; export it again"
        )
    packed, size = fields.get("compresseddatasize", "0"), sum(file.stat().st_size for file in held_by)
    if not re.fullmatch(r"\d{1,15}", packed) or int(packed) > size:
        raise UnreadableFile(
            f"{path}: its header claims {packed[:20]} bytes of compressed voxels, the file has {size:,}. It is "
            "truncated or damaged; copy or export it again"
        )


def _is_packed(fields: dict[str, str]) -> bool:
    is_text = fields.get("binarydata", "true").lower() == "false"
    is_compressed = fields.get("compresseddata", "false").lower() == "true"
    return is_text or is_compressed or fields.get("encoding", "raw").lower() != "raw"


def _names(path: Path, value: str, following: Sequence[str]) -> list[str]:
    """One name, the names on the following lines, or numbered ones: ``slice%03d.raw 1 20 1``."""
    if _LIST.fullmatch(value):
        return [line.strip() for line in following if line.strip()][:_MOST_FILES]
    if "%" not in value:
        return [value]
    pattern, *numbers = value.split()
    whole = [int(word) for word in numbers if re.fullmatch(r"-?\d{1,9}", word)]
    count = 0
    if _NUMBERED.fullmatch(pattern) and len(whole) == len(numbers) >= 3 and whole[2] != 0:
        first, last, step = whole[:3]
        count = (last - first) // step + 1
    if not 0 < count <= _MOST_FILES:
        raise UnreadableFile(
            f"{path}: expected the files with its voxels as NAME%03d.raw FIRST LAST STEP, got {value[:80]!r}; correct "
            "it, or export the scan again as one file"
        )
    return [pattern % (first + k * step) for k in range(count)]


def _existing(path: Path, name: str) -> Path:
    file = path.parent / name
    try:
        exists = file.is_file()
    except (OSError, ValueError):  # too long to be a name, or with a zero byte
        exists = False
    if not exists:
        raise UnreadableFile(
            f"{path}: its voxels lie in another file, {name[:80]!r}, which is missing; copy it beside this one"
        )
    return file
