"""Reading the table of label values and structure names, in the forms that people have it."""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

from lowshot.errors import UnknownLabel
from lowshot.imaging.names import Names
from lowshot.imaging.stored import require_file
from lowshot.wording import counted

BACKGROUND = ("background", "unknown", "clear label")
"""Names (in lower case) that other programs give to what is no structure."""

_VALUE, _NAME = ("value", "labelvalue", "index", "label"), "name"
"""Headings (in lower case): ours; of Slicer's colour tables, of BIDS, of spreadsheets."""

_EXPECTED = "'value<TAB>name' such as '1<TAB>liver' in every line, or columns with the headings value and name"

_CELL_MARKS = ("\t", ";", ",")
"""What separates cells, in which quotes have their meaning."""
_NO_MARK = "\x1f"
"""For a text that is one cell whatever it holds: a name cannot have this character."""

_COLOUR_TABLES = {
    "an ITK-SNAP label description": re.compile(r'(\d{1,99})(?:\s+[\d.]+){6}\s+"(.*)"'),
    "a FreeSurfer colour table": re.compile(r"(\d{1,99})\s+(\S+)(?:\s+\d+){4}"),
}
"""Lines of ITK-SNAP (value, red, green, blue, opacity, two times shown or not, "name") and of FreeSurfer (value, name,
red, green, blue, opacity). Of digits, Python makes no number of more than 4,300."""


def read_names(path: Path | str) -> Names:
    """The table of one of these files. The background is what is named so, else value 0.

    - text: one ``value name`` per line, a tab, comma, semicolon or space between them, the name in quotes or not; a
      line that begins with ``#`` is a comment;
    - ITK-SNAP's label descriptions, and FreeSurfer's colour tables;
    - CSV with the headings ``value`` (or Slicer's ``LabelValue``, BIDS' ``index``, or ``label``) and ``name``, in any
      order, beside any others;
    - JSON: nnU-Net's ``dataset.json`` (``"labels"``: names to values, or values to names), or that object alone.

    Raises:
        UnreadableFile: there is no such file.
        UnknownLabel: it is in none of these forms, a name or value occurs twice or is none that files can hold, or
            value 0 is a structure and no value is named background.
    """
    path = Path(path)
    require_file(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UnknownLabel(
            f"{path}: expected a text file of label values and names in UTF-8; save it as such"
        ) from None
    except OSError as error:
        raise UnknownLabel(
            f"{path}: expected a text file of label values and names, could not read it ({error})"
        ) from None
    rows = _json_rows(path, text) if path.suffix.lower() == ".json" else _text_rows(path, text)
    structures: dict[int, str] = {}
    for value, name in rows:
        if value in structures:
            raise UnknownLabel(f"{path}: label value {value} has two names, {structures[value]!r} and {name!r}")
        structures[value] = name
    if not structures:
        raise UnknownLabel(f"{path}: expected {_EXPECTED}, the file has none")
    background = _background(path, structures)
    try:
        return Names.of(structures, background)
    except UnknownLabel as error:
        raise UnknownLabel(f"{path}: {error}") from None


def _background(path: Path, structures: dict[int, str]) -> int:
    """The value named background; otherwise 0 if it is named unknown; otherwise what is; otherwise 0."""
    named = [value for value, name in structures.items() if name.lower() in BACKGROUND]
    if named:
        return min(named, key=lambda value: (BACKGROUND.index(structures[value].lower()) > 0, value != 0))
    if 0 in structures:
        raise UnknownLabel(
            f"{path}: value 0 is named {structures[0]!r} and no value is named background; name the value of the "
            "background 'background', and give a structure another value than that"
        )
    return 0


def _json_rows(path: Path, text: str) -> list[tuple[int, str]]:
    try:
        content = json.loads(text)
        labels = content.get("labels", content)
        return [_row(path, key, value) for key, value in labels.items()]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise UnknownLabel(f'{path}: expected JSON such as {{"labels": {{"background": 0, "liver": 1}}}}') from None


def _text_rows(path: Path, text: str) -> list[tuple[int, str]]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    for what, form in _COLOUR_TABLES.items():
        if any(form.fullmatch(line) for line in lines):
            return [_colour_row(path, what, form, line) for line in lines]
    mark = next((mark for mark in _CELL_MARKS if lines and mark in lines[0]), ",")
    headings = [cell.strip().lower() for cell in _cells(path, lines[0], mark)] if lines else []
    of_value = _heading_of_values(path, headings)
    if of_value is not None and _NAME in headings:
        value, name = headings.index(of_value), headings.index(_NAME)
        table = [cells for line in lines[1:] if len(cells := _cells(path, line, mark)) > max(value, name)]
        if len(table) != len(lines) - 1:
            short = counted(len(lines) - 1 - len(table), "row")
            raise UnknownLabel(
                f"{path}: expected a value and a name in every row below the headings {of_value} and {_NAME}, got "
                f"{short} with fewer cells; complete or remove them"
            )
        return [_row(path, cells[value], cells[name]) for cells in table]
    return [_row(path, *_value_and_name(path, line)) for line in lines]


def _heading_of_values(path: Path, headings: Sequence[str]) -> str | None:
    ours, *theirs = _VALUE
    found = [ours] if ours in headings else [heading for heading in theirs if heading in headings]
    if len(found) > 1 and _NAME in headings:
        raise UnknownLabel(
            f"{path}: expected one column of label values, got {' and '.join(found)}; call the one that is meant {ours}"
        )
    return found[0] if found else None


def _colour_row(path: Path, what: str, form: re.Pattern[str], line: str) -> tuple[int, str]:
    match = form.fullmatch(line)
    if match is None:
        raise UnknownLabel(f"{path}: expected every line to be one of {what}, as others in it are, got {line!r}")
    return int(match.group(1)), match.group(2)


def _cells(path: Path, line: str, mark: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])
    except csv.Error as error:
        raise UnknownLabel(f"{path}: expected {_EXPECTED}, got a {error}") from None


def _value_and_name(path: Path, line: str) -> tuple[str, str]:
    """``3<TAB>left kidney``, ``3 left kidney``, ``3,"kidney, left"``, ``3 = left kidney``: the first mark counts."""
    value, cells = line, [""]
    for mark in (*_CELL_MARKS, ":", "=", None):
        first, *rest = line.split(mark, 1)
        first = first.strip().strip('"')
        if rest and first.lstrip("-").isdecimal():
            value, cells = first, _cells(path, rest[0], mark if mark in _CELL_MARKS else _NO_MARK)
            break
    name, *further = (cell.strip() for cell in cells)
    if any(further):
        raise UnknownLabel(
            f"{path}: expected a value and a name, got further cells in {line!r}; write the headings value and name "
            "above their columns, or quotes around a name that holds the separator"
        )
    if not name:
        raise UnknownLabel(f"{path}: expected {_EXPECTED}, got {line!r}")
    return value, name


def _row(path: Path, one: object, other: object) -> tuple[int, str]:
    """(value, name), whichever of the two comes first."""
    for value, name in ((one, other), (other, one)):
        try:
            number = int(str(value))
        except ValueError:
            continue
        text = str(name).strip()
        if text:
            return number, text
    raise UnknownLabel(f"{path}: expected an integer label value and a name, got {one!r} and {other!r}")
