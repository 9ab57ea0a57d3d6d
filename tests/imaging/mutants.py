"""Damaged image files, any number of them from a seed: sound ones with their bytes or the numbers in them changed."""

import gzip
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np

EXTREMES = [
    struct.pack(order + form, value)
    for order in "<>"
    for form, values in {
        "B": (0, 1, 127, 128, 255),
        "h": (-32768, -1, 0, 32767),
        "i": (-(2**31), -1, 0, 2**31 - 1),
        "q": (-(2**63), -1, 0, 2**63 - 1),
        "f": (float("nan"), float("inf"), -3e38, 1e-38, 0.0),
        "d": (float("nan"), float("inf"), -1e308, 1e-308, 0.0),
    }.items()
    for value in values
]
WORDS = [
    "0",
    "-1",
    "nan",
    "inf",
    "1e308",
    "-1e-308",
    "2147483648",
    "900000000",
    "99999999999999999999",
    "30000",
    "",
    "x",
    "%n",
    "A" * 5000,
]
_NUMBER = re.compile(rb"-?\d+(\.\d+)?(e-?\d+)?")
_MOST_CHANGES = 3


@dataclass(frozen=True)
class Original:
    """A sound file, and what else is needed to read it."""

    name: str
    content: bytes
    header: int
    """How many of its first bytes (unpacked, where it is gzip) say what the rest is; most changes hit these."""
    text: bool = False
    """Whether the header is text."""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    """Other files of its folder."""
    as_folder: bool = False
    """Whether the folder is what is read (DICOM)."""

    def write(self, folder: Path, content: bytes | None = None) -> Path:
        """The path to read: this file, or with ``content`` a damaged one."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.beside.items():
            (folder / name).write_bytes(data)
        (folder / self.name).write_bytes(self.content if content is None else content)
        return folder if self.as_folder else folder / self.name


@dataclass(frozen=True)
class Mutant:
    """One damaged file."""

    original: Original
    content: bytes
    changes: tuple[str, ...]


def mutants(originals: list[Original], count: int, seed: int = 0) -> Iterator[Mutant]:
    """``count`` damaged files, the originals taking turns. Each depends on the seed and its number alone."""
    for number, original in enumerate(islice(cycle(originals), count)):
        yield mutant(original, np.random.default_rng([seed, number]))


def mutant(original: Original, random: np.random.Generator) -> Mutant:
    """One to three changes. Half of the packed files are changed inside and packed again, checksums and all."""
    inside = bool(random.integers(2))
    gzipped = original.content[:2] == b"\x1f\x8b" and inside
    content = gzip.decompress(original.content) if gzipped else original.content
    changes = []
    for _ in range(random.integers(1, _MOST_CHANGES, endpoint=True)):
        possible = [*CHANGES, *([number, line] if original.text else [])]
        change = possible[random.integers(len(possible))]
        content = change(content, _place(len(content), original.header, random), random)
        changes.append(change.__name__)
    if gzipped:
        content = gzip.compress(content, 1, mtime=0)
    elif content[1:4] == b"PNG" and inside:
        content = with_checksums(content)
    return Mutant(original, content, tuple(changes))


def _place(length: int, header: int, random: np.random.Generator) -> int:
    """Where to change: three times of four in the header, most often at an even number."""
    last = min(length, header) if random.integers(4) else length
    return int(random.integers(max(last, 1))) & ~int(random.choice([0, 1, 3]))


def flip(content: bytes, place: int, random: np.random.Generator) -> bytes:
    """One bit."""
    changed = bytes(byte ^ 1 << random.integers(8) for byte in content[place : place + 1])
    return content[:place] + changed + content[place + 1 :]


def noise(content: bytes, place: int, random: np.random.Generator) -> bytes:
    """Up to 16 bytes of anything."""
    length = int(random.integers(1, 17))
    return content[:place] + random.bytes(length) + content[place + length :]


def extreme(content: bytes, place: int, random: np.random.Generator) -> bytes:
    """One of the numbers that programs forget."""
    value = EXTREMES[random.integers(len(EXTREMES))]
    return content[:place] + value + content[place + len(value) :]


def cut(content: bytes, place: int, random: np.random.Generator) -> bytes:
    """Everything from here on is missing."""
    return content[:place]


def remove(content: bytes, place: int, random: np.random.Generator) -> bytes:
    """Up to 64 bytes are missing."""
    return content[:place] + content[place + int(random.integers(1, 65)) :]


def double(content: bytes, place: int, random: np.random.Generator) -> bytes:
    """Up to 256 bytes stand there twice."""
    piece = content[place : place + int(random.integers(1, 257))]
    return content[:place] + piece + content[place:]


def insert(content: bytes, place: int, random: np.random.Generator) -> bytes:
    """Up to 64 bytes of anything lie between."""
    return content[:place] + random.bytes(int(random.integers(1, 65))) + content[place:]


def number(content: bytes, place: int, random: np.random.Generator) -> bytes:
    """The next number of a text becomes another one, or no number."""
    found = _NUMBER.search(content, place)
    if found is None:
        return content
    word = WORDS[random.integers(len(WORDS))].encode()
    return content[: found.start()] + word + content[found.end() :]


def line(content: bytes, place: int, random: np.random.Generator) -> bytes:
    """A line of a text is missing, or stands there twice."""
    first, last = content.rfind(b"\n", 0, place) + 1, content.find(b"\n", place) + 1
    if last == 0:
        return content
    return content[:first] + content[first:last] * int(random.choice([0, 2])) + content[last:]


CHANGES = (flip, noise, extreme, extreme, cut, remove, double, insert)


def with_checksums(png: bytes) -> bytes:
    """A PNG whose pieces have the right checksums, so that their content is looked at."""
    whole, place = png[:8], 8
    while place + 12 <= len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        piece = png[place + 4 : place + 8 + length]
        if place + 12 + length > len(png):
            break
        whole += png[place : place + 4] + piece + zlib.crc32(piece).to_bytes(4, "big")
        place += 12 + length
    return whole + png[place:]
