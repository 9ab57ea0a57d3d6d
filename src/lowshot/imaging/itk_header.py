"""What an NRRD or MetaImage header says of its voxels: whether they are packed, and which files hold them.

ITK believes these headers: it allocates what they claim whatever the files hold. MetaIO crashes on some numbers, and
gives the name of the file with the voxels to C's ``printf``. NrrdIO crashes where it quotes a long line.

So each header is taken apart here as the library that reads it afterwards does. What the two would understand
differently is refused: a number that only the library sees is checked by nobody.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowshot.errors import UnreadableFile

_LONGEST_HEADER = 1 << 20
_MOST_FILES = 10_000
_NUMBERED = re.compile(r"[^%]*%0?\d?d[^%]*")
_LIST = re.compile(r"LIST(\s+\d+D?)?", re.IGNORECASE)

_LINE_END = re.compile(r"\r\n|\r|\n")
"""NrrdIO knows all three."""

_LONGEST_NRRD_LINE = 500
"""Bytes; NrrdIO overflows a message of its own from 1,000 on (measured), where it cannot make sense of the line."""

_NRRD_KEY_AND_VALUE = re.compile(r"((?!: ).)*?:=", re.DOTALL)
"""What somebody added. Unlike a field it has no colon and space before its colon and equals sign."""

_NRRD_VOXELS_IN = ("data file", "datafile")
_NRRD_OF_ANY_LENGTH = ("content", *_NRRD_VOXELS_IN)
"""Fields that NrrdIO takes as they are; files with voxels it names in a message only when they are missing."""

_NRRD_SPACINGS = ("spacings", "space directions")
_METAIMAGE_SPACINGS = ("ElementSpacing", "ElementSize")
"""Fields that say how large voxels are."""

_METAIMAGE_FIELD = re.compile(r"[ \t-\r]*+([^=:\r\n]*+)[^=:]*+[=:][=: \t]*+([^\n]*+)\n?")
"""As MetaIO reads them: a name without a value takes that of the next line."""

_METAIMAGE_ONCE = {
    "NDims": True,
    "DimSize": True,
    "ElementDataFile": True,
    "ElementNumberOfChannels": False,
    "CompressedDataSize": False,
}
"""Fields that are checked here, and whether they are required. MetaIO knows them by these very letters only."""


@dataclass(frozen=True)
class VoxelFiles:
    """Where the voxels are."""

    packed: bool
    """Whether they may take more bytes in memory than in the file: compressed, or written as text."""
    beside: tuple[Path, ...] = ()
    """The files that hold them; none: the header's own."""
    spacing_known: bool = True
    """Whether the header says how large they are."""


def voxel_files(path: Path, what: str) -> VoxelFiles:
    """Where the voxels of a header are, which is ``what``: NRRD or MetaImage. All of the files exist.

    Raises:
        UnreadableFile: a file with voxels is missing, or its name is none, or the library would crash on the header.
    """
    with path.open("rb") as file:
        header = file.read(_LONGEST_HEADER).decode("latin-1")
    return _nrrd(path, header) if what == "NRRD" else _metaimage(path, header)


def _nrrd(path: Path, header: str) -> VoxelFiles:
    packed, spacing_known, names = False, False, []
    lines = _LINE_END.split(header)
    for number, line in enumerate(lines, 1):
        if not line:
            break
        if line.startswith("#") or _NRRD_KEY_AND_VALUE.match(line):
            continue
        key, _, value = line.partition(": ")
        key, value = key.lower(), value.strip()
        if len(line) > _LONGEST_NRRD_LINE and key not in _NRRD_OF_ANY_LENGTH:
            raise UnreadableFile(
                f"{path}: line {number} of its header has {len(line):,} bytes, expected no more than "
                f"{_LONGEST_NRRD_LINE}, and a blank line after the header; copy or export it again"
            )
        if key == "encoding":
            packed = value.lower() != "raw"
        if key in _NRRD_SPACINGS:
            spacing_known = bool(re.search(r"\d", value))  # no axis has a number: "nan nan nan", "none none none"
        if key in _NRRD_VOXELS_IN:
            names = _names(path, value, lines[number:])
            if _LIST.fullmatch(value):  # what follows are names
                break
    return VoxelFiles(packed, tuple(_existing(path, name) for name in names), spacing_known)


def _metaimage(path: Path, header: str) -> VoxelFiles:
    place, fields = 0, []
    while found := _METAIMAGE_FIELD.match(header, place):
        place = found.end()
        fields.append((found.group(1).rstrip(), found.group(2).strip()))
        if fields[-1][0] == "ElementDataFile":  # always the last field
            break
    _refuse_repetition(path, header, [key for key, _ in fields])
    values = dict(fields)
    name = values["ElementDataFile"]
    names = [] if name.upper() == "LOCAL" else _names(path, name, header[place:].split("\n"))
    beside = tuple(_existing(path, name) for name in names)
    _refuse_numbers(path, values, beside or (path,))
    is_text = not _is_true(values.get("BinaryData", "True"))
    packed = is_text or _is_true(values.get("CompressedData", "False"))
    return VoxelFiles(packed, beside, any(key in values for key in _METAIMAGE_SPACINGS))


def _is_true(value: str) -> bool:
    """As MetaIO has it, which looks at the first letter."""
    return value[:1] in ("T", "t", "1")


def _refuse_repetition(path: Path, header: str, keys: Sequence[str]) -> None:
    """Refuse a field that MetaIO may read from another line than the one that is checked here.

    A second one would count, and the values that are missing on one line are taken from the next.
    """
    for key, required in _METAIMAGE_ONCE.items():
        lines = len(re.findall(rf"^[ \t-\r]*{key}[ \t]*(?:[=:\r]|$)", header, re.MULTILINE))
        if lines != keys.count(key) or not required <= lines <= 1:
            raise UnreadableFile(
                f"{path}: cannot be read as MetaImage: expected {'one line' if required else 'at most one line'} "
                f"{key} = ... in its header, and values on the lines before it, got {lines}. Copy or export it again"
            )


def _refuse_numbers(path: Path, fields: Mapping[str, str], held_by: Sequence[Path]) -> None:
    """Refuse the numbers of a MetaImage header that MetaIO would crash on, or take far too much memory for."""
    axes, sizes = fields["NDims"], fields["DimSize"].split()
    if not re.fullmatch(r"[2-4]", axes):
        raise UnreadableFile(
            f"{path}: expected two to four axes (NDims) in its header, got {axes[:20]!r}; export it again"
        )
    channels = fields.get("ElementNumberOfChannels", "1")
    if not all(re.fullmatch(r"[1-9]\d{0,8}", count) for count in (channels, *sizes)) or len(sizes) != int(axes):
        raise UnreadableFile(
            f"{path}: expected as many positive sizes (DimSize) as axes (NDims) in its header, got "
            f"{' '.join(sizes)[:80]!r} for {axes} axes of {channels[:20]!r} channels; export it again"
        )
    packed, size = fields.get("CompressedDataSize", "0"), sum(file.stat().st_size for file in held_by)
    if not re.fullmatch(r"\d{1,15}", packed) or int(packed) > size:
        raise UnreadableFile(
            f"{path}: its header claims {packed[:20]} bytes of compressed voxels, the file has {size:,}. It is "
            "truncated or damaged; copy or export it again"
        )


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
