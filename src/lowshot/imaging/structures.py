"""Structures that are stored each for itself, by name, and may overlap; and the label map that they make."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowshot.errors import UnknownLabel, printable
from lowshot.imaging.grid import Grid
from lowshot.imaging.names import Names
from lowshot.wording import listed

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
    """Each its own, as ``legible_names`` makes them."""
    grid: Grid
    mask: Callable[[int], Mask]
    """The voxels of one of them, (i, j, k), by its index from 0."""
    looked_for: frozenset[int]
    """Indices of those that somebody looked for; of the others there is nothing but the name."""

    def label_map(self, names: Names | None) -> tuple[npt.NDArray[np.int64], Names]:
        """File values (i, j, k), and what they mean.

        With ``names``, structures are told by their names (capitals, spaces and underscores do not count) and get the
        values of the table; the others are left out. Of two that have a voxel in common, the higher value gets it.
        Without, all that somebody looked for are taken, and such as overlap are refused.

        Raises:
            UnknownLabel: they overlap; none of them is named, or two by one name.
        """
        if names is None:
            taken = {index + 1: self.names[index] for index in sorted(self.looked_for)}
            return self._all_of(taken), Names.of(taken)
        values = np.full(self.grid.shape, names.values[0], dtype=np.int64)
        for index, value in sorted(self._matching(names).items(), key=lambda item: item[1]):
            values[self.mask(index)] = value
        return values, names

    def annotated(self, names: Names) -> frozenset[str]:
        """The structures of a table that somebody looked for.

        Raises:
            UnknownLabel: there are none.
        """
        by_value = dict(zip(names.values, names.names, strict=True))
        matching = self._matching(names)
        found = frozenset(by_value[value] for index, value in matching.items() if index in self.looked_for)
        if not found:
            some = listed([self.names[index] for index in matching], _LISTED)
            raise UnknownLabel(f"{self.where}: lists {some}, but nothing of that is drawn; leave this scan out")
        return found

    def _matching(self, names: Names) -> dict[int, int]:
        """Index in the file to value in the table."""
        found: dict[int, int] = {}
        for index, name in enumerate(self.names):
            place = names.find(name)
            if place:  # neither None nor the background
                found[index] = names.values[place]
        if not found:
            raise UnknownLabel(
                f"{self.where}: none of its structures ({listed(self.names, _LISTED)}) is among the names "
                f"({listed(names.foreground, _LISTED)}); give them the same names"
            )
        if len(set(found.values())) < len(found):
            twins = [self.names[index] for index, value in found.items() if list(found.values()).count(value) > 1]
            some = listed(twins, _LISTED)
            raise UnknownLabel(f"{self.where}: {some} go by one name of the table; rename one of them")
        return found

    def _all_of(self, taken: Iterable[int]) -> npt.NDArray[np.int64]:
        values = np.zeros(self.grid.shape, dtype=np.int64)
        for value in taken:
            mask = self.mask(value - 1)
            self._require_apart(value, mask, values)
            values[mask] = value
        return values

    def _require_apart(self, value: int, mask: Mask, values: npt.NDArray[np.int64]) -> None:
        """Refuse a structure that shares more than a border with those before it."""
        shared = np.bincount(values[mask], minlength=1)
        for other in np.flatnonzero(shared[1:]) + 1:
            smaller = min(int(mask.sum()), int((values == other).sum()))
            if shared[other] > max(1, _SHARED * smaller):
                raise UnknownLabel(
                    f"{self.where}: {self.names[other - 1]} and {self.names[value - 1]} overlap in {shared[other]:,} "
                    "voxels; name those that are meant (--names): of two that overlap, the higher value is taken"
                )


def legible_names(stored: Sequence[str]) -> tuple[str, ...]:
    """Names as they stand in a file, on one line, each its own, and none the background's."""
    taken, found = {"background"}, []
    for name in map(printable, stored):
        own, number = name, 1
        while own in taken:
            number += 1
            own = f"{name} ({number})"
        taken.add(own)
        found.append(own)
    return tuple(found)
