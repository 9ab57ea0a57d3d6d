"""The folder of a training: the same request goes on where it was stopped, another one is refused.

    model.training/
      fit.json       what was asked for: method, settings, seed, budget, files with their SHA-256
      plan.json      what was settled before step 0 (``lowshot.training.plan``)
      log.csv        the loss, step by step
      checkpoints/   only until the model is saved
      stages/

Nothing else in it is ever touched.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowshot.atomic import atomic_path, remove_leftovers
from lowshot.errors import SettingsError, UnreadableFile

REQUEST = "fit.json"
_RECORDS = (REQUEST, "plan.json", "log.csv")
_INTERMEDIATE = ("checkpoints", "stages")


def training_folder_of(model: Path) -> Path:
    """Where ``lowshot fit -o model.safetensors`` keeps its training: ``model.training`` beside it."""
    return model.with_suffix(".training")


def begin(folder: Path, request: Mapping[str, Any], restart: bool = False) -> None:
    """Make the folder ready for this request: anew, or to go on where the same request was stopped.

    Args:
        folder: the folder of a training, which may not exist yet.
        request: JSON values; what must be the same for going on.
        restart: begin anew, whatever is there.

    Raises:
        SettingsError: an unsaved training of another request is there; the message says in what it differs.
    """
    if os.environ.get("RANK", "0") != "0":  # one process writes; the others wait for its plan
        return
    asked = json.loads(json.dumps(request))
    for name in _RECORDS:
        remove_leftovers(folder / name)
    unfinished = any(not path.name.startswith(".") for name in _INTERMEDIATE for path in (folder / name).glob("*.pt"))
    if unfinished and not restart:
        _refuse_another(folder, _read(folder), asked)
        return
    if (folder / REQUEST).exists():
        finish(folder)
        for name in reversed(_RECORDS):  # the request last: without it nobody would know that the others are ours
            (folder / name).unlink(missing_ok=True)
    elif unfinished:
        raise SettingsError(
            f"{folder}: holds checkpoints, but no {REQUEST}: not a training of lowshot's; choose another"
        )
    with atomic_path(folder / REQUEST) as temporary:
        temporary.write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")


def finish(folder: Path) -> None:
    """Remove what only an unsaved training needs; request, plan and log stay."""
    for name in _INTERMEDIATE:
        for path in (folder / name).glob("*.pt"):
            path.unlink(missing_ok=True)
        if (folder / name).is_dir() and not any((folder / name).iterdir()):
            (folder / name).rmdir()


def _read(folder: Path) -> dict[str, Any]:
    path = folder / REQUEST
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return dict(content)
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableFile(f"{path}: expected what this unfinished training was asked for, got {error}") from None


def _refuse_another(folder: Path, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    found = differences(begun, asked)
    if found:
        raise SettingsError(
            f"{folder} holds a training, unfinished or not saved, that was asked for something else: "
            f"{'; '.join(found[:4])}. "
            "Ask for the same to go on, choose another folder, or begin anew with --restart"
        )


def differences(begun: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> list[str]:
    """In what two requests differ, one clause for each."""
    found = []
    for key in dict.fromkeys([*begun, *asked]):
        then, now = begun.get(key), asked.get(key)
        if isinstance(then, dict) and isinstance(now, dict):
            found += differences(then, now, f"{prefix}{key}: ")
        elif then != now:
            found.append(f"{prefix}{key} was {then}, is now {now}")
    return found
