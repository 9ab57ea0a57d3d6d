"""The figures of a benchmark, from its records, the logs of its trainings and the predictions of its cells."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowshot.benchmarking.cell import Record, folder_of, slug
from lowshot.benchmarking.kinds import kinds
from lowshot.benchmarking.results import Row, rows
from lowshot.benchmarking.scans import by_scan
from lowshot.benchmarking.selection import by_device, by_system, present
from lowshot.benchmarking.tables import unit_of
from lowshot.evaluation.statistics import Summary
from lowshot.protocols.protocol import Protocol
from lowshot.reporting.box_plots import dice_boxes
from lowshot.reporting.dice_over import Reached, dice_over
from lowshot.reporting.tables_page import Picture
from lowshot.reporting.training_curves import Curve, training_curves
from lowshot.reporting.volume_agreement import volume_agreement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMON = "common folds"
BARS = "Mean Dice; bars: deviation over scans, each the mean over structures and seeds."


def chart_pictures(protocol: Protocol, records: Sequence[Record], root: Path) -> Iterator[Picture]:
    """All charts: of scores for each kind of rows and comparable part of the benchmark, then what is over all of it."""
    for kind, own in kinds(protocol, records):
        of_kind = kind.name.removeprefix(protocol.name)  # ", whole volume" where there are two
        for title, part in comparable_parts(kind, own).items():
            yield from _boxes(kind, title + of_kind, part)
            yield _over_minutes(kind, title + of_kind, part)
        yield from _over_shots(kind, own, of_kind)
    yield from _agreements(protocol, records)
    yield from _curves(protocol, records, root)


def comparable_parts(protocol: Protocol, records: Sequence[Record]) -> dict[str, list[Record]]:
    """Cells by fold; where each fold has its own new structure, the folds that all systems have together."""
    by_fold: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_fold[record["fold"]["name"]].append(record)
    ordered = {fold.name: by_fold[fold.name] for fold in protocol.folds if fold.name in by_fold}
    systems = set(present(protocol, records))
    shared = [name for name, part in ordered.items() if {record["system"] for record in part} == systems]
    if len(shared) > 1 and all(fold.new for fold in protocol.folds):
        return {COMMON: [record for name in shared for record in ordered[name]]}
    return ordered


def _boxes(protocol: Protocol, title: str, part: Sequence[Record]) -> Iterator[Picture]:
    """None where no Dice is defined."""
    found = rows(part)
    scores: dict[str, dict[str, list[float]]] = {}
    for structure in dict.fromkeys(row.structure for row in found):
        own = [row for row in found if row.structure == structure]
        by_system = {name: _over_seeds([row for row in own if row.system == name]) for name in present(protocol, part)}
        if any(by_system.values()):
            scores[structure] = by_system
    caption = (
        "Dice of every scan, the mean over seeds; boxes: middle half of the scans and median; whiskers: to the "
        "farthest scan within 1.5 box lengths."
    )
    if scores:
        yield as_picture(f"dice {title}.svg", f"Dice per structure, {title}", caption, dice_boxes(scores))


def _over_seeds(found: Sequence[Row]) -> list[float]:
    by_scan: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in found:
        by_scan[row.fold, row.case].append(row.dice)
    means = (Summary.of(each).mean for each in by_scan.values())
    return [mean for mean in means if not math.isnan(mean)]


def _over_minutes(protocol: Protocol, title: str, part: Sequence[Record]) -> Picture:
    def minutes(own: Sequence[Record]) -> float:
        return float(np.mean([record["training"]["seconds"] / 60 for record in own]))

    several = len(by_device(part)) > 1  # whose minutes are not the same
    systems = [
        (f"{name}, {device}" if several else name, [_reached(cells, minutes(cells))])
        for name, own in by_system(protocol, part).items()
        for device, cells in by_device(own).items()
    ]
    figure = dice_over(systems, "training (minutes)")
    return as_picture(f"dice over minutes {title}.svg", f"Dice over minutes of training, {title}", BARS, figure)


def _over_shots(protocol: Protocol, records: Sequence[Record], of_kind: str) -> Iterator[Picture]:
    """Where folds differ in how many scans are annotated."""
    shots = {fold.name: fold.shots for fold in protocol.folds}
    if len({shots[record["fold"]["name"]] for record in records}) < 2:
        return
    systems = []
    for name, own in by_system(protocol, records).items():
        parts = {count: [r for r in own if shots[r["fold"]["name"]] == count] for count in sorted(set(shots.values()))}
        systems.append((name, [_reached(part, float(count)) for count, part in parts.items() if part]))
    figure = dice_over(systems, "annotated scans", whole=True)
    title = f"Dice over the number of annotated scans{of_kind}"
    yield as_picture(f"dice over shots{of_kind}.svg", title, BARS, figure)


def _reached(own: Sequence[Record], cost: float) -> Reached:
    found = Summary.of(list(by_scan(rows(own)).values()))
    return Reached(cost, found.mean, found.std)


def _agreements(protocol: Protocol, records: Sequence[Record]) -> Iterator[Picture]:
    """One for each system whose records tell volumes, all of one unit."""
    caption = (
        "Solid: mean difference (bias); dashed: bias ± 1.96 standard deviations, between which 95 % of differences are "
        "expected; grey: no difference. Scans of all folds, each the mean over seeds."
    )
    for name, own in by_system(protocol, records).items():
        found = rows(own)
        units, volumes = {row.volume_unit for row in found}, _volumes(found)
        if len(units) == 1 and volumes:
            figure = volume_agreement(volumes, unit_of(protocol, own, "volume"))
            yield as_picture(f"volumes {name}.svg", f"Volumes against the truth, {name}", caption, figure)


def _volumes(found: Sequence[Row]) -> Mapping[str, list[tuple[float, float]]]:
    """Predicted and true volume of each structure in each scan of a fold, without those that are nowhere."""
    pairs: dict[str, dict[tuple[str, str], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in found:
        pairs[row.structure][row.fold, row.case].append(row)
    volumes = {
        structure: [(sum(r.volume_prediction for r in own) / len(own), own[0].volume_truth) for own in scans.values()]
        for structure, scans in pairs.items()
    }
    present = {structure: [each for each in scans if max(each) > 0] for structure, scans in volumes.items()}
    return {structure: scans for structure, scans in present.items() if scans}


def _curves(protocol: Protocol, records: Sequence[Record], root: Path) -> Iterator[Picture]:
    """Of each system's first cell that trained."""
    logged: dict[str, list[Curve]] = {}
    for name, own in by_system(protocol, records).items():
        logs = (folder_of(root, record) / "training" / "log.csv" for record in own)
        curves = next(filter(None, map(read_curves, logs)), None)
        if curves:
            logged[name] = curves
    if logged:
        caption = "Terms of the loss, means of ten steps, of each row's first training; stages follow each other."
        yield as_picture("training.svg", "Loss over steps", caption, training_curves(logged))


def read_curves(log: Path) -> list[Curve]:
    """The curves of a training's ``log.csv``; none where there is no such file or no step in it."""
    if not log.is_file():
        return []
    found: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for row in csv.DictReader(log.read_text(encoding="utf-8").splitlines()):
        found[row["stage"], row["term"]].append((int(row["step"]), float(row["value"])))
    return [
        Curve(stage, term, tuple(step for step, _ in points), tuple(value for _, value in points))
        for (stage, term), points in found.items()
    ]


def as_picture(name: str, title: str, caption: str, figure: "Figure") -> Picture:
    """The figure as the bytes of its file; the suffix of the name says of which kind."""
    from matplotlib import rc_context

    stem, _, suffix = name.rpartition(".")
    data = io.BytesIO()
    save = partial(figure.savefig, data, format=suffix)
    if suffix == "svg":
        with rc_context({"svg.hashsalt": "lowshot", "svg.fonttype": "none"}):  # the same each time, text as text
            save(metadata={"Date": None})
    else:
        save(dpi=100)
    return Picture(f"{slug(stem)}.{suffix}", title, caption, data.getvalue())
