"""From files to a task: annotated scans now, the unlabelled pool and the base only when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar, overload

import numpy as np
import torch

from lowshot.errors import EmptySupport
from lowshot.imaging.label_maps import read_labelled
from lowshot.imaging.laterality import Mirror, mirror_pairs
from lowshot.imaging.names import Names, merged
from lowshot.imaging.scan import LabelledScan
from lowshot.inputs.base_files import NO_BASE, BaseFiles
from lowshot.inputs.scan_files import NOTHING_DECLARED, Declared, ScanFiles
from lowshot.inputs.table import Row
from lowshot.task import LowShotTask

F = TypeVar("F")
T = TypeVar("T")


@dataclass(frozen=True)
class TaskFiles:
    """The files that a task is made of."""

    support: Sequence[Row]
    unlabelled: Sequence[ScanFiles] = ()
    base: BaseFiles = NO_BASE

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file or folder, images before their label maps."""
        rows = (*self.support, *self.base.rows)
        annotated = (path for row in rows for path in (*row.scan.all_paths, row.labels) if path is not None)
        return (*annotated, *(path for scan in self.unlabelled for path in scan.all_paths))


def read_task(
    files: TaskFiles,
    *,
    names: Names | None = None,
    ignore_value: int | None = None,
    declared: Declared = NOTHING_DECLARED,
    mirror: Mirror = "auto",
) -> LowShotTask:
    """Read the annotated scans; the pool and the base are read one by one, when a method asks for them.

    Without ``names`` each label value found is a structure ("label 5"). Structures of the base are others than those
    to be learned and have their own names; where no annotated scan is given beside it, ``names`` are the base's.

    Raises:
        InputError: a file that cannot be used, or a row without labels.
    """
    support = [read_labelled_row(row, names, ignore_value, declared) for row in files.support]
    support = _with_same_names(support)
    base, its_names = files.base, (files.base.names if support else names or files.base.names)
    its_ignored = ignore_value if base.ignore_value is None else base.ignore_value
    names = support[0].truth.names if support else Names(("background",), (0,))
    return LowShotTask(
        names,
        support,
        unlabelled=ReadWhenAsked(lambda scan: scan.read(declared), files.unlabelled),
        base=ReadWhenAsked(lambda row: read_labelled_row(row, its_names, its_ignored, declared), base.rows),
        mirror_pairs=mirror_pairs(names, support, mirror),
    )


class ReadWhenAsked(Sequence[T], Generic[F, T]):
    """Reads an item each time it is indexed, so that a pool need not fit in memory."""

    def __init__(self, read: Callable[[F], T], files: Sequence[F]) -> None:
        self._read, self._files = read, files

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, position: int) -> T: ...
    @overload
    def __getitem__(self, position: slice) -> "ReadWhenAsked[F, T]": ...
    def __getitem__(self, position: int | slice) -> "T | ReadWhenAsked[F, T]":
        if isinstance(position, slice):
            return ReadWhenAsked(self._read, self._files[position])
        return self._read(self._files[position])


def read_labelled_row(
    row: Row, names: Names | None, ignore_value: int | None = None, declared: Declared = NOTHING_DECLARED
) -> LabelledScan:
    """One annotated scan.

    Raises:
        EmptySupport: no label map is given for it, or its image once more.
        InputError: a file that cannot be used.
    """
    if row.labels is None:
        image = row.scan.all_paths[0]
        raise EmptySupport(f"{image}: expected a label map beside the image (in a CSV: column 'labels')")
    if row.labels in row.scan.all_paths:
        raise EmptySupport(f"{row.labels}: given as the image and as its label map; give two files")
    return read_labelled(
        row.scan.paths,
        row.labels,
        names=names,
        ignore_value=ignore_value,
        annotated_slice=row.annotated_slice,
        annotated=row.annotated,
        name=row.scan.name,
        channels=(row.scan.channels or declared.channels) if isinstance(row.scan.paths, Path) else None,
        colour=declared.colour,
    )


def _with_same_names(support: Sequence[LabelledScan]) -> list[LabelledScan]:
    """Scans whose names came from what was found in each get one table for all of them."""
    tables = [labelled.truth.names for labelled in support]
    if all(table == tables[0] for table in tables):
        return list(support)
    names = merged(tables)
    return [_renamed(labelled, names) for labelled in support]


def _renamed(labelled: LabelledScan, names: Names) -> LabelledScan:
    """The same structures by another table, which has all of them."""
    truth = labelled.truth
    table = np.array([names.find(name) for name in truth.names.names], dtype=np.int16)
    annotated = labelled.annotated and frozenset(names.names[names.find(name) or 0] for name in labelled.annotated)
    truth = replace(truth, labels=torch.from_numpy(table[truth.labels.numpy()]), names=names)
    return replace(labelled, truth=truth, annotated=annotated)
