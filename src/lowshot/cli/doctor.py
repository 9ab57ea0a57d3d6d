"""``lowshot doctor``: what is wrong with files, before hours are spent on them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowshot.cli.options import AsJson, Channels, Colour, IgnoreValue, NamesFile, declared
from lowshot.cli.terminal import Terminal
from lowshot.errors import InputError
from lowshot.wording import listed

if TYPE_CHECKING:
    from lowshot.imaging.check import Finding
    from lowshot.imaging.names import Names
    from lowshot.inputs.scan_files import Declared
    from lowshot.inputs.table import Row

Paths = Annotated[
    list[str], typer.Argument(help="Scans: files, folders, patterns, DICOM folders, a CSV (with labels or without).")
]
Labels = Annotated[Path | None, typer.Option(help="Their label maps: a folder of files of the same names, or one.")]


def doctor(
    *,
    paths: Paths,
    labels: Labels = None,
    names: NamesFile = None,
    ignore_value: IgnoreValue = None,
    channels: Channels = None,
    colour: Colour = False,
    as_json: AsJson = False,
) -> None:
    """Check scans and label maps before hours are spent on them. The exit code is 2 if one cannot be used.

    lowshot doctor scans/ --labels labels/ --names names.txt
    """
    terminal = Terminal(as_json)

    from lowshot.imaging.check import Finding
    from lowshot.imaging.names_file import read_names

    table = read_names(names) if names else None
    todo = _rows(paths, labels, terminal)
    found, seen = dict[str, list[Finding]](), dict[str, str]()
    with terminal.progress.task("checking", len(todo)) as task:
        for row in todo:
            findings = found[row.scan.name] = _examine(row, table, ignore_value, declared(channels, colour), seen)
            if labels is not None and row.labels is None:
                findings.append(Finding("warning", f"{row.scan.name}: no label map of this name in {labels}"))
            task.advance()
    _report(found, terminal)


def _rows(words: Sequence[str], labels: Path | None, terminal: Terminal) -> "list[Row]":
    """Scans, each with the label map of the same name where there is one.

    Raises:
        InputError: there are label maps, and none has the name of a scan.
    """
    from lowshot.imaging.folders import label_files
    from lowshot.imaging.stored import require_file
    from lowshot.inputs.label_files import label_maps_of
    from lowshot.inputs.words import rows

    found = rows(words, terminal.progress.warn)
    if labels is None:
        return found
    require_file(labels)
    files = label_files(labels) if labels.is_dir() else [labels]
    scans = [row.scan for row in found]
    one_pair = len(scans) == len(files) == 1
    label_map = {scans[0].name: files[0]} if one_pair else label_maps_of(scans, files)
    if not label_map:
        raise InputError(
            f"{labels}: expected label maps with the names of scans ({listed([scan.name for scan in scans])}), found "
            f"{listed([path.name for path in files]) or 'none'}; rename them, or give a CSV with a column 'labels'"
        )
    unused = [path.name for path in files if path not in label_map.values()]
    if unused:
        terminal.progress.warn(f"{labels}: no scan has the name of {', '.join(unused[:10])}")
    return [replace(row, labels=label_map.get(row.scan.name)) for row in found]


def _examine(
    row: "Row", names: "Names | None", ignore_value: int | None, what: "Declared", seen: dict[str, str]
) -> "list[Finding]":
    """Findings about one scan; that it cannot be read, or that it was seen before, is one as well."""
    from lowshot.imaging.check import Finding, check, given_before
    from lowshot.inputs.task_files import read_labelled_row

    try:
        if row.labels is None:
            scan = row.scan.read(what)
            return [*check(scan), *given_before(scan, seen)]
        labelled = read_labelled_row(row, names, ignore_value, what)
        return [*check(labelled), *given_before(labelled.scan, seen)]
    except InputError as error:
        return [Finding("error", str(error))]


def _report(found: "dict[str, list[Finding]]", terminal: Terminal) -> None:
    lines = [f"{finding.severity}: {finding.message}" for findings in found.values() for finding in findings]
    faulty = [name for name, findings in found.items() if any(each.severity == "error" for each in findings)]
    data = {
        name: [{"severity": each.severity, "message": each.message} for each in findings]
        for name, findings in found.items()
    }
    terminal.result(data, *lines, f"{len(found) - len(faulty)} of {len(found)} scans can be used")
    if faulty:
        raise InputError(f"{len(faulty)} of {len(found)} scans cannot be used: {', '.join(faulty)}")
