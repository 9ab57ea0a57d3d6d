"""``lowshot datasets``: the public data sets whose layouts are known, and which of them a folder holds."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowshot.cli.options import AsJson
from lowshot.cli.terminal import Terminal
from lowshot.errors import InputError

if TYPE_CHECKING:
    from lowshot.datasets.reader import Found

GENERAL = {
    "plain": "images/CASE and labels/CASE with names.txt, in any format",
    "nnunet": "nnU-Net's raw data set: dataset.json, imagesTr/CASE_0000, labelsTr/CASE",
    "table": "cases.csv, which lists the files of each case",
}
"""Layouts that say by themselves what they hold."""

Folder = Annotated[Path | None, typer.Argument(help="A folder that may hold some of them, at any depth.")]


def datasets(*, path: Folder = None, as_json: AsJson = False) -> None:
    """List public data sets: licence, where to get each; with PATH, which are there and whether they are complete.

    Nothing is downloaded. Example: lowshot datasets downloads/
    """
    from lowshot.datasets.table import DATASETS, IMAGE_N
    from lowshot.reporting.tables import Column, Table

    terminal = Terminal(as_json)
    if path is None:
        listed = {
            name: {
                **{"title": each.title, "modality": each.modality, "licence": each.licence, "source": each.source},
                **{"cases": each.cases, "structures": list(each.structures.values())},
            }
            for name, each in DATASETS.items()
        }
        columns = tuple(Column(heading, numeric=False) for heading in ("name", "what", "licence", "where to get it"))
        rows = [(name, f"{d.title}; {d.modality}", d.licence, d.source) for name, d in DATASETS.items()]
        rows += [(name, layout, "yours", "your own scans") for name, layout in GENERAL.items()]
        terminal.result(
            listed | {name: {"title": layout} for name, layout in GENERAL.items()},
            Table(columns, tuple(rows), "Public data sets, and general layouts, that are known"),
        )
        return

    from lowshot.datasets.reader import find_cases

    data, there = dict[str, dict[str, object]](), list[tuple[str, str]]()
    for name, each in DATASETS.items():
        found, told = find_cases(each, path), ""
        if each == IMAGE_N and found.cases:
            found, told = _as_copy(found)
        if found.cases or found.problems:
            expected, problems = found.dataset.cases, list(found.problems.values())
            data[name] = {"cases": list(found.cases), "expected": expected, "problems": problems}
            there.append((name, told + found.summary))
    for layout, cases, problems in _general(path):
        data[layout] = {"cases": cases, "expected": None, "problems": problems}
        there.append((layout, "; ".join(problems) or f"{len(cases)} cases"))
    if not there:
        raise InputError(
            f"{path}: none of {', '.join(DATASETS)} is recognised here; see 'lowshot datasets' for where each comes "
            "from, and keep the folders and names in which it is distributed. Scans of your own: 'lowshot doctor'"
        )
    columns = (Column("name", numeric=False), Column("what is there", numeric=False))
    terminal.result(data, Table(columns, tuple(there), str(path)))


def _as_copy(found: "Found") -> tuple["Found", str]:
    """Numbered copies as those of the data set that their values tell, and its title."""
    from lowshot.datasets.layouts import whose_copy

    try:
        copy = whose_copy(found)
    except InputError as error:  # of one file, which is no reason to tell nothing of the others
        return found, f"{error}; "
    title = "image_N, label_N, and names.txt has to say what values mean" if copy is None else copy.title
    unknown = replace(found.dataset, cases=None)
    return replace(found, dataset=copy or unknown), f"{title}: "


def _general(path: Path) -> list[tuple[str, list[str], list[str]]]:
    """Layout, cases and problems, where the folder itself is in one that says by itself what it holds."""
    from lowshot.inputs.base_files import DATASET, base_files
    from lowshot.inputs.table import TABLE

    read = path
    if (path / TABLE).is_file():
        layout, read = "table", path / TABLE
    elif (path / DATASET).is_file():
        layout = "nnunet"
    elif (path / "images").is_dir() and (path / "labels").is_dir():
        layout = "plain"
    else:
        return []
    try:
        return [(layout, [row.scan.name for row in base_files(read).rows], [])]
    except InputError as error:
        return [(layout, [], [str(error)])]
