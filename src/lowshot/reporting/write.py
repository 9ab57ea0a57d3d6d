"""What an evaluation leaves on disk: ``scores.csv``, ``summary.json`` and ``report.html``."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lowshot.atomic import atomic_path, require_writable_folder
from lowshot.errors import OutputError
from lowshot.evaluation.definitions import DEFINITIONS
from lowshot.evaluation.scores import Evaluation
from lowshot.evaluation.summary import quality_correlation, summarise, units
from lowshot.reporting.page import PICTURED_CASES, evaluation_page
from lowshot.reporting.score_tables import rows_table
from lowshot.reporting.tables import to_csv


@dataclass(frozen=True)
class Written:
    """The three files."""

    scores: Path
    summary: Path
    report: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "Written":
        """Their names."""
        return cls(folder / "scores.csv", folder / "summary.json", folder / "report.html")


def require_place(folder: Path, overwrite: bool) -> None:
    """Refuse a folder into which the files could not be written in the end.

    Raises:
        OutputError: one of them is there and may not be replaced, or nothing can be written there.
    """
    there = next((path for path in astuple(Written.in_folder(folder)) if path.exists()), None)
    if there is not None and not overwrite:
        raise OutputError(f"{there}: is there already; add --overwrite to replace it, or choose another folder (-o)")
    require_writable_folder(folder)


def write_evaluation(
    evaluation: Evaluation,
    folder: Path | str,
    settings: Mapping[str, Any] | None = None,
    pictured: int = PICTURED_CASES,
) -> Written:
    """Write all three; each is complete or not there.

    Args:
        evaluation: what ``evaluate`` or ``evaluate_folders`` returned.
        folder: made if it does not exist.
        settings: plain JSON values to record beside the evaluation's own, such as the command line.
        pictured: how many cases, from the worst, get pictures in the report.

    Raises:
        OutputError: a file cannot be written.
    """
    written = Written.in_folder(Path(folder))
    made_by = {
        **evaluation.settings,
        **(settings or {}),
        "versions": {package: version(package) for package in ("lowshot", "numpy", "scipy", "torch")},
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write(written.scores, to_csv(rows_table(evaluation)))
    summary = evaluation_summary(evaluation) | {"made by": made_by}
    _write(written.summary, json.dumps(summary, indent=2, allow_nan=False) + "\n")
    _write(written.report, evaluation_page(evaluation, made_by, pictured))
    return written


def evaluation_summary(evaluation: Evaluation) -> dict[str, Any]:
    """The figures of an evaluation as JSON values, with their units, counts and definitions; NaN is null."""
    *structures, overall = map(asdict, summarise(evaluation))
    distance, volume = units(evaluation.scores)
    correlation, pairs = quality_correlation(evaluation.scores)
    summary = {
        "units": {"hd95": distance, "volume": volume},
        "all structures": overall,
        "structures": structures,
        "cases": [{"case": case.case, "mean_dice": case.mean_dice, "notes": case.notes} for case in evaluation.cases],
        "missing": evaluation.missing,
        "failed": evaluation.failed,
        "notes": evaluation.notes,
        "expected dice": {"rank correlation with dice": correlation, "pairs": pairs},
        "definitions": DEFINITIONS,
    }
    return {key: _without_nan(value) for key, value in summary.items()}


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _without_nan(value: Any) -> Any:
    """NaN, which JSON does not have, becomes null."""
    if isinstance(value, dict):
        return {str(key): _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
