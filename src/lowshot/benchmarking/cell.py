"""One cell of a benchmark, system × fold × seed, and the folder in which it is computed.

cells/SYSTEM/FOLD/seed-0/
  request.json       what was asked for; the same again goes on, another is refused
  training/          plan, log, and checkpoints until the model is saved
  training.json      what training cost, and the commit that trained
  model.safetensors  the last of the training: a row that borrows another's model has none of these three
  predictions/CASE.nii.gz
  cases/CASE.json    scores of one segmented scan, and what it cost
  record.json        the finished cell; what the tables are made of
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowshot import catalogue
from lowshot.atomic import atomic_path, remove_leftovers
from lowshot.benchmarking.new_structure import cut, granted_range, within
from lowshot.contract import Model
from lowshot.errors import SettingsError, UnreadableFile
from lowshot.imaging.preparation import Prepared
from lowshot.imaging.scan import LabelledScan
from lowshot.inference.predict import prepare
from lowshot.progress import Progress
from lowshot.protocols.protocol import Fold, Protocol, System
from lowshot.training.differences import differences

RECORD, MODEL = "record.json", "model.safetensors"
Record = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """What is trained on one fold with one seed."""

    protocol: Protocol
    name: str
    """Of the system, in the tables."""
    system: System
    fold: Fold
    seed: int

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.name}, {self.fold.name}, seed {self.seed}"

    @property
    def trained(self) -> "Cell":
        """The cell whose model this one segments with: itself, unless its row borrows another's.

        A method that does not look at the pool learns once for all folds that differ in it alone.
        """
        row = self._of_row(self.system.model_of)
        if "unlabelled" in catalogue.entry(row.system.method).uses:
            return row
        alike = (fold for fold in self.protocol.folds if _without_pool(fold) == _without_pool(self.fold))
        return replace(row, fold=next(alike, self.fold))

    @property
    def paced(self) -> "Cell":
        """The cell as many steps as whose this one trains: itself, unless its row names another."""
        return self._of_row(self.system.as_long_as)

    def _of_row(self, other: str | None) -> "Cell":
        return self if other is None else replace(self, name=other, system=self.protocol.systems[other])

    def folder(self, root: Path) -> Path:
        """Where it is computed."""
        return _folder(root, self.name, self.fold.name, self.seed)

    def prepared(self, model: Model, query: LabelledScan) -> Prepared:
        """A query as the cell's model sees it: cut to the new structure's slices where its row is granted them."""
        whole = prepare(model, query.scan)
        if not self.system.granted:
            return whole
        return cut(whole, self._granted(query))

    def scored(self, query: LabelledScan) -> LabelledScan:
        """A query as it is scored: what lies beyond a range that is granted was cut away before it was segmented."""
        if not self.system.granted:
            return query
        return within(query, self._granted(query))

    def _granted(self, query: LabelledScan) -> slice:
        return granted_range(query, self.fold.new, self.protocol.granted_above)


def _without_pool(fold: Fold) -> Fold:
    """What a method sees of a fold that does not look at its pool."""
    return replace(fold, name="", queries=(), unlabelled=())


def cells_to_picture(asked: Sequence[Cell], systems: Sequence[str], option: str) -> list[Cell]:
    """The first cell of each of these systems: of its first fold and seed.

    Raises:
        SettingsError: no cell of such a system is asked for; the message names the option that did.
    """
    first = {cell.name: cell for cell in reversed(asked)}
    unknown = [name for name in systems if name not in first]
    if unknown:
        raise SettingsError(f"{option}: expected some of {', '.join(sorted(first))}; got {', '.join(unknown)}")
    return [first[name] for name in systems]


def finished(pictured: Sequence[Cell], root: Path, progress: Progress, picture: str) -> list[Cell]:
    """Those that are, after telling which are not and so are missing in this picture."""
    done = [cell for cell in pictured if (cell.folder(root) / RECORD).exists()]
    for cell in pictured:
        if cell not in done:
            progress.warn(f"{cell.title}: not finished, so it is not in the picture of {picture}")
    return done


def begin(folder: Path, request: Mapping[str, Any], restart: bool) -> None:
    """Make a cell's folder ready: to go on with the same request, or anew.

    Raises:
        SettingsError: the folder holds a cell that was asked for otherwise; the message says in what it differs.
    """
    path = folder / "request.json"
    asked = as_json(request)
    if path.exists():
        found = differences(read_json(path), asked)
        if not found:
            return
        if not restart:
            raise SettingsError(
                f"{folder} was computed for something else: {'; '.join(found[:4])}. Choose another folder, "
                "or compute what has changed anew with --restart"
            )
    path.unlink(missing_ok=True)  # first: what a kill leaves of the folder must not pass for the old cell
    if folder.exists():
        shutil.rmtree(folder)
    write_json(path, asked)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        UnreadableFile: no such file, or something else in it.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableFile(f"{path}: expected a JSON object, could not read it: {error}") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all. For the process that has the cell to itself."""
    remove_leftovers(path)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def as_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content as it would be read from a file: JSON turns tuples into lists."""
    return dict(json.loads(json.dumps(dict(content))))


def folder_of(root: Path, record: Record) -> Path:
    """Where the cell of a record was computed."""
    return _folder(root, record["system"], record["fold"]["name"], record["seed"])


def _folder(root: Path, system: str, fold: str, seed: int) -> Path:
    return root / "cells" / slug(system) / slug(fold) / f"seed-{seed}"


def slug(name: str) -> str:
    """A name as a folder's: letters and digits."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
