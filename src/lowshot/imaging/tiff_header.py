"""What the pages of a TIFF file claim, before libtiff believes it.

libtiff makes room for every strip that a page claims, whatever the file holds, and follows a list of pages that has no
end. A page is a list of numbered entries here, and says where the next page is.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lowshot.errors import UnreadableFile

_WIDTH, _HEIGHT, _BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 258, 277, 322, 323
_COLOURS, _ARRANGEMENT, _KIND = 262, 284, 339
_ENTRIES = (_WIDTH, _HEIGHT, _BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _COLOURS, _ARRANGEMENT, _KIND)
_PALETTE, _IN_PLANES, _FLOATS = 3, 2, 3
"""Values of the last three."""
_MOST_NUMBERED = 8
"""Bits of a pixel that is the number of a colour; Pillow reads no more."""
_WHOLE = {1: "B", 3: "H", 4: "I", 6: "B", 8: "H", 9: "I", 16: "Q", 17: "Q"}
"""Types of whole numbers; those with a sign are read without one, since none may be negative."""

_MOST_PAGES = 65_535
"""ITK counts them in 16 bits."""


@dataclass(frozen=True)
class _Layout:
    """How numbers are written: forms of the module ``struct``."""

    order: str
    entries: str
    """How many entries a page has."""
    values: str
    """How many values an entry has; also where a page, or what does not fit into an entry, is."""

    def read(self, file: BinaryIO, forms: str) -> tuple[int, ...]:
        """The next numbers of the file."""
        return struct.unpack(self.order + forms, file.read(struct.calcsize(self.order + forms)))


@dataclass(frozen=True)
class TiffHeader:
    """What the pages say of their voxels."""

    voxel_bytes: int
    """That all pages claim, as the file would hold them without compression."""
    palette: bool
    """Whether they are numbers of colours."""


def read_header(path: Path) -> TiffHeader:
    """Of all pages together.

    Raises:
        UnreadableFile: the list of pages does not end, or SimpleITK would misread the numbers in them.
    """
    with path.open("rb") as file:
        pages = list(_pages(path, file))
    for page in pages:
        _refuse_numbers(path, page)
    palette = [page.get(_COLOURS) == _PALETTE and page.get(_BITS, 1) <= _MOST_NUMBERED for page in pages]
    # ITK takes all for as large as the first.
    return TiffHeader(max(map(_page_bytes, pages), default=0) * len(pages), bool(pages) and all(palette))


def _refuse_numbers(path: Path, page: Mapping[int, int]) -> None:
    """SimpleITK takes floats of 16 bits for integers, has none of 64, and cuts numbers in planes down to 8."""
    bits, floats = page.get(_BITS, 1), page.get(_KIND) == _FLOATS
    if bits > 32 or (floats and bits != 32):
        raise UnreadableFile(
            f"{path}: expected integers of at most 32 bits, or floats of 32, got {'floats' if floats else 'integers'} "
            f"of {bits}; save it as 8 or 16 bit, as 32-bit float, or as NIfTI"
        )
    if bits > 8 and page.get(_ARRANGEMENT) == _IN_PLANES and page.get(_SAMPLES, 1) > 1:
        raise UnreadableFile(
            f"{path}: expected the numbers of a pixel side by side, got {page[_SAMPLES]} planes of {bits} bits; save "
            "slices as pages and colours pixel by pixel, or save it as NIfTI"
        )


def _page_bytes(page: Mapping[int, int]) -> int:
    pixels = max(page[_WIDTH] * page[_HEIGHT], page.get(_TILE_WIDTH, 0) * page.get(_TILE_HEIGHT, 0))
    return pixels * page.get(_SAMPLES, 1) * page.get(_BITS, 1) // 8


def _pages(path: Path, file: BinaryIO) -> Iterator[dict[int, int]]:
    """The entries of every page. What lies outside the file is an accident of ``struct``."""
    layout = _layout(path, file)
    (place,) = layout.read(file, layout.values)
    places: set[int] = set()
    taken, size = 0, path.stat().st_size
    while place:
        file.seek(place)
        (entries,) = layout.read(file, layout.entries)
        places.add(place)
        taken += struct.calcsize(layout.order + "HH" + 2 * layout.values) * entries
        if taken > size or len(places) > _MOST_PAGES:
            raise UnreadableFile(
                f"{path}: expected at most {_MOST_PAGES:,} pages, each in its own part of the file, got "
                f"{len(places):,} of together {taken:,} bytes in a file of {size:,}. Copy or export it again"
            )
        yield _entries(file, layout, entries)
        (place,) = layout.read(file, layout.values)
        if place in places:
            raise UnreadableFile(
                f"{path}: its list of pages never ends, since page {len(places)} leads back to one before; copy or "
                "export it again"
            )


def _layout(path: Path, file: BinaryIO) -> _Layout:
    """Of a classic TIFF file, or of a BigTIFF; the file is left where the place of the first page is."""
    start = file.read(4)
    order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
    version = int.from_bytes(start[2:], "little" if order == "<" else "big")
    if order == "" or version not in (42, 43):
        raise UnreadableFile(
            f"{path}: cannot be read as TIFF: expected II* or MM at its start, got {start!r}. Copy or export it again"
        )
    if version == 42:
        return _Layout(order, "H", "I")
    file.read(4)  # that places take eight bytes
    return _Layout(order, "Q", "Q")


def _entries(file: BinaryIO, layout: _Layout, count: int) -> dict[int, int]:
    """The first value of every entry that counts here; the file is left behind the last entry."""
    found: dict[int, int] = {}
    room = struct.calcsize(layout.order + layout.values)
    for _ in range(count):
        tag, kind, values = layout.read(file, "HH" + layout.values)
        behind = file.tell() + room
        if tag in _ENTRIES and kind in _WHOLE and values > 0:
            if values * struct.calcsize(_WHOLE[kind]) > room:
                file.seek(layout.read(file, layout.values)[0])
            # libtiff takes the first of two entries; the larger one is safe whichever it takes.
            found[tag] = max(found.get(tag, 1), *layout.read(file, _WHOLE[kind]))
        file.seek(behind)
    return found
