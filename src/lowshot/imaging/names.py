"""Structure names: the table between file values (any integers) and the indices 0..K-1 used inside."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowshot.errors import UnknownLabel


@dataclass(frozen=True)
class Names:
    """Index k stands for ``names[k]`` and is written to files as ``values[k]``; index 0 is background."""

    names: tuple[str, ...]
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.values) or not self.names:
            raise UnknownLabel(f"{len(self.names)} names for {len(self.values)} label values")
        for what, entries in (("name", self.names), ("value", self.values)):
            doubles = {str(entry) for entry in entries if entries.count(entry) > 1}
            if doubles:
                raise UnknownLabel(f"label table: {what} {', '.join(sorted(doubles))} occurs twice")

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

    def encode(self, values: npt.NDArray[np.integer], where: str = "label map") -> npt.NDArray[np.int16]:
        """Indices 0..K-1 for file values of any shape; a value outside the table is an error naming ``where``."""
        order = np.argsort(self.values)
        table = np.asarray(self.values, dtype=np.int64)[order]
        present = np.unique(values).astype(np.int64)
        unknown = np.setdiff1d(present, table)
        if unknown.size:
            known = ", ".join(map(str, self.values))
            raise UnknownLabel(
                f"{where}: label value {', '.join(map(str, unknown[:10]))} has no name; the table knows {known}. "
                "Add it to the names file, or declare it with --ignore-value if it marks unknown voxels"
            )
        lookup = order.astype(np.int16)
        return np.asarray(lookup[np.searchsorted(table, values)], dtype=np.int16)

    def decode(self, indices: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """File values for indices 0..K-1 of any shape."""
        return np.asarray(np.asarray(self.values, dtype=np.int64)[indices], dtype=np.int64)


_LEFT = re.compile(r"(?<![a-z])(left|lh|l)(?![a-z])")
_RIGHT = re.compile(r"(?<![a-z])(right|rh|r)(?![a-z])")


def lateral_pairs(names: Names) -> tuple[tuple[int, int], ...]:
    """Indices (left, right) of structures whose names differ only in the side ("left kidney", "rh_cortex")."""
    left = {_LEFT.sub("*", name.lower()): k for k, name in enumerate(names.names) if _LEFT.search(name.lower())}
    right = {_RIGHT.sub("*", name.lower()): k for k, name in enumerate(names.names) if _RIGHT.search(name.lower())}
    return tuple((left[stem], right[stem]) for stem in left if stem in right)
