"""TIFF files written number by number, so that they can claim anything."""

import struct
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Page:
    """What one page claims. Its voxels are the first bytes after the file's header."""

    width: int = 4
    height: int = 3
    bits: int = 8
    more: dict[int, int] = field(default_factory=dict)
    """Further entries, or others instead of those below."""

    def entries(self, voxels: int) -> dict[int, int]:
        """By number: size, bits, no compression, zero is black, place, rows of the one strip and its bytes."""
        size = {256: self.width, 257: self.height, 258: self.bits, 259: 1, 262: 1, 273: voxels, 278: self.height}
        return dict(sorted((size | {279: 12} | self.more).items()))


def tiff(pages: list[Page], order: str = "<", big: bool = False, back: bool = False, then: int = 0) -> bytes:
    """Classic or big, in either order; the last page leads back to the first, or to a place of its own choice."""
    values, start = ("Q", "HHHQ") if big else ("I", "HI")
    head = 2 + struct.calcsize(order + start)
    first = place = head + 4 * 3
    lists = b""
    for number, page in enumerate(pages, 1):
        entries = page.entries(head)
        lists += struct.pack(order + ("Q" if big else "H"), len(entries))
        for tag, value in entries.items():
            lists += struct.pack(order + "HH" + 2 * values, tag, 16 if big else 4, 1, value)
        place = first + len(lists) + struct.calcsize(values)
        last = first if back else then
        lists += struct.pack(order + values, place if number < len(pages) else last)
    numbers = (43, 8, 0, first) if big else (42, first)
    return {"<": b"II", ">": b"MM"}[order] + struct.pack(order + start, *numbers) + bytes(range(12)) + lists
