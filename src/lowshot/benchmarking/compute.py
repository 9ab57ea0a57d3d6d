"""Computing one cell: train, segment every query, score. Killed at any time, the same call goes on where it was."""

import csv
import math
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from lowshot import catalogue, fitting
from lowshot.atomic import remove_leftovers
from lowshot.benchmarking.cases import Cases
from lowshot.benchmarking.cell import MODEL, RECORD, Cell, Record, as_json, begin, read_json, write_json
from lowshot.benchmarking.results import all_settings, chosen, plain_fold
from lowshot.errors import SettingsError
from lowshot.evaluation.evaluate import evaluate_case
from lowshot.evaluation.scores import Score
from lowshot.imaging.files import write_segmentation
from lowshot.inference.footprint import (
    forget_highest_of_gpus,
    forget_highest_resident,
    highest_of_gpus,
    highest_resident_bytes,
)
from lowshot.inference.predict import predict_prepared
from lowshot.model_file import Fitted, load
from lowshot.progress import Progress
from lowshot.protocols.protocol import VARIANTS, Measure
from lowshot.segmenting import options_of
from lowshot.training.plan import Plan, Precision
from lowshot.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how long a cell may compute."""

    preset: str
    steps: int | None = None
    minutes: float | None = None
    device: str = "auto"
    precision: Precision | Literal["auto"] = "auto"
    threads: int | None = None

    def precision_for(self, fitted: Fitted) -> Precision:
        """As it was trained, unless told otherwise: a measurement on a busy machine must not decide between cells."""
        trained: Precision = fitted.provenance["plan"]["precision"]
        return trained if self.precision == "auto" else self.precision


def request_of(cell: Cell, cases: Cases, how: Machine) -> Record:
    """What must be the same for a cell to go on, or to count as finished."""
    preset = cell.protocol.preset_of(cell.system, how.preset)
    settings = catalogue.settings(cell.system.method, preset, cell.system.settings)
    return {
        "protocol": cell.protocol.name,
        "system": cell.name,
        "method": cell.system.method,
        "preset": preset,
        "settings": all_settings(cell.system.method, settings),
        "fold": plain_fold(cell.fold),
        "seed": cell.seed,
        "steps": how.steps,
        "minutes": how.minutes,
        "device": how.device,
        "precision": how.precision,
        **chosen(cell.protocol, cell.system),
        "names": cases.digest_of_names,
        "data": cases.digests([*cell.fold.support, *cell.fold.base, *cell.fold.queries])
        | cases.digests(cell.fold.unlabelled, labels=False),
    }


def compute(cell: Cell, cases: Cases, root: Path, how: Machine, *, restart: bool, progress: Progress) -> Record:
    """The record of a cell: computed, or read where it is finished.

    Raises:
        SettingsError: the folder holds a cell that was asked for otherwise.
        LowshotError: whatever training, segmenting or scoring raise.
    """
    folder, request = cell.folder(root), request_of(cell, cases, how)
    begin(folder, request, restart)
    if (folder / RECORD).exists():
        return read_json(folder / RECORD)
    trained = cell.trained
    fitted = _trained(trained, cases, root, how, restart=restart, progress=progress)
    scored = [_scored(fitted, cell, cases, case, folder, how) for case in _told(cell.fold.queries, progress)]
    segmented = {"segmented_with": as_json(asdict(options_of(fitted, cell.system.options))), "cases": scored}
    record = {**request, "training": read_json(trained.folder(root) / "training.json"), **segmented}
    write_json(folder / RECORD, {**record, "provenance": dict(fitted.provenance)})
    return read_json(folder / RECORD)


def _trained(cell: Cell, cases: Cases, root: Path, how: Machine, *, restart: bool, progress: Progress) -> Fitted:
    """The cell's model, as it was saved: so that a resumed cell segments with the very same."""
    folder, request = cell.folder(root), request_of(cell, cases, how)
    begin(folder, request, restart)
    model, training, commit = folder / MODEL, folder / "training", commit_of_the_code()
    if not model.exists():
        _forget_peaks()
        fitted = fitting.fit(
            cases.task(cell.fold, cell.seed),
            cell.system.method,
            request["preset"],
            steps=how.steps,
            minutes=how.minutes,
            settings=cell.system.settings,
            seed=cell.seed,
            device=how.device,
            precision=how.precision,
            threads=how.threads,
            folder=training,
            files=cases.digests([*cell.fold.support, *cell.fold.base])
            | cases.digests(cell.fold.unlabelled, labels=False),
            plan=_plan_to_follow(cell, cases, root, how) if how.minutes is not None else None,
            progress=progress,
        )
        cost = {"seconds": _logged_seconds(training / "log.csv")} | _peaks()
        write_json(folder / "training.json", cost | {"commit": commit})
        fitted.save(model)  # last: with it the checkpoints go, and the cell counts as trained
    return load(model)


def _plan_to_follow(cell: Cell, cases: Cases, root: Path, how: Machine) -> Plan | None:
    """Minutes become steps once: further seeds, and rows as long as another, take as many as one that is trained.

    Raises:
        SettingsError: of the row that this one is as long as, no model is trained yet.
    """
    asked = as_json({**request_of(cell.paced, cases, how), "seed": None})
    for other in sorted(cell.paced.folder(root).parent.glob("seed-*")):
        if (other / MODEL).exists() and {**read_json(other / "request.json"), "seed": None} == asked:
            return Plan.read(other / "training" / "plan.json")
    if cell.system.as_long_as is not None:
        raise SettingsError(f"trains as long as {cell.paced.name}, of which no model is there yet; compute that first")
    return None


def _logged_seconds(log: Path) -> float:
    """What the stages of a training took, parts before a kill included."""
    rows = list(csv.DictReader(log.read_text().splitlines())) if log.exists() else []
    return sum({row["stage"]: float(row["seconds"]) for row in rows}.values(), 0.0)


def _scored(fitted: Fitted, cell: Cell, cases: Cases, case: str, folder: Path, how: Machine) -> Record:
    """One query, segmented and scored; read where that was done before."""
    path = folder / "cases" / f"{case}.json"
    if path.exists():
        return read_json(path)
    query, model = cases.query(case, cell.fold.new), fitted.segmenter()
    options = options_of(fitted, cell.system.options)
    layout = fitted.provenance["plan"]["memory_format"]  # as trained: nothing is measured within a scan's time
    run = Run(device=how.device, precision=how.precision_for(fitted), memory_format=layout, threads=how.threads)
    _forget_peaks()
    start = time.perf_counter()
    result = predict_prepared(model, query.scan, cell.prepared(model, query), run, options)
    cost = {"seconds": time.perf_counter() - start} | _peaks()
    prediction = folder / "predictions" / f"{case}.nii.gz"
    remove_leftovers(prediction)
    write_segmentation(result.segmentation, prediction, query.scan.source)
    expected = {name: None if quality is None else quality.expected_dice for name, quality in result.quality.items()}
    variants = [each for each in VARIANTS if each in cell.protocol.measures]
    every = evaluate_case(result.segmentation, cell.scored(query), case, expected, variants=bool(variants)).scores
    only = cell.protocol.scored
    scores = [_row(score, variants) for score in every if not only or score.structure in only]
    folds = {} if result.folded is None else {"folded": result.folded}
    made = {"commit": commit_of_the_code(), "machine": fitting.machine_of(run), "threads": how.threads}
    write_json(path, {"case": case, **cost, **folds, "segmented": made, "scores": scores})
    return read_json(path)


def _forget_peaks() -> None:
    forget_highest_resident()
    forget_highest_of_gpus()


def _peaks() -> dict[str, int]:
    """Of the process's memory, and of a GPU's own where one is used, since ``_forget_peaks``."""
    of_gpus = highest_of_gpus()
    return {"peak_bytes": highest_resident_bytes()} | ({} if of_gpus is None else {"peak_gpu_bytes": of_gpus})


def _row(score: Score, variants: Sequence[Measure]) -> Mapping[str, Any]:
    """Plain values of JSON, which knows no NaN; six digits are more than a score is worth."""
    left_out = {"case", "missing", *VARIANTS}.difference(variants)
    return {key: _plain(value) for key, value in asdict(score).items() if key not in left_out}


def _plain(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 6)


def _told(queries: Sequence[str], progress: Progress) -> Iterator[str]:
    with progress.task("queries", len(queries)) as task:
        for case in queries:
            yield case
            task.advance()


@cache
def commit_of_the_code() -> str | None:
    """Of the code that computes, where it runs from a checkout: as it was when this process began to compute."""
    try:
        words = ["git", "-C", os.path.dirname(__file__), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(words, capture_output=True, text=True, timeout=10, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
