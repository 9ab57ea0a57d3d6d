"""Structure names: the table between file values (any integers) and the indices 0..K-1 used inside."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowshot.errors import UnknownLabel

_SMALL_RANGE = 1 << 16
"""How far apart file values may be to be translated by a table of all values between them."""

_UNNAMED = re.compile(r"label -?\d+")
_MOST_UNKNOWN = 50
"""Values without a name that label maps have; images have more."""
_MOST_NAMES = 2**15
"""Indices are stored in 16 bits."""


def is_legible(text: str) -> bool:
    """Whether it can be shown and written: a terminal obeys control characters, no file takes half a letter."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)  # Cs: JSON can hold "\\ud800" alone


@dataclass(frozen=True)
class Names:
    """Index k stands for ``names[k]`` and is written to files as ``values[k]``; index 0 is background."""

    names: tuple[str, ...]
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.values) or not self.names:
            raise UnknownLabel(f"{len(self.names)} names for {len(self.values)} label values")
        if len(self.names) > _MOST_NAMES:
            raise UnknownLabel(f"label table: expected at most {_MOST_NAMES:,} values, got {len(self.names):,}")
        for what, entries in (("name", self.names), ("value", self.values)):
            doubles = {str(entry) for entry, times in Counter(entries).items() if times > 1}
            if doubles:
                raise UnknownLabel(f"label table: {what} {', '.join(sorted(doubles))} occurs twice")
        for name in self.names:
            if not is_legible(name):
                raise UnknownLabel(f"label table: the name {name!r} holds control characters, or half a letter")
        beyond = [value for value in self.values if not -(2**63) <= value < 2**63]
        if beyond:
            raise UnknownLabel(f"label table: value {beyond[0]} is beyond 64 bits, which no file can hold")

    @classmethod
    def of(cls, structures: Mapping[int, str], background: int = 0) -> "Names":
        """Table from {file value: name}, ordered by value; the background is added when it is not listed."""
        rest = sorted(value for value in structures if value != background)
        names = (structures.get(background, "background"), *(structures[value] for value in rest))
        return cls(names, (background, *rest))

    @classmethod
    def from_values(cls, values: Iterable[int], background: int = 0) -> "Names":
        """Table for values nobody has named: ``label 5`` for 5."""
        return cls.of({value: f"label {value}" for value in values if value != background}, background)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def foreground(self) -> tuple[str, ...]:
        """All names but the background's."""
        return self.names[1:]

    def index(self, name: str) -> int:
        """Index of a structure by its name."""
        if name not in self.names:
            raise UnknownLabel(f"no structure named {name!r}; there are: {', '.join(self.foreground)}")
        return self.names.index(name)

    def find(self, name: str) -> int | None:
        """Index of a structure that may be written otherwise: in capitals, with underscores; None if there is none."""
        if name in self.names:
            return self.names.index(name)
        alike = [index for index, own in enumerate(self.names) if _key(own) == _key(name)]
        return alike[0] if len(alike) == 1 else None

    def encode(self, values: npt.NDArray[np.integer], where: str = "label map") -> npt.NDArray[np.int16]:
        """Indices 0..K-1 for file values of any shape; a value outside the table is an error naming ``where``."""
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        encoded = self._looked_up(values, low, high) if high - low < _SMALL_RANGE else self._searched(values)
        if encoded.min(initial=0) < 0:
            others = np.unique(values[encoded < 0])
            if len(others) > _MOST_UNKNOWN:
                raise UnknownLabel(
                    f"{where}: expected a label map, got {len(others):,} values without a name; is it an image?"
                )
            unknown = ", ".join(map(str, others))
            known = ", ".join(map(str, self.values))
            raise UnknownLabel(
                f"{where}: label value {unknown} has no name; the table knows {known}. "
                "Add it to the names file, or declare it with --ignore-value if it marks unknown voxels"
            )
        return encoded

    def _looked_up(self, values: npt.NDArray[np.integer], low: int, high: int) -> npt.NDArray[np.int16]:
        """Index of each value, -1 for unknown ones. Negative values count from the table's end, as numpy does."""
        table = np.full(high - low + 1, -1, dtype=np.int16)
        for index, value in enumerate(self.values):
            if low <= value <= high:
                table[value] = index
        return np.asarray(table[values], dtype=np.int16)

    def _searched(self, values: npt.NDArray[np.integer]) -> npt.NDArray[np.int16]:
        """The same for values too far apart for a table."""
        order = np.argsort(self.values)
        table = np.asarray(self.values, dtype=np.int64)[order]
        place = np.searchsorted(table, values).clip(max=len(table) - 1)
        return np.where(table[place] == values, order.astype(np.int16)[place], np.int16(-1))

    def decode(self, indices: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """File values for indices 0..K-1 of any shape."""
        return np.asarray(np.asarray(self.values, dtype=np.int64)[indices], dtype=np.int64)


def _key(name: str) -> str:
    """What does not change when a name is written by somebody else."""
    plain = unicodedata.normalize("NFC", name).casefold()
    return re.sub(r"[\s_]+|(?<=\w)-(?=\w)", " ", plain).strip()


def merged(tables: Iterable[Names]) -> Names:
    """One table of all structures in these, as they are first written, each with its value there.

    Structures are the same if ``find`` finds one by the other's name. All are numbered anew if two have one value.
    """
    values: dict[str, int] = {}
    for table in tables:
        known = Names(("background", *values), tuple(range(len(values) + 1)))
        for name, value in zip(table.foreground, table.values[1:], strict=True):
            if not known.find(name):
                values.setdefault(name, value)
    if len(set(values.values())) < len(values):
        values = {name: number for number, name in enumerate(values, start=1)}
    return Names.of({value: name for name, value in values.items()})


_LEFT = re.compile(r"(?<![a-z])(left|lh|l)(?![a-z])")
_RIGHT = re.compile(r"(?<![a-z])(right|rh|r)(?![a-z])")


def lateral_pairs(names: Names) -> tuple[tuple[int, int], ...]:
    """Indices (left, right) of structures whose names differ only in the side ("left kidney", "rh_cortex")."""
    left = {_LEFT.sub("*", name.lower()): k for k, name in enumerate(names.names) if _LEFT.search(name.lower())}
    right = {_RIGHT.sub("*", name.lower()): k for k, name in enumerate(names.names) if _RIGHT.search(name.lower())}
    return tuple((left[stem], right[stem]) for stem in left if stem in right)


def is_unnamed(name: str) -> bool:
    """Whether a structure goes by its value in the files, as ``Names.from_values`` calls it."""
    return bool(_UNNAMED.fullmatch(name))


def has_side(name: str) -> bool:
    """Whether it is on one side of the body: mirrored, it would be another structure."""
    return bool(_LEFT.search(name.lower()) or _RIGHT.search(name.lower()))


def sideless(names: Iterable[str]) -> dict[str, str]:
    """Each of two twins to what both are, in small letters: {"Left Thalamus": "thalamus", "Right Thalamus": ...}."""
    every = tuple(dict.fromkeys(names))
    pairs = lateral_pairs(Names(every, tuple(range(len(every)))))
    return {every[k]: _LEFT.sub(" ", every[left].lower()).strip(" _-") for left, right in pairs for k in (left, right)}
