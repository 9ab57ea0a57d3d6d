"""A CSV with one row for each scan.

Columns: ``image``, or one column per channel, headed by its name; ``name`` (optional). Annotated scans also have
``labels`` and, where only part of a scan is annotated, ``annotated_slice`` (``12``, or ``axis:index`` such as ``0:88``,
in the label file's own order) or ``annotated`` (the structures that were looked for, ``liver;spleen``). Relative paths
start at the table's folder.
"""

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lowshot.errors import InputError
from lowshot.imaging.dicom import split_series
from lowshot.imaging.names import is_legible
from lowshot.imaging.stored import require_file
from lowshot.inputs.scan_files import ScanFiles

TABLE = "cases.csv"
"""What such a file is called where a folder is given."""
RESERVED = ("image", "name", "labels", "annotated_slice", "annotated")
_TYPO = 0.8
"""How alike (0 to 1) a heading without an image column has to be to one of these to be taken for a typing error."""
_SEPARATOR = re.compile(r"\Asep=.\r?\n")
"""By which Excel is told how cells are separated."""
Slice = int | tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One scan of a table."""

    scan: ScanFiles
    labels: Path | None = None
    annotated_slice: Slice | None = None
    annotated: frozenset[str] | None = None


def read_table(path: Path) -> list[Row]:
    """The rows of a table.

    Raises:
        UnreadableFile: there is no such file.
        InputError: it is no CSV, a column that cannot be or names no file, a row without an image; the message names
            file and line.
    """
    require_file(path)
    with _reading(path):
        text = _SEPARATOR.sub("", path.read_text(encoding="utf-8-sig"))
        heading = text.partition("\n")[0]
        delimiter = next((mark for mark in "\t;," if mark in heading), ",")
        table = csv.DictReader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
        columns = [(column or "").strip() for column in table.fieldnames or ()]
        while columns and not columns[-1]:  # a spreadsheet's empty columns; what stands below has no heading
            columns.pop()
        channels = _channel_columns(path, columns)
        table.fieldnames = columns
        lines = ((table.line_num, cells) for cells in table)
        rows = [_row(f"{path}, line {n}", path.parent, cells, channels) for n, cells in lines if _holds_any(cells)]
    if not rows:
        raise InputError(f"{path}: expected one row for each scan below the headings, it has none")
    for channel in channels:
        _require_some_file(
            path, channel, [row.scan.paths[channel] for row in rows if isinstance(row.scan.paths, Mapping)]
        )
    return rows


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, OSError, csv.Error) as error:
        if isinstance(error, UnicodeDecodeError):
            raise InputError(f"{path}: expected a CSV in UTF-8; save it as such (in Excel: CSV UTF-8)") from None
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: expected a CSV, could not read it ({reason})") from None


def _channel_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """The columns that name channels; none where there is an ``image`` column."""
    if len(set(columns)) < len(columns) or "" in columns:
        raise InputError(f"{path}: expected a different heading for every column, got {', '.join(columns)}")
    others = [column for column in columns if column not in RESERVED]
    illegible = [column for column in others if not is_legible(column)]
    if illegible:
        raise InputError(f"{path}: the heading {illegible[0]!r} holds control characters; write it without them")
    if "image" in columns and others:
        close = get_close_matches(others[0], [each for each in RESERVED if each not in columns], n=1, cutoff=_TYPO)
        raise InputError(
            f"{path}: beside 'image' no column {others[0]!r} is known"
            + (f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(RESERVED)}")
        )
    for column in others:
        close = get_close_matches(column.lower(), RESERVED, n=1, cutoff=_TYPO)
        if close and column.isalpha():  # image1 and image_2 are channels
            raise InputError(f"{path}: no column {column!r} is known; did you mean {close[0]}?")
    if "image" not in columns and not others:
        raise InputError(f"{path}: expected a column 'image', or one for each channel; got {', '.join(columns)}")
    return others


def _require_some_file(path: Path, column: str, files: Sequence[Path]) -> None:
    """A column of ages is no channel; a single missing file is told when it is read."""
    if not any(os.path.exists(split_series(file)[0]) for file in files):  # unlike Path.exists, of any length
        raise InputError(
            f"{path}: column {column!r} is taken for a channel, but in no row does it name a file that exists (the "
            f"first would be {files[0]}); correct the paths, or remove the column"
        )


def _row(where: str, folder: Path, cells: Mapping[str | Any, str | Any], channels: Sequence[str]) -> Row:
    if any(cells.get(None, ())):  # where the reader puts what is left over
        raise InputError(f"{where}: more cells than headings; quote paths that contain the delimiter")
    words = {key: (value or "").strip() for key, value in cells.items() if key is not None}
    empty = [column for column in channels or ["image"] if not words[column]]
    if empty:
        raise InputError(f"{where}: no path in column {', '.join(empty)}")
    paths = {channel: folder / os.path.expanduser(words[channel]) for channel in channels}
    scan = ScanFiles.of(paths or folder / os.path.expanduser(words["image"]), words.get("name") or None)
    labels = words.get("labels")
    looked_for = words.get("annotated", "")
    return Row(
        scan,
        labels=folder / os.path.expanduser(labels) if labels else None,
        annotated_slice=parse_slice(words.get("annotated_slice", ""), where),
        annotated=frozenset(name.strip() for name in looked_for.split(";") if name.strip()) or None,
    )


def _holds_any(cells: Mapping[str | Any, Any]) -> bool:
    """Whether a row is more than a spreadsheet's empty one."""
    return any("".join(value or ()).strip() for value in cells.values())


def parse_slice(word: str, where: str) -> Slice | None:
    """``12`` (along the third axis) or ``0:88`` (axis, index), both from 0; None for an empty word."""
    try:
        numbers = [int(part) for part in word.split(":")] if word else []
    except ValueError:
        numbers = [0, 0, 0]
    if len(numbers) > 2:
        raise InputError(f"{where}: expected the annotated slice as INDEX or AXIS:INDEX, counted from 0, got {word!r}")
    return (numbers[0], numbers[1]) if len(numbers) == 2 else numbers[0] if numbers else None
