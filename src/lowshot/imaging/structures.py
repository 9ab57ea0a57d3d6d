"""Structures that are stored each for itself, by name, and may overlap; and the label map that they make."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowshot.errors import UnknownLabel
from lowshot.imaging.grid import Grid
from lowshot.imaging.names import Names

Mask = npt.NDArray[np.bool_]

_SHARED = 0.01
"""Up to this part of the smaller of two structures, what both have is their border, drawn twice."""
_LISTED = 8


@dataclass(frozen=True, eq=False)
class Structures:
    """What a file holds. A structure's value is its place in the file, counted from 1."""

    where: str
    """The file, for messages."""
    names: tuple[str, ...]
    grid: Grid
    mask: Callable[[int], Mask]
    """The voxels of one of them, (i, j, k), by its index from 0."""
    looked_for: frozenset[int]
    """Indices of those that somebody looked for; of the others there is nothing but the name."""

    def label_map(self, names: Names | None) -> tuple[npt.NDArray[np.int64], Names]:
        """File values (i, j, k), and what they mean.

        With ``names``, structures are told by their names (capitals, spaces and underscores do not count) and get the
        values of the table; the others are left out. Of two that have a voxel in common, the higher value gets it.
        Without, all are taken, and such as overlap are refused.

        Raises:
            UnknownLabel: they overlap; none of them is named, or two have the same name.
        """
        chosen = dict(enumerate(range(1, len(self.names) + 1))) if names is None else self._matching(names)
        values = (
            np.zeros(self.grid.shape, dtype=np.int64)
            if names is None
            else np.full(self.grid.shape, names.values[0], dtype=np.int64)
        )
        for index, value in sorted(chosen.items(), key=lambda item: item[1]):
            mask = self.mask(index)
            if names is None:
                self._require_apart(index, mask, values)
            values[mask] = value
        if names is None:
            names = Names.of({value: self.unique_names[index] for index, value in chosen.items()})
        return values, names

    def annotated(self, names: Names) -> frozenset[str] | None:
        """The structures of a table that the file has; None if it has all of them. What it lacks, nobody looked for."""
        by_value = dict(zip(names.values, names.names, strict=True))
        matching = self._matching(names)
        found = frozenset(by_value[value] for index, value in matching.items() if index in self.looked_for)
        return None if found == frozenset(names.foreground) else found

    @property
    def unique_names(self) -> tuple[str, ...]:
        """The names; one that occurs twice is numbered."""
        return tuple(self._unique())

    def _unique(self) -> Iterator[str]:
        for index, name in enumerate(self.names):
            before = self.names[:index].count(name)
            yield f"{name} ({before + 1})" if before else name

    def _matching(self, names: Names) -> dict[int, int]:
        """Index in the file to value in the table."""
        values = {_key(name): value for name, value in zip(names.foreground, names.values[1:], strict=True)}
        found = {index: values[_key(name)] for index, name in enumerate(self.names) if _key(name) in values}
        if not found:
            raise UnknownLabel(
                f"{self.where}: none of its structures ({_some(self.names)}) is among the names "
                f"({_some(names.foreground)}); give them the same names"
            )
        if len(set(found.values())) < len(found):
            raise UnknownLabel(f"{self.where}: two of its structures have one name ({_some(self.names)}); rename one")
        return found

    def _require_apart(self, index: int, mask: Mask, values: npt.NDArray[np.int64]) -> None:
        """Refuse a structure that shares more than a border with those before it."""
        counts = np.bincount(values[mask])
        for value in np.flatnonzero(counts[1:]) + 1:
            smaller = min(int(mask.sum()), int(counts[value]) + int((values == value).sum()))
            if counts[value] > max(1, _SHARED * smaller):
                raise UnknownLabel(
                    f"{self.where}: {self.names[value - 1]} and {self.names[index]} overlap in {counts[value]:,} "
                    "voxels; name those that are meant (--names): of two that overlap, the higher value is taken"
                )


def _key(name: str) -> str:
    return " ".join(re.split(r"[\W_]+", name.casefold())).strip()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
