"""``lowshot methods``: what there is, and what can be set."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lowshot import catalogue
from lowshot.cli.options import AsJson
from lowshot.cli.terminal import Terminal
from lowshot.settings import about

if TYPE_CHECKING:
    from lowshot.reporting.tables import Table

SOURCES = ("paper", "code", "ours")
"""What is said of a setting begins with one of these where its default is somebody's."""
PRESETS = (
    f"(fit takes the preset {catalogue.DEFAULT_PRESET} unless told. Where a preset's cell is empty, or a preset has no "
    "column, 'default' holds.)"
)

Name = Annotated[str | None, typer.Argument(help="Show what can be set for this method.")]


def methods(*, name: Name = None, as_json: AsJson = False) -> None:
    """List the methods; with a name, its settings, presets and options.

    Settings are changed with --set: lowshot fit … --method unet --set batch=8 --set mirror=true
    """
    terminal = Terminal(as_json)
    if name is None:
        _list(terminal)
    else:
        _describe(name, terminal)


def _list(terminal: Terminal) -> None:
    """All methods. Nothing heavy is imported for it."""
    presets = {name: list(catalogue.presets(name)) for name in catalogue.CATALOGUE}
    listed = {
        name: {"summary": entry.summary, "presets": presets[name], "extra": entry.extra}
        for name, entry in catalogue.CATALOGUE.items()
    }
    width = max(map(len, listed))
    lines = [
        f"{name:{width}}  {entry.summary}\n{'':{width}}  presets: {', '.join(presets[name])}"
        for name, entry in catalogue.CATALOGUE.items()
    ]
    terminal.result(listed, *lines)


def _describe(name: str, terminal: Terminal) -> None:
    entry, presets = catalogue.entry(name), catalogue.presets(name)
    method = type(catalogue.create(name, entry.settings))
    settings, options = _fields(method, entry.settings), _fields(method.Options, {})
    data = {
        "method": name,
        "summary": entry.summary,
        "settings": settings,
        "presets": {preset: dict(values) for preset, values in presets.items()},
        "options": options,
    }
    shown: list[str | Table] = [_table("Settings (lowshot fit --set)", settings, presets), PRESETS, *_about(settings)]
    if options:
        shown += [_table("Options (lowshot segment --set)", options, {}), *_about(options)]
    terminal.result(data, f"{name}: {entry.summary}", *shown)


def _fields(cls: Any, changed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Type and default of every field of a dataclass, and what its source says of it."""
    described, told = {}, about(cls)
    for field in fields(cls):
        kind = field.type.__name__ if type(field.type) is type else str(field.type)
        default = None if field.default is MISSING else field.default
        kind = kind.replace("typing.", "")
        described[field.name] = {
            "type": kind,
            "default": changed.get(field.name, default),
            "about": told.get(field.name, ""),
        }
    return described


def _about(described: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each field, and where such defaults come from that say it."""
    width = max(map(len, described))
    lines = [f"{name:{width}}  {field['about']}" for name, field in described.items()]
    if any(field["about"].startswith(SOURCES) for field in described.values()):
        lines.append("(paper, code, ours: where the default comes from; code is what the paper's authors published)")
    return lines


def _table(title: str, described: Mapping[str, Mapping[str, Any]], presets: Mapping[str, Mapping[str, Any]]) -> "Table":
    """A row for each field; of a preset, what it changes."""
    from lowshot.reporting.tables import Column, Table

    changing = {preset: values for preset, values in presets.items() if values}
    headings = ("name", "type", "default", *changing)
    rows = (
        (
            name,
            field["type"],
            _word(field["default"]),
            *(_word(values[name]) if name in values else "" for values in changing.values()),
        )
        for name, field in described.items()
    )
    return Table(tuple(Column(heading, numeric=False) for heading in headings), tuple(rows), title)


def _word(value: Any) -> str:
    """A value as ``--set`` takes it: JSON, or a plain word."""
    import json

    return value if isinstance(value, str) else json.dumps(value)
