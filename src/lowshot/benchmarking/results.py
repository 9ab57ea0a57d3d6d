"""From finished cells to result files: ``results.jsonl`` holds all there is, ``results.csv`` one score a line."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from lowshot import catalogue
from lowshot.atomic import atomic_path, remove_leftovers
from lowshot.benchmarking.cell import RECORD, Record, as_json, read_json
from lowshot.errors import SettingsError, UnreadableFile
from lowshot.protocols.protocol import VARIANTS, Fold, Protocol, System
from lowshot.settings import build

SCORES = ("structure", "dice", "hd95", "hd95_unit", "volume_prediction", "volume_truth", "volume_unit", "empty")
RATIOS = ("true_positive_ratio", "false_positive_ratio", "radial_error", "volume_elsewhere", *VARIANTS)
"""Scores that older records do not have, or that few protocols ask for."""
COLUMNS = ("protocol", "system", "fold", "seed", "case", "seconds", "peak_bytes", *SCORES, "expected_dice", *RATIOS)
CHOSEN = ("options", "model_of", "as_long_as", "granted", "granted_above", "scored")
"""Of a request, what older cells and most rows do not have."""


@dataclass(frozen=True)
class Row:
    """One structure of one segmented scan, as the tables need it."""

    system: str
    fold: str
    seed: int
    case: str
    structure: str
    volume_unit: str
    """Empty in records without volumes."""
    dice: float
    """NaN where neither prediction nor truth has the structure."""
    hd95: float
    expected_dice: float
    """What the model itself expected; NaN where it does not estimate."""
    true_positive_ratio: float
    false_positive_ratio: float
    radial_error: float
    volume_elsewhere: float
    hd95_in_plane: float
    hd95_pooled_voxels: float
    hd95_legacy_empty: float
    dice_of_slices: float
    dice_legacy_empty: float
    """This and the eight above: NaN where they are not defined or not asked for, and in older records."""
    volume_prediction: float
    volume_truth: float
    """NaN in records without volumes."""


def rows(records: Iterable[Record]) -> list[Row]:
    """All scores of these cells."""
    return [
        Row(
            *(record["system"], record["fold"]["name"], record["seed"], case["case"]),
            *(score["structure"], score.get("volume_unit", "")),
            *(_number(score[name]) for name in ("dice", "hd95", "expected_dice")),
            *(_number(score.get(name)) for name in (*RATIOS, "volume_prediction", "volume_truth")),
        )
        for record in records
        for case in record["cases"]
        for score in case["scores"]
    ]


def collect(root: Path) -> list[Record]:
    """Gather the finished cells below ``root`` and write the result files there, whole or not at all."""
    (root / "locks").mkdir(parents=True, exist_ok=True)
    with FileLock(root / "locks" / "results"):
        records = [read_json(path) for path in sorted(root.glob(f"cells/*/*/*/{RECORD}")) if path.exists()]
        lines = "".join(f"{json.dumps(record)}\n" for record in records)
        for name, text in {"results.jsonl": lines, "results.csv": to_csv(records)}.items():
            remove_leftovers(root / name)
            with atomic_path(root / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return records


def of_the_present(protocol: Protocol, records: Iterable[Record], preset: str) -> list[Record]:
    """The cells that the protocol would compute today with this preset: other rows, folds and settings are history."""
    return [r for r in records if r["protocol"] == protocol.name and _is_present(protocol, r, preset)]


def _is_present(protocol: Protocol, record: Record, preset: str) -> bool:
    try:
        fold = protocol.fold(record["fold"]["name"])
        system = protocol.chosen((record["system"],))[record["system"]]
        preset = protocol.preset_of(system, preset)
        if (record["method"], record["preset"], record["fold"]) != (system.method, preset, plain_fold(fold)):
            return False
        settings = catalogue.settings(system.method, preset, system.settings)
        if all_settings(system.method, record["settings"]) != all_settings(system.method, settings):
            return False
        known = catalogue.create(system.method, settings).Options
        used = record.get("segmented_with", system.options)  # older cells do not tell
        if build(known, used, "options") != build(known, system.options, "options"):
            return False
    except SettingsError:
        return False
    return {name: record[name] for name in CHOSEN if record.get(name)} == chosen(protocol, system)


def chosen(protocol: Protocol, system: System) -> dict[str, Any]:
    """What a cell's request says of its row besides method and settings, as JSON has it; absent where empty."""
    values = (
        *(system.options, system.model_of, system.as_long_as, system.granted),
        *(protocol.granted_above if system.granted else 0, protocol.scored),
    )
    return as_json({name: value for name, value in zip(CHOSEN, values, strict=True) if value})


def all_settings(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the method's own defaults, as JSON has them.

    Raises:
        SettingsError: there is no such method, or it has no such settings.
    """
    made: Any = catalogue.create(method, settings)
    return as_json(asdict(made))


def plain_fold(fold: Fold) -> dict[str, Any]:
    """A fold as JSON has it, without what is empty."""
    return as_json({key: value for key, value in asdict(fold).items() if value})


def read_results(path: Path) -> list[Record]:
    """The cells of a ``results.jsonl``.

    Raises:
        UnreadableFile: a line is not a cell.
    """
    try:
        return [dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableFile(f"{path}: expected the results of a benchmark, could not read them: {error}") from error


def to_csv(records: Sequence[Record]) -> str:
    """One line for each system, fold, seed, case and structure."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for record in records:
        cell = {**record, "fold": record["fold"]["name"]}
        for case in record["cases"]:
            writer.writerows({**cell, **case, **score} for score in case["scores"])
    return text.getvalue()


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
