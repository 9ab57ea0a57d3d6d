"""The folder of a training: the same request goes on where it was stopped, another one is refused.

    model.training/
      fit.json       what was asked for: method, settings, seed, budget, files with their SHA-256
      plan.json      what was settled before step 0 (``lowshot.training.plan``)
      log.csv        the loss, step by step
      checkpoints/   only until the model is saved
      stages/
      .lock          held by the process that is at it

Nothing else in it is ever touched, and nothing of these names that no training of lowshot's wrote.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lowshot.atomic import atomic_path, mend, remove_leftovers
from lowshot.errors import OutputError, SettingsError, UnreadableFile
from lowshot.training.differences import differences

REQUEST = "fit.json"
LOCK = ".lock"
_RECORDS = (REQUEST, "plan.json", "log.csv")
_INTERMEDIATE = ("checkpoints", "stages")
_ASKED = {"method", "settings", "seed"}
"""What every request tells."""
_MOST_TOLD = 4
_OURS: ContextVar[frozenset[Path]] = ContextVar("training folders that are held", default=frozenset())


def training_folder_of(model: Path) -> Path:
    """Where ``lowshot fit -o model.safetensors`` keeps its training: ``model.training`` beside it."""
    return model.with_suffix(".training")


@contextmanager
def held(folder: Path | None) -> Iterator[None]:
    """Keep other processes out of the folder of a training: two in one would go on from each other's weights.

    The hold ends with the block, or with the process, however that ends. Inside the block the folder may be held again.
    Of the processes of one training the first holds it for all. Where nothing is put into a folder that was not there
    before, it is taken away again.

    Args:
        folder: may not exist yet; None: a training without one, which nobody can disturb.

    Raises:
        SettingsError: another process holds it.
        OutputError: no file can be made there.
    """
    if folder is None or _is_not_first() or folder.resolve() in _OURS.get():
        yield
        return
    where = folder.resolve()
    missing = [each for each in (where, *where.parents) if not each.exists()]
    lock = _lock(folder)
    token = _OURS.set(_OURS.get() | {where})
    try:
        yield
    finally:
        _OURS.reset(token)
        _take_away_unused(where, missing)
        lock.release()


def begin(folder: Path, request: Mapping[str, Any], restart: bool = False) -> None:
    """Make the folder ready for this request: anew, or to go on where the same request was stopped.

    For the process that holds it.

    Args:
        folder: the folder of a training, which may not exist yet.
        request: JSON values; what must be the same for going on.
        restart: begin anew, whatever is there.

    Raises:
        SettingsError: an unsaved training of another request is there; the message says in what it differs. Or files of
            somebody else have the names that a training's have.
    """
    if _is_not_first():  # one process writes; the others wait for its plan
        return
    asked = json.loads(json.dumps(request))
    for name in _RECORDS:
        remove_leftovers(folder / name)
    unfinished = any(not path.name.startswith(".") for name in _INTERMEDIATE for path in (folder / name).glob("*.pt"))
    if unfinished and not restart:
        _refuse_another(folder, _read(folder), asked)
        return
    _refuse_foreign(folder, "checkpoints" if unfinished else None)
    _remove_intermediate(folder)
    for name in reversed(_RECORDS):  # the request last: without it nobody would know that the others are ours
        (folder / name).unlink(missing_ok=True)
    with atomic_path(folder / REQUEST) as temporary:
        temporary.write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")


def finish(folder: Path) -> None:
    """Remove what only an unsaved training needs; request, plan and log stay.

    A folder that another process has taken over since is left to it.
    """
    with suppress(SettingsError), held(folder):
        _remove_intermediate(folder)


def _is_not_first() -> bool:
    """Whether this is a further process of a training that ``torchrun`` has started."""
    return os.environ.get("RANK", "0") != "0"


def _lock(folder: Path) -> FileLock:
    lock = FileLock(folder.resolve() / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        told = f"{folder} is in use by another lowshot; wait for it, or give another name (-o)"
        raise SettingsError(told) from None
    except OSError as error:
        told = f"{folder}: cannot be written: {error.strerror or error}. {mend(error, 'choose another place')}"
        raise OutputError(told) from error
    return lock


def _take_away_unused(folder: Path, missing: Sequence[Path]) -> None:
    """Remove the folders that were missing, if nothing but the lock came into them."""
    with suppress(OSError):  # of folders that are not empty, or gone
        if missing and [each.name for each in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            for each in missing:
                each.rmdir()


def _remove_intermediate(folder: Path) -> None:
    for name in _INTERMEDIATE:
        for path in (folder / name).glob("*.pt"):
            path.unlink(missing_ok=True)
        if (folder / name).is_dir() and not any((folder / name).iterdir()):
            (folder / name).rmdir()


def _refuse_foreign(folder: Path, checkpoints: str | None) -> None:
    """Leave files alone that no request of ours tells of."""
    try:
        begun = _read(folder)
    except UnreadableFile:
        begun = {}
    found = checkpoints or next((name for name in _RECORDS if (folder / name).exists()), None)
    if found is not None and not begun.keys() >= _ASKED:
        raise SettingsError(f"{folder}: holds {found}, but of no training of lowshot's; choose another folder")


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
        more = [f"and {len(found) - _MOST_TOLD} more"] if len(found) > _MOST_TOLD else []
        raise SettingsError(
            f"{folder} holds a training, unfinished or not saved, that was asked for something else: "
            f"{'; '.join([*found[:_MOST_TOLD], *more])}. "
            "Ask for the same to go on, choose another folder, or begin anew with --restart"
        )
