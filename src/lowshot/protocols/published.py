"""The figures that papers print: ``published.csv``, one line for each method, structure and metric."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from lowshot.protocols.protocol import Protocol, Published


@dataclass(frozen=True)
class Figure:
    """One published figure."""

    paper: str
    table: str
    dataset: str
    setting: str
    method: str
    structure: str
    metric: str
    unit: str
    mean: float
    std: float | None
    min: float | None
    max: float | None
    note: str


@cache
def figures() -> Sequence[Figure]:
    """Every published figure."""
    with files("lowshot.protocols").joinpath("published.csv").open(encoding="utf-8") as file:
        return tuple(_figure(row) for row in csv.DictReader(file))


def published(protocol: Protocol, where: Published, metric: str, structure: str) -> Figure | None:
    """The figure that a table prints; None where it prints none.

    Raises:
        ValueError: the table prints several, so that ``where`` needs a setting.
    """
    found = [each for each in _row(protocol, where) if (each.metric, each.structure) == (metric, structure)]
    if len(found) > 1:
        settings = ", ".join(sorted({figure.setting for figure in found}))
        raise ValueError(f"{protocol.paper}, table {where.table}: {where.method} is printed under {settings}")
    return found[0] if found else None


def notes_of(protocol: Protocol, where: Published) -> set[str]:
    """What is said of the figures of one row of a table."""
    return {figure.note for figure in _row(protocol, where)} - {""}


def _row(protocol: Protocol, where: Published) -> list[Figure]:
    place = (protocol.paper, where.table, protocol.dataset, where.method)
    return [
        figure
        for figure in figures()
        if (figure.paper, figure.table, figure.dataset, figure.method) == place
        and where.setting in (None, figure.setting)
    ]


def _figure(row: dict[str, str]) -> Figure:
    numbers = {name: float(row[name]) if row[name] else None for name in ("mean", "std", "min", "max")}
    words = {name: row[name] for name in Figure.__dataclass_fields__ if name not in numbers}
    return Figure(**words, **numbers)  # type: ignore[arg-type]
